"""SentencePiece BPE with byte fallback (Kudo & Richardson 2018, arXiv 1808.06226): a space is written ▁.

SentencePiece joins whichever two neighbours spell the piece of the highest score; tokenizer.json lists pairs instead.
Both files are written together: a new piece scores below every old one and below the new ones before it, and
tokenizer.json lists all pairs that spell it, in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from korean_llm.errors import KoreanLLMError
from korean_llm.hangul import HANGUL, holds_hangul
from korean_llm.vocabulary.family import Encode, Family, padding_entry
from korean_llm.vocabulary.learn import Merge

SPACE = "▁"
MODEL_FILE = "tokenizer.model"
_proto: Any = sentencepiece_model_pb2  # generated at import, so a type checker sees nothing in it
_BYTE_ENTRY = re.compile(r"<0x([0-9A-F]{2})>")


def is_sentencepiece(state: dict[str, Any]) -> bool:
    """Whether a tokenizer.json is SentencePiece BPE: bytes as a last resort, spaces written ▁, no words cut off."""
    model, cutter = state["model"], state["pre_tokenizer"]
    if not model["byte_fallback"] or any(f"<0x{byte:02X}>" not in model["vocab"] for byte in range(256)):
        return False
    cuts_at_space = cutter is None or (cutter["type"] == "Split" and cutter["pattern"].get("String") == " ")
    return (cuts_at_space and _writes_space(state["normalizer"])) or _is_metaspace(cutter)


def _is_metaspace(cutter: dict[str, Any] | None) -> bool:
    return cutter is not None and cutter["type"] == "Metaspace" and cutter["replacement"] == SPACE


def _writes_space(step: dict[str, Any] | None) -> bool:
    """Whether a normalizer puts ▁ in the place of spaces."""
    if step is None:
        return False
    if step["type"] == "Replace":
        return step["pattern"].get("String") == " " and step["content"] == SPACE
    return any(map(_writes_space, step.get("normalizers", [])))


class SentencePieceBPE(Family):
    """Llama-2, Mistral, SOLAR, Gemma."""

    name = "SentencePiece BPE"
    run = re.compile(f"(?<! ) [{HANGUL}]+|[{HANGUL}]+")
    any_split = True

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__(state)
        self._normalizer = None  # it only writes ▁ for spaces, which runs are looked for without

    def entry_bytes(self, entry: str) -> bytes | None:
        """The bytes an entry stands for, ▁ being a space."""
        if byte := _BYTE_ENTRY.fullmatch(entry):
            return bytes([int(byte[1], 16)])
        return entry.replace(SPACE, " ").encode()

    def entry(self, raw: bytes) -> str:
        """The piece of these bytes."""
        return raw.decode().replace(" ", SPACE)

    def refused(self) -> frozenset[bytes]:
        """Beginnings and ends of the base's own Korean pieces: joined on, they would become these in another order."""
        found: set[bytes] = set()
        for raw in self.raw.values():
            text = raw.decode(errors="ignore")
            if holds_hangul(text):
                found.update(part.encode() for i in range(1, len(text)) for part in (text[:i], text[i:]))
        return frozenset(found)

    def joins(self, merges: Sequence[Merge], entries: dict[int, str]) -> list[list[str]]:
        """Every pair of pieces that spells a new piece; pieces of earlier merges first."""
        ids = {entry: id for id, entry in entries.items()}
        pairs = []
        for merge in merges:
            entry = entries[merge.id]
            splits = [(entry[:i], entry[i:]) for i in range(1, len(entry))]
            known = [(ids[left], ids[right], left, right) for left, right in splits if left in ids and right in ids]
            pairs += [[left, right] for *_, left, right in sorted(known)]
        return pairs

    def save_twin(self, merges: Sequence[Merge], num_rows: int, base: Path, out: Path) -> None:
        """Write tokenizer.model with the new pieces behind the old ones, where the base has this file.

        Raises KoreanLLMError where the base's two files contradict each other.
        """
        if not (base / MODEL_FILE).exists():
            return
        model = _proto.ModelProto()
        model.ParseFromString((base / MODEL_FILE).read_bytes())
        vocabulary = self.state["model"]["vocab"]
        for id, piece in enumerate(model.pieces):
            if vocabulary.get(piece.piece) != id:
                raise KoreanLLMError(
                    f"{base / MODEL_FILE} has the piece {piece.piece!r} under id {id}, but tokenizer.json has it under"
                    f" {vocabulary.get(piece.piece)}; expected equal ids: take both files from the same model."
                )
        lowest = min(piece.score for piece in model.pieces)
        kind_of, added = _proto.ModelProto.SentencePiece, {token["id"]: token for token in self.state["added_tokens"]}
        for id in range(len(model.pieces), self.first_id):
            kind = kind_of.CONTROL if added[id]["special"] else kind_of.USER_DEFINED
            model.pieces.add(piece=added[id]["content"], score=0.0, type=kind)
        step = score_step(lowest, len(merges))
        for rank, merge in enumerate(merges, 1):
            model.pieces.add(piece=self.entry(merge.raw), score=lowest - rank * step)
        for id in range(len(model.pieces), num_rows):
            model.pieces.add(piece=padding_entry(id), score=0.0, type=kind_of.UNUSED)
        model.trainer_spec.vocab_size = len(model.pieces)
        (out / MODEL_FILE).write_bytes(model.SerializeToString())

    def twin(self, folder: Path) -> Encode | None:
        """Encodes with tokenizer.model."""
        if not (folder / MODEL_FILE).exists():
            return None
        processor = SentencePieceProcessor(model_file=str(folder / MODEL_FILE))
        return lambda texts: [list(ids) for ids in processor.encode(texts)]


def score_step(lowest: float, num: int) -> float:
    """1, or more where float32, which the file holds, could not tell `num` scores below `lowest` apart."""
    step = 1.0
    while np.spacing(np.float32(abs(lowest) + num * step)) > step:
        step *= 2
    return step
