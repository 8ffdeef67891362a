"""Numbers are the same however they are written."""

from __future__ import annotations

import pytest

from korean_llm.answering.quantities import Quantity, quantities, time_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("오전 9시", [(9, "시")]),
        ("아홉 시 삼십 분", [(9, "시"), (30, "분")]),
        ("1만 2천 원과 12,000원", [(12_000, "원"), (12_000, "원")]),
        ("예산 580만 원, 3억", [(5_800_000, "원"), (300_000_000, "")]),
        ("스물세 곳에서 스무 명", [(23, "곳"), (20, "명")]),
        ("이천이십 명과 백만 원", [(2_020, "명"), (1_000_000, "원")]),
        ("사흘 뒤, 3일", [(3, "일"), (3, "일")]),
        ("2.5킬로그램, 2.5kg, 40퍼센트, 40%", [(2.5, "kg"), (2.5, "kg"), (40, "%"), (40, "%")]),
        ("4,100여 개", [(4_100, "개")]),
        ("2019년 3월 4일", [(2019, "년"), (3, "월"), (4, "일")]),
        ("한국 사람이 이 시간에 만든 두부", []),
        ("", []),
    ],
)
def test_values_and_units(text: str, expected: list[tuple[float, str]]) -> None:
    assert list(quantities(text)) == expected


def test_a_unit_that_is_not_said_fits_any() -> None:
    assert Quantity(3).fits(Quantity(3, "명")) and Quantity(3, "명").fits(Quantity(3))
    assert not Quantity(3, "명").fits(Quantity(3, "개")) and not Quantity(3, "명").fits(Quantity(4, "명"))


def test_days_and_parts_of_the_day() -> None:
    assert time_words("매주 월요일 오전에 문을 열고 자정에 닫는다") == {"매주", "월요일", "오전", "자정"}
