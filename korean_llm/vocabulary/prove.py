"""Promise 1, proved on every run: old text is untouched. The first counter-example raises an error that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from korean_llm.errors import KoreanLLMError
from korean_llm.hangul import HANGUL, holds_hangul
from korean_llm.vocabulary.family import Encode, Family, padding_entry
from korean_llm.vocabulary.learn import Merge

_BATCH_CHARS = 500_000
_SHOWN_TOKENS = 12
_SHOWN_CHARS = 160
_ADVICE = "nothing was kept of this stage: please report the base model and this message."
_HANGUL_RUN = re.compile(f"[{HANGUL}]+")


@dataclass
class Proof:
    """What was checked and found true.

    Attributes:
        texts: texts encoded with both tokenizers.
        texts_without_hangul: of these, texts that hold no Hangul; every id is equal.
        segments_without_hangul: lines and stretches without Hangul out of the other texts, each encoded by itself;
            every id is equal.
        changed_ids_without_hangul: always 0; a change raises.
        unreachable_tokens: always 0; a new token that its own bytes are not cut into raises.
        partial_tokens: new tokens that end or begin inside a character: steps on the way to others.
        tokens_in_use: new tokens that some text was cut into.
        base_changes: texts that the base's own tokenizer does not give back as they were, and so neither does the
            extended one, with the first as an example.
        base_streams_otherwise: texts that come back otherwise token by token than as a whole, from the base as well.
        twin_texts: texts that tokenizer.model and tokenizer.json cut alike, where there are both.
        twin_differs_in_base: texts in which the base's own two files differ.
    """

    texts: int = 0
    texts_without_hangul: int = 0
    segments_without_hangul: int = 0
    changed_ids_without_hangul: int = 0
    unreachable_tokens: int = 0
    partial_tokens: int = 0
    tokens_in_use: int = 0
    base_changes: int = 0
    base_changes_example: str = ""
    base_streams_otherwise: int = 0
    twin_texts: int = 0
    twin_differs_in_base: int = 0


class Prover:
    """Compares a base tokenizer with its extension.

    Args:
        family: the base's tokenizer as a family.
        base: the base's tokenizer.
        extended: its extension, as loaded from disk.
        merges: the new tokens.
        num_rows: rows of the extended table; ids behind the new tokens are padding.
        twins: encodes with the base's and with the extended tokenizer.model, where there are both.
    """

    def __init__(
        self,
        family: Family,
        base: PreTrainedTokenizerBase,
        extended: PreTrainedTokenizerBase,
        merges: Sequence[Merge],
        num_rows: int,
        twins: tuple[Encode, Encode] | None = None,
    ) -> None:
        self._tokenizers = base, extended
        self._base, self._extended = _plain(base), _plain(extended)
        self._family = family
        self._merges, self._num_rows, self._twins = merges, num_rows, twins
        self._raw = {merge.id: merge.raw for merge in merges}
        self._in_use: set[int] = set()
        self.proof = Proof()

    def entries(self) -> None:
        """Every old entry keeps its id, special tokens included, and only new tokens and padding are added.

        Raises KoreanLLMError for the first entry that moved.
        """
        old, new = self._base.get_vocab(), self._extended.get_vocab()
        wanted = old | {self._family.entry(merge.raw): merge.id for merge in self._merges}
        wanted |= {padding_entry(id): id for id in range(self._merges[-1].id + 1, self._num_rows)}
        for entry in wanted.keys() | new.keys():
            if wanted.get(entry) != new.get(entry):
                raise KoreanLLMError(
                    f"the extended tokenizer has the entry {entry!r} under id {new.get(entry)}, expected"
                    f" {wanted.get(entry)}; {_ADVICE}"
                )
        before, after = map(_special_ids, self._tokenizers)
        if before != after:
            raise KoreanLLMError(f"special tokens moved: {before} became {after}; {_ADVICE}")

    def tokens(self) -> None:
        """Every new token can be produced. Raises KoreanLLMError for the first that cannot.

        The merges alone must build it from its bytes. A token of whole characters must also be what its own text
        encodes to, through normalizer and pre-tokenizer, where these leave the text as it is.
        """
        backend = Tokenizer.from_str(self._extended.to_str())
        # Llama-3 looks a whole word up before it merges; a token found only that way would not be found in a word.
        if hasattr(backend.model, "ignore_merges"):
            backend.model.ignore_merges = False
        for merge in self._merges:
            built = [token.id for token in backend.model.tokenize(self._family.entry(merge.raw))]
            if built != [merge.id]:
                self._fail("a new token cannot be reached", merge.raw.decode(errors="replace"), [merge.id], built)
            try:
                text = merge.raw.decode()
            except UnicodeDecodeError:
                self.proof.partial_tokens += 1
                continue
            ids = _encode(self._extended, [text])[0]
            if not self._family.any_split and ids != [merge.id]:
                self._fail("a new token's own text is cut otherwise", text, [merge.id], ids)

    def texts(self, texts: Iterable[str]) -> None:
        """Check every text, and the parts without Hangul of those that hold some. Raises KoreanLLMError."""
        for batch in batches(texts):
            self._check_texts(batch)
            segments = sorted({part for text in batch if holds_hangul(text) for part in _without_hangul(text)})
            self._check_segments(segments)
        self.proof.tokens_in_use = len(self._in_use)

    def _check_texts(self, texts: list[str]) -> None:
        before, after = _encode(self._base, texts), _encode(self._extended, texts)
        self._check_decoding(texts, before, after)
        self._check_twins(texts, before, after)
        for text, old, new in zip(texts, before, after, strict=True):
            self.proof.texts += 1
            if not holds_hangul(text):
                self.proof.texts_without_hangul += 1
                if old != new:
                    self._fail("a text without Hangul changed", text, old, new)
                continue
            if (place := self._first_uncovered(old, new)) is not None:
                self._fail("new tokens do not join whole tokens of the base", text, old[place:], new[place:])
            self._in_use.update(id for id in new if id in self._raw)

    def _check_segments(self, segments: list[str]) -> None:
        before, after = _encode(self._base, segments), _encode(self._extended, segments)
        for text, old, new in zip(segments, before, after, strict=True):
            if old != new:
                self._fail("a text without Hangul changed", text, old, new)
        self.proof.segments_without_hangul += len(segments)

    def _check_decoding(self, texts: list[str], before: list[list[int]], after: list[list[int]]) -> None:
        old_texts = self._base.decode_batch(before, skip_special_tokens=False)
        new_texts = self._extended.decode_batch(after, skip_special_tokens=False)
        for text, old, new, old_ids, new_ids in zip(texts, old_texts, new_texts, before, after, strict=True):
            if old != new:
                self._fail("a text decodes otherwise", text, old_ids, new_ids)
            if old != text:
                self.proof.base_changes += 1
                self.proof.base_changes_example = self.proof.base_changes_example or _first_change(text, old)
            if holds_hangul(text) and not _same_when_streamed(self._extended, new_ids, new):
                self.proof.base_streams_otherwise += 1
                if _same_when_streamed(self._base, old_ids, old):
                    self._fail("a text decodes otherwise token by token", text, old_ids, new_ids)

    def _check_twins(self, texts: list[str], before: list[list[int]], after: list[list[int]]) -> None:
        """tokenizer.model cuts as tokenizer.json does wherever the base's two files agree."""
        if self._twins is None:
            return
        old_twin, new_twin = self._twins
        cuts = zip(texts, before, after, old_twin(texts), new_twin(texts), strict=True)
        for text, old, new, old_other, new_other in cuts:
            if old != old_other:
                self.proof.twin_differs_in_base += 1
            elif new != new_other:
                self._fail("tokenizer.model cuts otherwise than tokenizer.json", text, new_other, new)
            else:
                self.proof.twin_texts += 1

    def _first_uncovered(self, old: list[int], new: list[int]) -> int | None:
        """The first place where new ids are not old ids with some neighbours joined to new tokens; None: all are."""
        at = 0
        for place, id in enumerate(new):
            raw = self._raw.get(id)
            if raw is None:
                if at >= len(old) or old[at] != id:
                    return min(place, at)
                at += 1
                continue
            joined = b""
            while at < len(old) and len(joined) < len(raw):
                joined += self._family.raw.get(old[at], b"")
                at += 1
            if joined != raw:
                return min(place, at)
        return None if at == len(old) else len(new)

    def _fail(self, what: str, text: str, old: list[int], new: list[int]) -> NoReturn:
        first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        start = max(0, first - 2)
        shown = slice(start, start + _SHOWN_TOKENS)
        place = self._extended.decode(old[shown], skip_special_tokens=False) if len(text) > _SHOWN_CHARS else text
        raise KoreanLLMError(
            f"vocabulary extension: {what}\n"
            f"  text      {place!r}\n"
            f"  expected  ids {old[shown]}  pieces {[self._extended.id_to_token(id) for id in old[shown]]}\n"
            f"  found     ids {new[shown]}  pieces {[self._extended.id_to_token(id) for id in new[shown]]}\n"
            f"  (from token {start}); {_ADVICE}"
        )


