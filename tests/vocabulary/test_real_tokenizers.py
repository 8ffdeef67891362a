"""Extension of the tokenizers of real models: SmolLM2, Llama-2, Llama-3, Qwen3, Gemma-3.

SmolLM2, Llama-2 and a small sample by default. KOREAN_LLM_TEST_LINES sets the number of lines without Hangul (half as
many Korean ones) and adds Llama-3, Qwen3 and Gemma-3; small tokenizers of their kinds are always tested beside this.
The sizes the project promises are checked by tests/benchmarks/vocabulary.py.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from korean_llm.errors import KoreanLLMError
from korean_llm.hangul import holds_hangul
from korean_llm.vocabulary import extend
from tests import real_texts
from tests.real_tokenizers import ROOT, NotReachableError, real_tokenizer
from tests.vocabulary import compare

WANTED_LINES = os.environ.get("KOREAN_LLM_TEST_LINES")
NUM_LINES = int(WANTED_LINES or "2000")
NEW_TOKENS = 400
EXTENDED = ("SmolLM2", "Llama-2", *(("Llama-3", "Qwen3") if WANTED_LINES else ()))
SPACE = compare.SPACE
PROSE_EN = ROOT / "corpora" / "prose-en" / "documents.jsonl"
STDLIB = sorted(Path(json.__file__).parents[1].glob("[h-u]*.py"))


def korean_corpus() -> list[str]:
    """Korean documents that lie in the repository."""
    with (ROOT / "corpora" / "prose-ko" / "documents.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in islice(file, 30)]


@dataclass(frozen=True)
class Pair:
    """A base tokenizer folder and its extension."""

    name: str
    base: Path
    extended: Path

    @cached_property
    def loaded(self) -> tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase]:
        return compare.load(self.base), compare.load(self.extended)

    @cached_property
    def written(self) -> tuple[Tokenizer, Tokenizer]:
        return compare.backend(self.base), compare.backend(self.extended)

    def ways(self) -> list[tuple[Tokenizer, Tokenizer]]:
        """As transformers loads them and, for SentencePiece, as tokenizer.json writes them: there they differ."""
        old, new = self.loaded
        written = [self.written] if self.name in ("Llama-2", "Gemma-3") else []
        return [(old.backend_tokenizer, new.backend_tokenizer), *written]


def base_of(name: str) -> Path:
    try:
        return real_tokenizer(name)
    except NotReachableError as error:
        pytest.skip(str(error))


def extended_pair(name: str, out: Path) -> Pair:
    base = base_of(name)
    # Kiwi's analysis takes as long as everything else; one family with it is enough here.
    extend(base, korean_corpus(), NEW_TOKENS, out, kiwi_weight=0.5 if name == "Llama-2" else 0.0)
    return Pair(name, base, out)


@pytest.fixture(scope="module")
def llama2(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return extended_pair("Llama-2", tmp_path_factory.mktemp("extended") / "Llama-2")


@pytest.fixture(scope="module", params=EXTENDED)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    if request.param == "Llama-2":
        return request.getfixturevalue("llama2")
    return extended_pair(request.param, tmp_path_factory.mktemp("extended") / request.param)


@pytest.fixture(scope="module")
def other_lines() -> list[str]:
    if WANTED_LINES:
        found = (line for _, line in real_texts.other_lines())
    else:  # looking through everything that is installed takes longer than the tests
        found = (line for line in real_texts.lines_of([PROSE_EN, *STDLIB]) if line)
    lines = [line for line in islice(found, NUM_LINES // 2) if not holds_hangul(line)]
    return [*lines, *islice(real_texts.generated_strings(), NUM_LINES // 2)]


@pytest.fixture(scope="module")
def korean_lines() -> list[str]:
    lines = (line for text in korean_corpus() for line in text.split("\n") if line)
    if real_texts.DATA.is_dir():
        lines = chain(real_texts.korean_lines(), lines)
    return [*islice(lines, NUM_LINES // 4), *islice(real_texts.mixed_strings(), NUM_LINES // 4)]


def check(pair: Pair, other_lines: list[str], korean_lines: list[str]) -> None:
    """All that holds for every family."""
    old, new = pair.loaded
    assert compare.special_ids(old) == compare.special_ids(new)
    assert old.all_special_ids == new.all_special_ids
    assert old.chat_template == new.chat_template
    vocabulary = new.get_vocab()
    assert {piece: vocabulary[piece] for piece in old.get_vocab()} == old.get_vocab()
    padding = [id for piece, id in vocabulary.items() if compare.PADDING.fullmatch(piece)]
    assert len(new) == len(vocabulary) == len(old) + NEW_TOKENS + len(padding)
    assert len(new) % 128 == 0
    tokens = compare.new_tokens(old.backend_tokenizer, new.backend_tokenizer)
    assert len(tokens) == NEW_TOKENS
    assert compare.unreachable(new.backend_tokenizer, tokens) == []
    korean_lines = [*korean_lines, *compare.soups(tokens, NUM_LINES // 4)]
    for base, extended in pair.ways():
        assert compare.changed(base, extended, other_lines) == []
        assert compare.differently_decoded(base, extended, other_lines) == []
        assert compare.differently_decoded(base, extended, korean_lines) == []
        before, after = (compare.ids(way, korean_lines) for way in (base, extended))
        assert sum(map(len, after)) < sum(map(len, before))
        assert not set(padding) & {id for ids in after for id in ids}


def test_old_text_is_untouched_and_every_token_is_reached(
    pair: Pair, other_lines: list[str], korean_lines: list[str]
) -> None:
    check(pair, other_lines, korean_lines)


@pytest.mark.skipif(
    not WANTED_LINES,
    reason="Gemma's 262,144 entries take half a minute; set KOREAN_LLM_TEST_LINES",
)
def test_gemma_is_extended_or_refused_in_one_sentence(
    tmp_path: Path, other_lines: list[str], korean_lines: list[str]
) -> None:
    base_of("Gemma-3")
    try:
        pair = extended_pair("Gemma-3", tmp_path / "out")
    except KoreanLLMError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 400
        assert not (tmp_path / "out" / "tokenizer.json").exists()
    else:
        check(pair, other_lines, korean_lines)


def processors(pair: Pair) -> tuple[sentencepiece.SentencePieceProcessor, sentencepiece.SentencePieceProcessor]:
    return tuple(  # type: ignore[return-value]
        sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        for folder in (pair.base, pair.extended)
    )


def pieces_of(folder: Path) -> list[tuple[str, float, int]]:
    model = proto.ModelProto()
    model.ParseFromString((folder / "tokenizer.model").read_bytes())
    return [(piece.piece, piece.score, piece.type) for piece in model.pieces]


def test_the_rebuilt_model_of_llama2_cuts_as_its_tokenizer_json(
    other_lines: list[str], korean_lines: list[str]
) -> None:
    lines = list(filter(compare.same_in_sentencepiece, [*other_lines, *korean_lines]))
    assert len(lines) > 0.8 * len([*other_lines, *korean_lines])
    assert compare.disagreeing(base_of("Llama-2"), lines) == []


def test_tokenizer_model_and_tokenizer_json_agree(
    llama2: Pair, other_lines: list[str], korean_lines: list[str]
) -> None:
    _, model = processors(llama2)
    _, loaded = llama2.loaded
    _, written = llama2.written
    size = model.get_piece_size()
    assert size == len(loaded) == written.get_vocab_size()
    pieces = [model.id_to_piece(id) for id in range(size)]
    assert pieces == loaded.convert_ids_to_tokens(list(range(size)))
    assert pieces == [written.id_to_token(id) for id in range(size)]
    soups = compare.soups(compare.new_tokens(*llama2.written), NUM_LINES)
    lines = list(filter(compare.same_in_sentencepiece, [*other_lines, *korean_lines, *soups]))
    assert compare.disagreeing(llama2.extended, lines) == []
    # transformers puts no space before a text that begins with one; SentencePiece does. That is the base's doing.
    lines = [line for line in lines if not line.startswith(" ")]
    found = compare.ids(loaded.backend_tokenizer, lines)
    assert [line for line, want, ids in zip(lines, model.encode(lines), found, strict=True) if want != ids] == []


def test_sentencepiece_itself_keeps_old_text(llama2: Pair, other_lines: list[str], korean_lines: list[str]) -> None:
    base, extended = processors(llama2)
    assert [line for line in other_lines if base.encode(line) != extended.encode(line)] == []
    lines = [*other_lines, *korean_lines]
    assert [line for line in lines if base.decode(base.encode(line)) != extended.decode(extended.encode(line))] == []


def test_old_pieces_keep_id_score_and_type_and_new_ones_are_normal(llama2: Pair) -> None:
    old, new = pieces_of(llama2.base), pieces_of(llama2.extended)
    assert new[: len(old)] == old
    kinds = proto.ModelProto.SentencePiece
    first_padding = len(old) + NEW_TOKENS
    assert {kind for _, _, kind in new[len(old) : first_padding]} == {kinds.NORMAL}
    assert {kind for _, _, kind in new[first_padding:]} <= {kinds.UNUSED}
    assert all(compare.PADDING.fullmatch(piece) for piece, _, _ in new[first_padding:])
    assert len({piece for piece, _, _ in new}) == len(new)
    model = proto.ModelProto()
    model.ParseFromString((llama2.extended / "tokenizer.model").read_bytes())
    assert model.trainer_spec.vocab_size == len(new)
