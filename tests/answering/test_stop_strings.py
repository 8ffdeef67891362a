"""Promise 7 with stop strings: nothing of one is shown, nothing after it, and no syllable breaks, however it is cut."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable, Sequence

import pytest

from korean_llm.answering.writing.stream import AnswerStream, StopStrings, TokenBytes
from tests.answering.test_stream import ALL_SYLLABLES, byte_fallback, korean_byte_level

STOPS = ("\n\n질문:", "끝.", "</답>", "각", "👩‍🔬", "국어끝.\n", "끝.\n질문")
MIXED = [
    "이모지 👩‍🔬와 👍🏽👍🏿, 🇰🇷🇰🇵 그리고 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣ 끝",
    "漢字·國語學과 𠮷野家, ｆｕｌｌ, é 그리고 é",
    "코드 `def f(x): return x[0]`와 <답>한글</답>을\r\n섞는다.\n\n질문 — “따옴표”",
    "값없이 읊조린 뷁, 똠방각하의 햏자! ㅋㅋㅋ ㅠㅠ",
]


def unbroken(piece: str) -> bool:
    """Whether a piece holds no broken character and does not begin inside a syllable."""
    return "\ufffd" not in piece and not re.match("[\u1160-\u11ff]", piece)


def unstreamed(text: str, stops: Sequence[str]) -> str:
    """The slow obvious reference: the whole text, cut where the stop string stands that is complete first."""
    forms = [unicodedata.normalize(form, stop) for stop in stops for form in ("NFC", "NFD")]
    found = [match for form in forms for match in re.finditer(re.escape(form), text) if _ends(text, match)]
    first = min(found, key=lambda match: (match.end(), match.start()), default=None)
    return text[: first.start()] if first else text


def _ends(text: str, match: re.Match[str]) -> bool:
    return not re.match("[\u1160-\u11ff]", text[match.end() :])


def streamed(pieces: Iterable[bytes], stops: Sequence[str]) -> list[str]:
    stream = AnswerStream(stops)
    return [*(stream.feed(piece) for piece in pieces), stream.finish()]


@pytest.mark.parametrize(("form", "syllables"), [("NFC", ALL_SYLLABLES), ("NFD", ALL_SYLLABLES[::9])])
def test_every_syllable_at_every_byte_split_around_a_stop_string(form: str, syllables: str) -> None:
    """11,172 syllables × every split of the syllable and of the stop string after it."""
    after = "가".encode()
    for syllable in unicodedata.normalize("NFC", syllables):
        shown = unicodedata.normalize(form, syllable)
        raw = unicodedata.normalize(form, f"{syllable}끝.").encode()
        for cut in range(len(raw) + 1):
            stream = AnswerStream(("끝.",))
            if stream.feed(raw[:cut]) + stream.feed(raw[cut:] + after) != shown or stream.finish():
                pytest.fail(f"{syllable} cut at {cut}")


def test_every_syllable_byte_by_byte_is_held_back_until_it_is_whole() -> None:
    for width in (1, 2, 4, 5):
        raw = ALL_SYLLABLES.encode()
        pieces = streamed((raw[at : at + width] for at in range(0, len(raw), width)), ("없는 말",))
        assert "".join(pieces) == ALL_SYLLABLES and all(map(unbroken, pieces))


def test_every_syllable_can_be_the_stop_string() -> None:
    around = "가힣"
    for number, stop in enumerate(ALL_SYLLABLES[1:-1:28], start=1):
        form = ("NFC", "NFD")[number % 2]
        other = ("NFD", "NFC")[number % 2]
        raw = unicodedata.normalize(form, f"{around}{stop}{around}").encode()
        given = unicodedata.normalize(other, stop)
        for cut in range(len(raw) + 1):
            assert "".join(streamed([raw[:cut], raw[cut:]], (given,))) == unicodedata.normalize(form, around)


@pytest.mark.parametrize("text", MIXED)
@pytest.mark.parametrize("stop", STOPS)
def test_mixed_text_with_the_stop_string_at_every_place(text: str, stop: str) -> None:
    for at in range(0, len(text) + 1, 2):
        spoken = text[:at] + stop + text[at:]
        raw = spoken.encode()
        expected = unstreamed(spoken, (stop,))
        for cut in range(0, len(raw) + 1, 3):
            pieces = streamed([raw[:cut], raw[cut : cut + 2], raw[cut + 2 :]], (stop,))
            assert "".join(pieces) == expected and all(map(unbroken, pieces))


def test_random_texts_cuts_and_stop_strings_equal_the_unstreamed_text() -> None:
    dice = random.Random(17)
    parts = [*STOPS, *"가각갂한글끝.\n질문:</답>é👍🏽🇰", "질문", "\n\n", "국어", "e\u0301"]
    for _ in range(3_000):
        text = unicodedata.normalize(dice.choice(["NFC", "NFD"]), "".join(dice.choices(parts, k=dice.randrange(25))))
        stops = dice.sample(STOPS, dice.randrange(4))
        raw = text.encode()
        cuts = sorted(dice.choices(range(len(raw) + 1), k=dice.randrange(6)))
        pieces = streamed((raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)), stops)
        assert "".join(pieces) == unstreamed(text, stops)
        assert all(map(unbroken, pieces))


def test_a_beginning_is_held_back_and_no_longer_than_needed() -> None:
    stops = StopStrings(("끝났다",))
    assert [stops.feed(char) for char in "가끝끝났끝났나"] == ["가", "", "끝", "", "끝났", "", "끝났나"]
    assert stops.finish() == ""
    assert stops.feed("나끝났") == "나" and stops.finish() == "끝났" and not stops.found


def test_nothing_is_shown_after_a_stop_string() -> None:
    stream = AnswerStream(("</답>", ""))
    assert stream.feed_text("하나</답") == "하나" and not stream.ended
    assert stream.feed_text(">둘</") == "" and stream.ended
    assert stream.feed_text("셋") == "" and stream.finish() == ""


def test_a_syllable_is_not_cut_by_a_shorter_one() -> None:
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, "강각가")
        assert "".join(streamed([text.encode()], ("가",))) == unicodedata.normalize(form, "강각")


@pytest.mark.parametrize("make", [korean_byte_level, byte_fallback])
@pytest.mark.parametrize("text", MIXED)
def test_token_by_token(make, text: str) -> None:
    tokenizer = make()
    of = TokenBytes(tokenizer)
    for stop in STOPS:
        for spoken in (text, f"{text}{stop}{text}", text[:7] + stop):
            ids = tokenizer(spoken, add_special_tokens=False)["input_ids"]
            raw = [of[token] for token in ids]
            pieces = streamed(raw, (stop,))
            assert "".join(pieces) == unstreamed(b"".join(raw).decode(), (stop,))
            assert all(map(unbroken, pieces))
