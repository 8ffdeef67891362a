"""New Korean tokens for a base model: learn, extend tokenizer and rows, prove that old text is untouched, report.

from korean_llm.vocabulary import extend

report = extend(Path("Llama-2-7b-hf"), korean_texts, new_tokens=8_000, out=Path("llama-2-korean"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from korean_llm.vocabulary.alone import extend

__all__ = ["extend"]


def __getattr__(name: str) -> Any:
    """`extend` on first use: it needs transformers, which takes seconds to import."""
    if name == "extend":
        from korean_llm.vocabulary.alone import extend

        return extend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
