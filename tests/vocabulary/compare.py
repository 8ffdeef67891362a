"""Base and extended tokenizer side by side, by what they do to text; knows nothing of how the extension was made."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from korean_llm.vocabulary.byte_level import piece_bytes

_BATCH_LINES = 20_000
PADDING = re.compile(r"<padding \d+>")
"""How entries that only fill the table up are named."""
SPACE = "\u2581"
_TAILS = [bytes([byte]) for byte in range(0x80, 0xC0)]
_LEADS = [bytes([byte]) for byte in (0xE1, 0xE3, 0xEA, 0xEB, 0xEC, 0xED)]
_BEFORE = [[b""], [lead + tail for lead in _LEADS for tail in _TAILS[::4]], _LEADS]
"""What may stand before a part of a character, by the number of bytes at its start that continue one."""
_AFTER = [[b""], _TAILS, [first + second for first in _TAILS for second in _TAILS]]
"""What may stand after it, by the number of bytes missing at its end."""


def load(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def backend(folder: Path) -> Tokenizer:
    """The tokenizer as tokenizer.json writes it, without what a class of transformers does when it loads."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def batches(lines: Iterable[str], size: int = _BATCH_LINES) -> Iterator[list[str]]:
    rest = iter(lines)
    while part := list(islice(rest, size)):
        yield part


def changed(base: Tokenizer, extended: Tokenizer, lines: Sequence[str]) -> list[str]:
    """Lines whose ids are not the same under both."""
    return [line for line, old, new in zip(lines, ids(base, lines), ids(extended, lines), strict=True) if old != new]


def differently_decoded(base: Tokenizer, extended: Tokenizer, lines: Sequence[str]) -> list[str]:
    """Lines that come back otherwise from the extended tokenizer than from the base."""
    old = base.decode_batch(ids(base, lines), skip_special_tokens=False)
    new = extended.decode_batch(ids(extended, lines), skip_special_tokens=False)
    return [line for line, first, second in zip(lines, old, new, strict=True) if first != second]


@dataclass(frozen=True)
class NewTokens:
    """New tokens by id: those that are whole characters, with their text, and those that are parts of one.

    Entries that only fill the table up are left out.
    """

    whole: dict[int, str]
    partial: dict[int, str]

    def __len__(self) -> int:
        return len(self.whole) + len(self.partial)


def new_tokens(base: Tokenizer, extended: Tokenizer) -> NewTokens:
    old = base.get_vocab()
    fresh = {id: piece for piece, id in extended.get_vocab().items() if piece not in old}
    fresh = {id: piece for id, piece in fresh.items() if not PADDING.fullmatch(piece)}
    if SPACE + "a" in old:
        return NewTokens({id: piece.replace(SPACE, " ") for id, piece in fresh.items()}, {})
    whole, partial = {}, {}
    for id, piece in fresh.items():
        try:
            whole[id] = piece_bytes(piece).decode()
        except UnicodeDecodeError:
            partial[id] = piece
    return NewTokens(whole, partial)


def unreachable(extended: Tokenizer, tokens: NewTokens) -> list[tuple[int, str]]:
    """New tokens that nothing is cut into.

    A token of whole characters must come out of its own text at the start of a line. A part of a character must be
    what the merges make of its bytes, and either a step to another token or come out of some text.
    """
    texts = [f"\n{text}" for text in tokens.whole.values()]
    missed = [
        (id, text)
        for (id, text), found in zip(tokens.whole.items(), ids(extended, texts), strict=True)
        if id not in found
    ]
    merges = json.loads(extended.to_str())["model"]["merges"]
    steps = {part for merge in merges for part in merge} if tokens.partial else set()
    for id, piece in tokens.partial.items():
        cut = [token.id for token in extended.model.tokenize(piece)]
        if cut != [id] or (piece not in steps and not _comes_out(extended, id, piece_bytes(piece))):
            missed.append((id, piece))
    return missed


def _comes_out(extended: Tokenizer, id: int, raw: bytes) -> bool:
    """Whether a part of a character is what some character beside it is cut into."""
    begun = next((i for i, byte in enumerate(raw) if byte & 0xC0 != 0x80), len(raw))
    last = max((i for i, byte in enumerate(raw) if byte >= 0xE0), default=len(raw))
    missing = max(0, last + 3 - len(raw)) if last < len(raw) else 0
    joined = (before + raw + after for before, after in product(_BEFORE[begun], _AFTER[missing]))
    texts = ["\n" + text.decode(errors="ignore") for text in joined]
    return any(id in found for part in batches(texts, 256) for found in ids(extended, part))


def soups(tokens: NewTokens, count: int, seed: int = 9) -> list[str]:
    """Texts of new tokens, halves of them and spaces thrown together: what merges compete for."""
    choose = random.Random(seed)
    texts = sorted(tokens.whole.values())
    found = []
    for _ in range(count):
        parts = []
        for _ in range(choose.randint(1, 8)):
            text = choose.choice(texts)
            half = choose.randint(0, len(text))
            parts.append(choose.choice([text, text * choose.randint(2, 5), text[:half], text[half:], " ", "a", "다"]))
        found.append("".join(parts))
    return found


def same_in_sentencepiece(text: str) -> bool:
    """Whether SentencePiece and `tokenizers` take a text for the same: there `<s>` is text, here the special token.

    U+2581 and U+0000 are left out too: SentencePiece reads the first as a space and ends a text at the second.
    """
    return not any(part in text for part in ("<s>", "</s>", "<unk>", SPACE, "\0"))


def disagreeing(folder: Path, lines: Sequence[str]) -> list[str]:
    """Lines that the folder's tokenizer.model and tokenizer.json cut otherwise."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    found = ids(backend(folder), lines)
    return [line for line, want, have in zip(lines, model.encode(list(lines)), found, strict=True) if want != have]


def special_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, object]:
    """Everything that names a special token, with its id."""
    roles = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    added: dict[str, object] = {token.content: id for id, token in tokenizer.added_tokens_decoder.items()}
    written = {text: tuple(tokenizer(f"a{text}b", add_special_tokens=False)["input_ids"]) for text in added}
    return added | {role: getattr(tokenizer, role) for role in roles} | {f"written {k}": v for k, v in written.items()}
