"""What others do for Korean tokens, to compare with: bare training, `add_tokens`, SentencePiece pieces merged.

None of it is ours to improve: each is built as its users build it.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from korean_llm.hangul import holds_hangul
from korean_llm.vocabulary.byte_level import bytes_piece

SPACE = "\u2581"
"""How SentencePiece writes a space."""


def train_sentencepiece(file: Path, size: int, prefix: Path) -> Path:
    """A bare SentencePiece BPE over a file of lines, everything else at its default; returns the .model file."""
    sentencepiece.SentencePieceTrainer.train(
        input=str(file), model_prefix=str(prefix), vocab_size=size, model_type="bpe", minloglevel=2
    )
    return prefix.with_suffix(".model")


def train_tokenizers(file: Path, size: int) -> Tokenizer:
    """A byte-level BPE by `tokenizers`' own trainer over a file of lines, `size` tokens beside the 256 bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train(
        [str(file)], trainers.BpeTrainer(vocab_size=256 + size, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def korean_pieces(model: Path) -> list[str]:
    """The pieces of a SentencePiece model that hold Hangul, the most frequent first, as SentencePiece writes them."""
    loaded = sentencepiece.SentencePieceProcessor(model_file=str(model))
    pieces = [loaded.id_to_piece(id) for id in range(loaded.vocab_size()) if not loaded.is_control(id)]
    learned = [piece for piece in pieces if len(piece) > 1 and holds_hangul(piece)]
    # Single characters stand last in the model, in order of frequency, but merging needs them first.
    return [piece for piece in pieces if len(piece) == 1 and holds_hangul(piece)] + learned


def add_pieces(base: Path, pieces: Iterable[str], num_tokens: int, out: Path) -> Path:
    """`add_tokens` with SentencePiece pieces without their space mark, as most recipes on the web do."""
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    known = set(tokenizer.get_vocab())
    fresh = [piece for piece in dict.fromkeys(piece.strip(SPACE) for piece in pieces) if piece and piece not in known]
    tokenizer.add_tokens(fresh[:num_tokens])
    tokenizer.save_pretrained(out)
    return out


def add_eojeols(base: Path, texts: Iterable[str], num_tokens: int, out: Path) -> Path:
    """`add_tokens` with the most frequent space-separated words that hold Hangul."""
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    counts = Counter(word for text in texts for word in text.split() if holds_hangul(word))
    tokenizer.add_tokens([word for word, _ in counts.most_common(num_tokens)])
    tokenizer.save_pretrained(out)
    return out


def merge_into_proto(base: Path, pieces: Iterable[str], num_tokens: int, out: Path) -> Path:
    """Pieces appended to a SentencePiece model with score 0, as Chinese-LLaMA-Alpaca's merge script does.

    The folder gets tokenizer.model alone: transformers makes its own tokenizer.json of it.
    """
    out.mkdir(parents=True, exist_ok=True)
    model = proto.ModelProto()
    model.ParseFromString((base / "tokenizer.model").read_bytes())
    known = {piece.piece for piece in model.pieces}
    fresh = [piece for piece in pieces if piece not in known]
    for piece in fresh[:num_tokens]:
        model.pieces.add(piece=piece, score=0.0)
    model.trainer_spec.vocab_size = len(model.pieces)
    (out / "tokenizer.model").write_bytes(model.SerializeToString())
    shutil.copyfile(base / "tokenizer_config.json", out / "tokenizer_config.json")
    return out


def merge_as_byte_level(base: Path, pieces: Iterable[str], num_tokens: int, out: Path) -> Path:
    """SentencePiece pieces as merges of a byte-level BPE, and the intermediates they need, num_tokens in all.

    Each piece is cut by the tokenizer as it is by then and joined from the left, which adds a token for every step.
    """
    shutil.copytree(base, out)
    state: dict[str, Any] = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary, merges = state["model"]["vocab"], state["model"]["merges"]
    for token in state["added_tokens"]:
        vocabulary.setdefault(token["content"], token["id"])
    ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
    first = next_id = max(vocabulary.values()) + 1
    for piece in pieces:
        parts = _cut(bytes_piece(piece.replace(SPACE, " ").encode()), ranks)
        while len(parts) > 1 and next_id < first + num_tokens:
            pair = (parts[0], parts[1])
            parts[:2] = ["".join(pair)]
            if pair not in ranks:
                ranks[pair] = len(ranks)
                merges.append(list(pair))
                next_id += parts[0] not in vocabulary
                vocabulary.setdefault(parts[0], next_id - 1)
    (out / "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
    return out


def _cut(word: str, ranks: dict[tuple[str, ...], int]) -> list[str]:
    parts = list(word)
    while True:
        pairs = [(ranks[pair], i) for i in range(len(parts) - 1) if (pair := (parts[i], parts[i + 1])) in ranks]
        if not pairs:
            return parts
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
