"""What the kinds of tokenizer that can be extended have in common.

Words used in this room: an *entry* is a key of the vocabulary as tokenizer.json writes it; a *run* is a stretch of
Hangul with the space before it, which is what new tokens are learned from.
"""

from __future__ import annotations

import json
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from korean_llm.errors import KoreanLLMError
from korean_llm.vocabulary.learn import Merge, Rules

Encode = Callable[[list[str]], list[list[int]]]

# Legacy files (vocab.json, merges.txt) hold the old vocabulary and would contradict tokenizer.json.
KEPT_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template*",
    "chat_templates",
    "LICENSE*",
    "NOTICE*",
)
_CUT_WORDS = 4_096
ROWS_MULTIPLE = 128
"""Tables have a multiple of this many rows: tensor cores and sharding want round numbers."""


def padding_entry(id: int) -> str:
    """The name of a row that is only padding. A tokenizer writes a space otherwise, so no text contains it."""
    return f"<padding {id}>"


def file_state(folder: Path) -> dict[str, Any]:
    """What a folder's tokenizer.json says, in full.

    Some classes of transformers make their own normalizer and pre-tokenizer when they load, out of the same vocabulary
    and merges; so the file's are kept, and both the file and what is loaded from it behave as they did.
    Raises KoreanLLMError where there is no such file, or it is not byte pair encoding.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise not_supported("without tokenizer.json")
    state: dict[str, Any] = json.loads(Tokenizer.from_file(str(path)).to_str())
    model = state["model"]
    if model["type"] != "BPE":
        raise not_supported(model["type"])
    if model["dropout"] or model["continuing_subword_prefix"] or model["end_of_word_suffix"]:
        raise not_supported("BPE with dropout, a subword prefix or a word suffix")
    if any(entry.startswith("<padding ") for entry in model["vocab"]):
        raise KoreanLLMError(
            "the tokenizer was extended by korean-llm before; give the tokenizer it was made from, or leave the"
            " section 'vocabulary' out of the recipe."
        )
    return state


def not_supported(found: str) -> KoreanLLMError:
    """The error for a tokenizer of another family."""
    return KoreanLLMError(
        f"the base's tokenizer is {found}, which cannot be extended; expected byte-level BPE (as in SmolLM2, OLMo-2,"
        " Llama-3, Qwen) or SentencePiece BPE with byte fallback (as in Llama-2, Mistral, SOLAR, Gemma): take such a"
        " base, or leave the section 'vocabulary' out of the recipe."
    )


class Family(ABC):
    """A base's tokenizer seen as byte pair encoding over tokens of which the bytes are known.

    Attributes:
        name: what people call the family.
        run: finds the runs of Hangul in a normalized text.
        raw: bytes of every entry that text can be cut into, by id.
        first_id: the id after the highest one in use, added and special tokens included.
        any_split: see learn.Rules.
    """

    name: str
    run: re.Pattern[str]
    any_split: bool

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.added: set[str] = {token["content"] for token in state["added_tokens"]}
        ids = [*state["model"]["vocab"].values(), *(token["id"] for token in state["added_tokens"])]
        self.first_id = int(max(ids)) + 1
        self.raw = {
            id: raw
            for entry, id in state["model"]["vocab"].items()
            if entry not in self.added and (raw := self.entry_bytes(entry)) is not None
        }
        nothing: dict[str, Any] = {"added_tokens": [], "pre_tokenizer": None, "post_processor": None}
        self._bare: Tokenizer = Tokenizer.from_str(json.dumps({**state, **nothing}))
        self._normalizer = self._bare.normalizer
        self._bare.normalizer = None

    @abstractmethod
    def entry_bytes(self, entry: str) -> bytes | None:
        """The bytes an entry stands for; None where it stands for no text."""

    @abstractmethod
    def entry(self, raw: bytes) -> str:
        """The entry of a new token of these bytes."""

    @abstractmethod
    def joins(self, merges: Sequence[Merge], entries: dict[int, str]) -> list[list[str]]:
        """The pairs of entries to put behind the base's merges."""

    def refused(self) -> frozenset[bytes]:
        """Bytes that must not become a token."""
        return frozenset()

    @abstractmethod
    def save_twin(self, merges: Sequence[Merge], num_rows: int, base: Path, out: Path) -> None:
        """Write the tokenizer's other file, where the base has one."""

    @abstractmethod
    def twin(self, folder: Path) -> Encode | None:
        """Encodes with the tokenizer's other file, where the folder has one."""

    def normalized(self, text: str) -> str:
        """The text in the form that runs are looked for in."""
        return text if self._normalizer is None else str(self._normalizer.normalize_str(text))

    def cut(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The base's ids for words, each taken as one word, one after the other; and how many each has."""
        symbols, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        for start in range(0, len(words), _CUT_WORDS):
            entries = [self.entry(word.encode()) for word in words[start : start + _CUT_WORDS]]
            found = self._bare.encode(entries, is_pretokenized=True, add_special_tokens=False)
            symbols.append(np.array(found.ids, np.int32))
            lengths.append(np.bincount(np.array(found.word_ids), minlength=len(entries)))
        return np.concatenate(symbols), np.concatenate(lengths)

    def word_ids(self, raw: bytes) -> list[int] | None:
        """The base's ids for one word of these bytes; None where it cannot write all of them."""
        entry = self.entry(raw)
        tokens = self._bare.model.tokenize(entry)
        ids = [token.id for token in tokens]
        return ids if b"".join(self.raw.get(id, b"?") for id in ids) == raw else None

    def rules(self) -> Rules:
        """How this tokenizer joins, for the learner."""
        return Rules(self.raw, self.first_id, self.word_ids, self.any_split, self.refused())

    def extended(self, merges: Sequence[Merge], num_rows: int) -> dict[str, Any]:
        """tokenizer.json of the extended tokenizer, its ids filled up with named padding to num_rows.

        Llama-3 and Qwen keep special tokens only in `added_tokens`, behind the vocabulary. A tokenizer numbers those
        by the size of its vocabulary when it loads, so a grown vocabulary would renumber them: they are first written
        into the vocabulary under their own ids.
        """
        model = self.state["model"]
        vocabulary = dict(model["vocab"])
        for token in self.state["added_tokens"]:
            vocabulary.setdefault(token["content"], token["id"])
        entries = {id: entry for entry, id in vocabulary.items()} | {m.id: self.entry(m.raw) for m in merges}
        joined = self.joins(merges, entries)
        vocabulary |= {entries[merge.id]: merge.id for merge in merges}
        vocabulary |= {padding_entry(id): id for id in range(self.first_id + len(merges), num_rows)}
        return {**self.state, "model": {**model, "vocab": vocabulary, "merges": [*model["merges"], *joined]}}

    def save(self, merges: Sequence[Merge], num_rows: int, base: Path, out: Path) -> None:
        """Write the extended tokenizer to the folder out, with the base's chat template, settings and licence files."""
        out.mkdir(parents=True, exist_ok=True)
        for pattern in KEPT_FILES:
            for path in sorted(base.glob(pattern)):
                if path.is_dir():
                    shutil.copytree(path, out / path.name, dirs_exist_ok=True)
                else:
                    shutil.copyfile(path, out / path.name)
        state = json.dumps(self.extended(merges, num_rows), ensure_ascii=False)
        Tokenizer.from_str(state).save(str(out / "tokenizer.json"))
        self.save_twin(merges, num_rows, base, out)


def padded(rows: int) -> int:
    """The next multiple of ROWS_MULTIPLE."""
    return -(-rows // ROWS_MULTIPLE) * ROWS_MULTIPLE
