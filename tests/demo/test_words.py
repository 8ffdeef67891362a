"""Both languages say everything, with the same values, and the browser's wish decides."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import get_args

import pytest

import demo
from demo.words import TABLE, Words, preferred
from korean_llm.answering.answer import MODES, StepKind
from korean_llm.answering.models import STAGES
from korean_llm.answering.uploads import Reason

_NAMED = re.compile(r'(?:words|demo\.words)\(\s*"(\w+)"')


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_languages_have_the_same_texts_and_values() -> None:
    assert TABLE["ko"].keys() == TABLE["en"].keys()
    for key, text in TABLE["ko"].items():
        assert text.strip() and TABLE["en"][key].strip(), key
        assert fields(text) == fields(TABLE["en"][key]), key


def test_korean_is_korean_and_english_is_english() -> None:
    shared = {"other_language", "tokens_example"}
    for key in TABLE["ko"].keys() - shared:
        assert re.search("[가-힣]", TABLE["ko"][key]), key
        assert not re.search("[가-힣]", TABLE["en"][key]), key


def test_every_text_that_the_page_names_is_there() -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(demo.__file__).parent.glob("*.py")]
    named = {key for source in sources for key in _NAMED.findall(source)}
    named |= {"keeping", "source_hint"}
    built = {f"mode_{mode}" for mode in MODES} | {f"stage_{stage}" for stage in STAGES}
    built |= {f"refused_{reason}" for reason in get_args(Reason)} | {f"step_{kind}" for kind in get_args(StepKind)}
    assert len(named) > 60
    assert (named | built) <= TABLE["ko"].keys()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "ko"),
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("en;q=0.3,ko;q=0.7", "ko"),
        ("fr-FR,fr;q=0.9", "ko"),
        ("ja,en;q=0.5", "en"),
        ("EN-gb", "en"),
        (";;;,,q=x", "ko"),
    ],
)
def test_the_language_is_the_browsers(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


def test_sizes_are_counted_as_each_language_counts() -> None:
    assert Words("ko").size(134_515_008) == "1.3억"
    assert Words("en").size(134_515_008) == "135 M"
    assert Words("en").size(30_000) == "30 K"
