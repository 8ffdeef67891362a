"""The shape of a decoder, and how many parameters each part of it has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from korean_llm.recipe import Origins


@dataclass(frozen=True)
class Shape:
    """D hidden, L layers, F feed-forward width, V vocabulary, H query heads, K key-value heads of size E."""

    hidden: int
    layers: int
    feed_forward: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool

    @property
    def table(self) -> int:
        """Parameters of one embedding table, V × D."""
        return self.vocabulary * self.hidden

    @property
    def tables(self) -> int:
        """Parameters of embedding and head together; one table where they are tied."""
        return self.table * (1 if self.tied else 2)

    @property
    def linear(self) -> int:
        """Parameters of all linear layers of the body: q, k, v, o, and gate, up, down."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return self.layers * self.hidden * (2 * queries + 2 * keys + 3 * self.feed_forward)

    @property
    def parameters(self) -> int:
        """All parameters; norms, some hundred thousand, are left out."""
        return self.linear + self.tables

    def lora(self, rank: int) -> int:
        """Parameters of LoRA of a rank on every linear layer: r × (in + out) each."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        ends = 2 * (self.hidden + queries) + 2 * (self.hidden + keys) + 3 * (self.hidden + self.feed_forward)
        return self.layers * rank * ends


# From the models' own config.json on the Hub, so that `check` answers without a connection.
KNOWN = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Shape(576, 30, 1536, 49152, 9, 3, 64, tied=True),
    "mistralai/Mistral-7B-v0.1": Shape(4096, 32, 14336, 32000, 32, 8, 128, tied=False),
    "meta-llama/Llama-2-7b-hf": Shape(4096, 32, 11008, 32000, 32, 32, 128, tied=False),
    "allenai/OLMo-2-1124-7B": Shape(4096, 32, 11008, 100352, 32, 32, 128, tied=False),
}


def shape_of(source: Origins, run_folder: Path) -> Shape | None:
    """The base's shape: from the run's own base artifact, a local folder, the Hub's cache, or the table above."""
    places = [run_folder / "base" / "model" / "config.json"]
    if source.folder:
        places.append(Path(source.folder).expanduser() / "config.json")
    for place in places:
        if place.is_file():
            return _readable(place)
    if source.hub in KNOWN:
        return KNOWN[source.hub]
    return _cached(source)


def _cached(source: Origins) -> Shape | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(str(source.hub), "config.json", revision=source.revision) if source.hub else None
    return _readable(Path(found)) if isinstance(found, str) else None


def _readable(path: Path) -> Shape | None:
    """The shape in a config.json; None where it is of another kind or damaged."""
    try:
        return from_config(path)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def from_config(path: Path) -> Shape:
    """Read a shape from a config.json of the Llama kind."""
    config = json.loads(path.read_text(encoding="utf-8"))
    heads = config["num_attention_heads"]
    return Shape(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        feed_forward=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        tied=config.get("tie_word_embeddings", False),
    )