def as_the_file_says(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder by its tokenizer.json alone, without what a class of transformers makes of it."""
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


def same_steps(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers of the same vocabulary cut and decode by the same steps."""
    states = [json.loads(tokenizer.backend_tokenizer.to_str()) for tokenizer in (one, other)]
    return all(states[0][step] == states[1][step] for step in ("normalizer", "pre_tokenizer", "decoder"))


def _first_change(text: str, given_back: str) -> str:
    """Where a text and what the base gives back begin to differ: both, a few characters long."""
    at = next((i for i, (a, b) in enumerate(zip(text, given_back, strict=False)) if a != b), len(given_back))
    return f"{text[at : at + 8]!a} comes back as {given_back[at : at + 8]!a}"


def _plain(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The tokenizer's backend without truncation and padding, which would hide text."""
    backend: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """Added and special tokens by content, and the roles begin, end, padding and unknown."""
    added: dict[str, int | None] = {token.content: id for id, token in tokenizer.added_tokens_decoder.items()}
    roles = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    return added | {role: getattr(tokenizer, role) for role in roles}


def _encode(backend: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


def _same_when_streamed(backend: Tokenizer, ids: list[int], whole: str) -> bool:
    """Whether decoding token by token gives the same text; a stream holds back U+FFFD at its end as unfinished."""
    stream = DecodeStream(skip_special_tokens=False)
    try:
        text = "".join(part for id in ids if (part := stream.step(backend, id)) is not None)
    except Exception:  # its only sign that a token changed text that was already given out
        return False
    return whole.startswith(text) and not whole[len(text) :].strip("\ufffd")


def _without_hangul(text: str) -> Iterator[str]:
    """The parts of a text that hold no Hangul: stretches between Hangul, and whole lines."""
    yield from (part for part in _HANGUL_RUN.split(text) if part)
    yield from (line for line in text.splitlines() if line and not holds_hangul(line))


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of texts of about _BATCH_CHARS characters, or of one longer text."""
    batch: list[str] = []
    chars = 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        if chars >= _BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
