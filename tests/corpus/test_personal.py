"""Personal data: what identifies a person is masked, what only looks like it stays."""

from __future__ import annotations

from collections import Counter

import pytest
from ko_pii import detect_all

from korean_llm.corpus.personal import LABELS, mask

MASKED = [
    ("주민등록번호는 900101-1234567입니다.", "주민등록번호는 [주민등록번호]입니다.", "RRN"),
    ("외국인등록번호 900101-5234567 확인", "외국인등록번호 [외국인등록번호] 확인", "FRN"),
    ("김 씨(010-1234-5678)에게 전화하세요.", "김 씨([전화번호])에게 전화하세요.", "PHONE"),
    ("사무실은 02-123-4567번이다.", "사무실은 [전화번호]번이다.", "PHONE"),
    ("031-123-4567로 문의", "[전화번호]로 문의", "PHONE"),
    ("01012345678 또는 +82-10-1234-5678", "[전화번호] 또는 [전화번호]", "PHONE"),
    ("전화 ０１０-１２３４-５６７８", "전화 [전화번호]", "PHONE"),
    ("문의: kim.min_su+news@example.co.kr 로", "문의: [이메일] 로", "EMAIL"),
    ("카드 4111-1111-1111-1111로 결제", "카드 [카드번호]로 결제", "CARD"),
    ("카드번호 4111111111111111", "카드번호 [카드번호]", "CARD"),
    ("여권번호 M12345678", "여권번호 [여권번호]", "PASSPORT"),
    ("운전면허번호 11-12-123456-78", "운전면허번호 [운전면허번호]", "DRIVER_LICENSE"),
    ("계좌번호 110-123-456789 신한은행", "계좌번호 [계좌번호] 신한은행", "ACCOUNT"),
]
STAYS = [
    "901301-1234567은 열세째 달이다.",
    "901232-1234567은 서른둘째 날이다.",
    "900101-1234는 너무 짧다.",
    "카드 4111-1111-1111-1112는 검사 숫자가 틀리다.",
    "010-12-5678은 한 자리가 모자라다.",
    "02-1234-567도 그렇다.",
    "kim@example 은 주소가 아니다.",
    "@kim 에게 알린다.",
    "2024-01-15 부터 2024-2025년까지 9,001,011명",
    "ISBN 978-89-356-3210-6",
    "주문 번호 20240115-0001234",
    "제1234-5678호, 우편번호 03187",
    "대법원 2023. 5. 11. 선고 2023다123456 판결",
    "급하면 112나 119로 전화한다.",
    "원주율은 3.141592653589793이다.",
    "홍길동은 서울특별시 종로구 세종대로 1에 산다.",
]


@pytest.mark.parametrize(("text", "expected", "label"), MASKED)
def test_what_identifies_a_person_is_masked(text: str, expected: str, label: str) -> None:
    found, counts = mask(text)
    assert found == expected
    assert set(counts) == {label}
    assert counts.total() == expected.count("[")


@pytest.mark.parametrize("text", STAYS)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert mask(text) == (text, Counter())


@pytest.mark.parametrize(("text", "expected", "label"), MASKED)
def test_masking_twice_changes_nothing_more(text: str, expected: str, label: str) -> None:
    assert mask(expected) == (expected, Counter())


def test_a_long_text_is_masked_everywhere_and_nowhere_else() -> None:
    lines = [line for pair in zip(STAYS, (text for text, _, _ in MASKED), strict=False) for line in pair]
    wanted = [line for pair in zip(STAYS, (text for _, text, _ in MASKED), strict=False) for line in pair]
    found, counts = mask("\n".join(lines))
    assert found.split("\n") == wanted
    assert counts == Counter([label for _, _, label in MASKED] + ["PHONE"])


def test_names_and_places_are_left_alone_though_the_detector_knows_them() -> None:
    text = "담당자 홍길동, 주소 서울특별시 종로구 세종대로 209"
    assert {str(item.label) for item in detect_all(text)} - set(LABELS)
    assert mask(text) == (text, Counter())


def test_no_text_is_no_work() -> None:
    assert mask("") == ("", Counter())
