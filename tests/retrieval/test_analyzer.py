"""What of a Korean text is indexed."""

from __future__ import annotations

from pathlib import Path

import pytest

from korean_llm import kiwi
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.analyzer import Analyzer, bigram_terms, morpheme_terms
from korean_llm.retrieval.dictionary import read_dictionary


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
    first = [term for found in Analyzer("kiwi").analysed(text.split()) for term in found.morphemes]
    assert terms(text) == terms(text) == alone == first


def test_exact_analysis_sees_the_neighbours_but_joins_nothing_over_a_space() -> None:
    text = "하늘을 나는 새 도서관 사서"
    assert terms("하늘을 나는 새") == ["하늘", "새"], "나는 alone is a pronoun with its particle"
    assert Analyzer("kiwi", exact=True).terms("하늘을 나는 새").morphemes == ["하늘", "나", "새"]
    assert "도서관사서" not in Analyzer("kiwi", exact=True).terms(text).morphemes
    assert "도서관사서" in Analyzer("kiwi", exact=True).terms("도서관사서").morphemes


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    "text", ["버들 마을 금고에서는", "버들마을금고에서는", "버들 마을금고에서는", "버들마을 금고에서는"]
)
def test_a_dictionary_term_is_found_with_and_without_its_spaces(text: str, exact: bool) -> None:
    found = Analyzer("kiwi", exact, ("버들 마을 금고",)).terms(text).morphemes
    assert found.count("버들마을금고") == 1
    assert "금고" in found, "its parts are there too"
    assert "에서" not in found


def test_an_unknown_name_of_the_dictionary_sheds_its_particles() -> None:
    assert "쀼릉쟁" in Analyzer("kiwi", dictionary=("쀼릉쟁",)).terms("쀼릉쟁에게서도").morphemes


def test_a_dictionary_file_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("# names\n버들  마을\n\n쀼릉쟁\n버들 마을\n", encoding="utf-8")
    assert read_dictionary(tmp_path / "terms.txt") == ("버들 마을", "쀼릉쟁")
    (tmp_path / "cp949.txt").write_bytes("버들".encode("cp949"))
    with pytest.raises(KoreanLLMError, match="cannot be read as UTF-8"):
        read_dictionary(tmp_path / "cp949.txt")


def test_bigrams_stay_within_words() -> None:
    assert bigram_terms("나는 간다!") == ["나는", "간다"]
    assert bigram_terms("도서관 책") == ["도서", "서관", "책"]


@pytest.mark.parametrize("text", ["1" * 5_000, "ㅋ" * 5_000, "가" * 5_000, "\x00", "", "   ", "😀" * 100])
def test_endless_runs_are_cut_and_nothing_breaks(text: str) -> None:
    assert len(kiwi.guarded(text)) <= 100
    assert len(terms(text)) <= 60
    assert len(bigram_terms(text)) <= 100
