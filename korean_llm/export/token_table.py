"""The tokenizer as GGUF holds it: a table of tokens with their types, merges or scores, and what cuts text into words.

llama.cpp knows pre-tokenizers by name only. Each supported one is recognised by what it does (its regular
expressions, as tokenizer.json states them), never by the model's name; parity compares the ids afterwards.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from gguf import GGUFWriter, TokenType
from transformers import PreTrainedTokenizerBase

from korean_llm.errors import KoreanLLMError

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_THREE_DIGITS, _ONE_DIGIT = _WORDS % "{1,3}", _WORDS % ""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_GENERATION = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")


@dataclass(frozen=True)
class TokenTable:
    """Everything GGUF keeps of a tokenizer.

    Attributes:
        model: "gpt2" for byte-level BPE, "llama" for SentencePiece BPE.
        pre: llama.cpp's name of the pre-tokenizer.
        tokens, types: one per row of the embedding table; rows without a token are unused padding.
        merges: of byte-level BPE, each two pieces with a space between.
        scores: of SentencePiece, one per token.
        adds_space: whether a space is put before the text.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[TokenType]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    adds_space: bool = False


def token_table(tokenizer: PreTrainedTokenizerBase, num_rows: int) -> TokenTable:
    """The table of a tokenizer for an embedding of num_rows rows.

    Raises KoreanLLMError where llama.cpp has no equal of the tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise _not_supported(f"a {type(tokenizer).__name__} without tokenizer.json")
    state = json.loads(backend.to_str())
    if state["model"]["type"] != "BPE":
        raise _not_supported(f"of type {state['model']['type']}")
    if state["model"]["byte_fallback"]:
        return _sentencepiece(tokenizer, state, num_rows)
    tokens, types = _tokens(tokenizer, num_rows)
    return TokenTable("gpt2", pre_tokenizer_name(state), tokens, types, merges=[" ".join(m) for m in _merges(state)])


def pre_tokenizer_name(state: dict[str, Any]) -> str:
    """llama.cpp's name for the pre-tokenizer that a tokenizer.json states. Raises KoreanLLMError for any other."""
    steps = state["pre_tokenizer"] or {}
    steps = steps.get("pretokenizers", [steps])
    shape = tuple(_step(step) for step in steps)
    names = {
        ("digits", "words"): "smollm",
        ("words",): "gpt-2",
        (_THREE_DIGITS, "bytes"): "llama-bpe" if state["model"].get("ignore_merges") else "dbrx",
        (_ONE_DIGIT, "bytes"): "qwen2",
    }
    if shape not in names:
        raise _not_supported(f"with a pre-tokenizer that llama.cpp has no name for here ({', '.join(map(str, shape))})")
    return names[shape]


def _step(step: dict[str, Any]) -> str:
    """What one step of a pre-tokenizer does: single digits, GPT-2's words, a regular expression, or bytes only."""
    kind = step.get("type", "none")
    if kind == "Digits" and step["individual_digits"]:
        return "digits"
    if kind == "ByteLevel" and not step["add_prefix_space"]:
        return "words" if step["use_regex"] else "bytes"
    if kind == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return str(step["pattern"].get("Regex"))
    return str(kind)


def _tokens(tokenizer: PreTrainedTokenizerBase, num_rows: int) -> tuple[list[str], list[TokenType]]:
    """Tokens and types by id, padded to num_rows."""
    by_id = {id: piece for piece, id in tokenizer.get_vocab().items()}
    if max(by_id) >= num_rows:
        raise KoreanLLMError(
            f"the tokenizer has {max(by_id) + 1:,} ids, but the model only {num_rows:,} rows: they do not belong"
            " together; run again with --from base."
        )
    tokens, types = [], []
    added = tokenizer.added_tokens_decoder
    extension = tokenizer.init_kwargs.get("extended_vocabulary", {"first_id": num_rows, "tokens": 0})
    first_padding = extension["first_id"] + extension["tokens"]
    for id in range(num_rows):
        tokens.append(by_id.get(id, f"[PAD{id}]"))
        if id not in by_id or id >= first_padding:
            types.append(TokenType.UNUSED)
        elif id in added:
            types.append(TokenType.CONTROL if added[id].special else TokenType.USER_DEFINED)
        else:
            types.append(TokenType.NORMAL)
    return tokens, types


def _sentencepiece(tokenizer: PreTrainedTokenizerBase, state: dict[str, Any], num_rows: int) -> TokenTable:
    """The table of a SentencePiece BPE tokenizer.

    llama.cpp joins the two neighbours whose joint piece has the highest score, where tokenizer.json lists which pair
    comes first: minus the rank of the first merge that makes a piece is that score.
    """
    tokens, types = _tokens(tokenizer, num_rows)
    merges = _merges(state)
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    scores = [-float(ranks.get(token, len(merges))) for token in tokens]
    for id, token in enumerate(tokens):
        if types[id] == TokenType.NORMAL and _BYTE.fullmatch(token):
            types[id] = TokenType.BYTE
        elif id == tokenizer.unk_token_id:
            types[id] = TokenType.UNKNOWN
    return TokenTable("llama", "default", tokens, types, scores=scores, adds_space=_adds_space(state))


def _merges(state: dict[str, Any]) -> list[tuple[str, str]]:
    """Pairs of pieces in the order in which they are joined; older files write each as one string."""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in state["model"]["merges"])
    return [(left, right) for left, right in pairs]


def _adds_space(state: dict[str, Any]) -> bool:
    """Whether text gets a space before its first word, by a normalizer or by the pre-tokenizer."""
    steps = [state["normalizer"] or {}, state["pre_tokenizer"] or {}]
    parts = [part for step in steps for part in step.get("normalizers", step.get("pretokenizers", [step]))]
    return any(
        part.get("type") == "Prepend" or (part.get("type") == "Metaspace" and part["prepend_scheme"] != "never")
        for part in parts
    )


def _not_supported(found: str) -> KoreanLLMError:
    return KoreanLLMError(
        f"the tokenizer is {found}; GGUF is written for byte-level BPE as in SmolLM2, GPT-2, Llama-3 and Qwen2, and for"
        " SentencePiece BPE as in Llama-2: take the gguf formats out of export.formats."
    )


def add_tokenizer(writer: GGUFWriter, table: TokenTable, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the table, the special tokens, whether BOS and EOS are added to a text, and the chat template."""
    writer.add_tokenizer_model(table.model)
    writer.add_tokenizer_pre(table.pre)
    writer.add_token_list(table.tokens)
    writer.add_token_types(table.types)
    if table.merges:
        writer.add_token_merges(table.merges)
    if table.scores:
        writer.add_token_scores(table.scores)
    writer.add_add_space_prefix(table.adds_space)
    for id, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if id is not None:
            add(id)
    ids = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(ids[-1] == tokenizer.eos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(served_template(str(tokenizer.chat_template)))


def served_template(template: str) -> str:
    """The template without {% generation %}, which only training reads and llama.cpp does not know."""
    return _GENERATION.sub(r"{#\1 \2#}", template)
