"""What of a Korean text is indexed."""

from __future__ import annotations

import pytest

from korean_llm import kiwi
from korean_llm.retrieval.analyzer import _eojeol_terms, bigram_terms, morpheme_terms


def terms(text: str) -> list[str]:
    return next(morpheme_terms([text]))


def test_particles_endings_and_light_verbs_are_left_out() -> None:
    found = terms("도서관에서는 책을 빌릴 수 있습니다.")
    assert "도서관" in found and "책" in found and "빌리" in found
    assert not {"에서", "는", "을", "있", "습니다", "수"} & set(found)


def test_a_compound_is_also_one_whole_word() -> None:
    found = terms("지방자치단체장이 발표했다.")
    assert "지방자치단체장" in found
    assert {"지방", "자치"} <= set(found), "its parts are there too"


def test_case_and_decomposed_hangul_make_no_difference() -> None:
    import unicodedata

    text = "GPU 서버의 메모리 사용량"
    assert terms(text) == terms(text.lower()) == terms(unicodedata.normalize("NFD", text))


def test_a_word_has_the_same_terms_wherever_it_stands_and_however_often_it_is_asked() -> None:
    text = "나는 지방자치단체장이 빌린 책을 보았다."
    alone = [term for eojeol in text.split() for term in terms(eojeol)]
    first = [term for eojeol in text.split() for term in _eojeol_terms(next(kiwi.analyse([eojeol])))]
    assert terms(text) == terms(text) == alone == first


def test_bigrams_stay_within_words() -> None:
    assert bigram_terms("나는 간다!") == ["나는", "간다"]
    assert bigram_terms("도서관 책") == ["도서", "서관", "책"]


@pytest.mark.parametrize("text", ["1" * 5_000, "ㅋ" * 5_000, "가" * 5_000, "\x00", "", "   ", "😀" * 100])
def test_endless_runs_are_cut_and_nothing_breaks(text: str) -> None:
    assert len(kiwi.guarded(text)) <= 100
    assert len(terms(text)) <= 60
    assert len(bigram_terms(text)) <= 100
