"""The model card, in Korean and English: what was made from what, what was measured, and what was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard
from jinja2 import Environment, StrictUndefined

from korean_llm.artifact import Manifest
from korean_llm.hub.contents import Contents, refuse_secrets
from korean_llm.hub.figures import figures, limits
from korean_llm.hub.identity import ADAPTER_CONFIG, read_json
from korean_llm.hub.lineage import Lineage
from korean_llm.hub.sources import sources

_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_TEMPLATE = Path(__file__).with_name("card.md.jinja")


def render_card(lineage: Lineage, contents: Contents, place: str, licence: str | None) -> str:
    """README.md with its YAML head. place: Hub id or folder name; licence: the Hub's name of one, such as apache-2.0.

    Raises KoreanLLMError where the text holds what looks like a secret.
    """
    values = _values(lineage, contents, place, licence)
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # Markdown: nothing to escape
    environment.filters["cell"] = _cell
    body = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(values)
    head = yaml.safe_dump(_head(lineage, contents, licence), allow_unicode=True, sort_keys=False)
    text = str(ModelCard(f"---\n{head}---\n\n{body.strip()}\n"))  # the client's own reading of the head
    refuse_secrets("README.md", text)
    return text


def _head(lineage: Lineage, contents: Contents, licence: str | None) -> dict[str, Any]:
    """The card's metadata, as the Hub names it; a licence nobody has verified is said to be just that."""
    base = contents.base.hub if contents.base else lineage.recipe.base.hub
    head: dict[str, Any] = {"language": ["ko", "en"], "license": licence or "other"}
    if licence is None:
        head["license_name"] = "not-verified"
    head["library_name"] = "peft" if lineage.is_adapter else "transformers"
    head["pipeline_tag"] = "text-generation"
    if base:
        head["base_model"] = base
        head["base_model_relation"] = "adapter" if lineage.is_adapter else "finetune"
    if datasets := sorted({source.dataset for source in sources(lineage) if source.dataset}):
        head["datasets"] = datasets
    tags = ["korean", "korean-llm", lineage.stage]
    tags += ["gguf"] if any(name.endswith(".gguf") for name in contents.files) else []
    return {**head, "tags": tags}


def _values(lineage: Lineage, contents: Contents, place: str, licence: str | None) -> dict[str, Any]:
    base = contents.base
    config = (read_json(lineage.folder / "adapter" / ADAPTER_CONFIG) or {}) if base else {}
    origin = lineage.manifests["base"]
    wheel = origin.settings.get("wheel") or {}
    return {
        "name": place.rpartition("/")[2],
        "adapter": lineage.is_adapter,
        "base": base.hub if base else "",
        "base_revision": base.revision if base else None,
        "method": _method(config),
        "vllm": _vllm_rank(config) is not None,
        "origin": lineage.recipe.base.label,
        "home": origin.metrics.get("home"),
        "wheel": f"{wheel.get('package')}=={wheel.get('version')}",
        "recipe_name": lineage.recipe.name,
        "stage": lineage.stage,
        "usage": _usage(contents, place, config),
        "steps": [_step(stage, manifest) for stage, manifest in lineage.manifests.items()],
        "recipe": lineage.text.rstrip(),
        "sources": sources(lineage),
        "licence": licence,
        "figures": figures(lineage),
        "limits": limits(lineage),
    }


def _method(config: dict[str, Any]) -> str:
    kind = str(config.get("peft_type"))
    return "DoRA" if config.get("use_dora") else {"LORA": "LoRA"}.get(kind, kind.lower().replace("_", " "))


def _vllm_rank(config: dict[str, Any]) -> int | None:
    """The --max-lora-rank to serve an adapter with; None where vLLM cannot: it takes plain LoRA alone."""
    if config.get("peft_type") != "LORA" or config.get("use_dora"):
        return None
    return next((rank for rank in _VLLM_RANKS if rank >= config.get("r", 0)), None)


def _step(stage: str, manifest: Manifest) -> dict[str, Any]:
    return {
        "stage": stage,
        "start": manifest.start[:10],
        "seconds": f"{manifest.seconds:,.0f}",
        "device": manifest.device,
        "fingerprint": manifest.fingerprint[:12],
    }


def _usage(contents: Contents, place: str, config: dict[str, Any]) -> str:
    """Code that opens it with the libraries people have: PEFT or transformers, vLLM, llama.cpp."""
    base = contents.base
    if base:
        pin = f', revision="{base.revision}"' if base.revision else ""
        parts = [
            f"""```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{place}")
model = AutoModelForCausalLM.from_pretrained("{base.hub}"{pin})
model = PeftModel.from_pretrained(model, "{place}")
```""",
            f"""```python
from korean_llm.hub import load_adapter  # 원본 모델, 어휘, 대화 틀이 맞는지 먼저 살핍니다

adapted = load_adapter("{place}")
```""",
        ]
        if rank := _vllm_rank(config):
            options = f"--enable-lora --max-lora-rank {rank} --lora-modules korean={place}"
            parts.append(f"```bash\nvllm serve {base.hub} {options}\n```")
    else:
        parts = [
            f"""```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{place}")
model = AutoModelForCausalLM.from_pretrained("{place}")
```""",
            f"```bash\nvllm serve {place}\n```",
        ]
    gguf = sorted((name for name in contents.files if name.endswith(".gguf")), key=contents.size)
    if gguf:
        parts.append(f"```bash\nllama-server --hf-repo {place} --hf-file {gguf[0]}\n```")
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    """Text that stays inside its cell of a table."""
    return " ".join(text.replace("|", "\\|").split())
