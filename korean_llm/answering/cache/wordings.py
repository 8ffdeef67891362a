"""Wordings of Korean questions that surely do not change what is asked: particles, endings, a few synonyms.

All tables are small on purpose: what stands in none of them must be equal for two questions to be the same.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _all(text: str) -> frozenset[str]:
    return frozenset(text.split())


NOUN_TAGS = frozenset({"NNG", "NNP", "NNB", "NP", "NR", "SN", "SL", "SH", "XR"})
VERB_TAGS = frozenset({"VV", "VA", "VX", "VCP", "VCN"})
SUBJECT, OBJECT, TOPIC = "S", "O", "T"
ASK = "?"
"""The ending of a plain question, whatever its politeness."""

PARTICLES = {
    **dict.fromkeys(("이/JKS", "가/JKS", "께서/JKS"), SUBJECT),
    **dict.fromkeys(("을/JKO", "를/JKO", "ᆯ/JKO"), OBJECT),
    **dict.fromkeys(("은/JX", "는/JX", "ᆫ/JX"), TOPIC),
    **dict.fromkeys(("한테/JKB", "께/JKB"), "에게"),
    **dict.fromkeys(("으로/JKB", "ᆯ로/JKB"), "로"),
    **dict.fromkeys(("과/JKB", "랑/JKB", "이랑/JKB"), "와"),
    **dict.fromkeys(("과/JC", "랑/JC", "이랑/JC"), "와"),
    "서/JKB": "에서",
}
ASKING = _all(
    "나요 나 ᆫ가요 은가요 는가요 ᆫ가 은가 는가 어요 아요 여요 에요 예요 이에요 습니까 ᆸ니까 니 으니 냐 느냐 "
    "으냐 죠 지요 지 어 아 야 세요 으세요 셔요 ᆫ지요 는지요"
)
GENTLE = frozenset({"ᆯ까요", "을까요", "ᆯ까", "을까"})
STATIVE = frozenset({"되", "있", "없", "괜찮", "좋", "얼마", "언제", "무엇", "어디", "이"})
"""After these, "…ㄹ까요" asks like "…나요"; after others it may be a proposal."""

SYNONYMS = {
    "뭐": "무엇",
    "뭣": "무엇",
    "무어": "무엇",
    "무슨": "어떤",
    "핸드폰": "휴대폰",
    "휴대전화": "휴대폰",
    "계란": "달걀",
    "누리집": "홈페이지",
    "웹사이트": "홈페이지",
    "까닭": "이유",
    "제일": "가장",
    "어째서": "왜",
    "퍼센트": "%",
    "소요되": "걸리",
    "엄마": "어머니",
    "아빠": "아버지",
}
TELLING = frozenset({"알리", "가르치"})
REQUESTS = frozenset({"세요", "어", "십시오", "ᆯ래요", "ᆯ래", "라", "시오", "ᆸ시오"})
TELL = ("TELL", "EF")
"""The end of a question that asks to be told something."""

DROPPED = frozenset({"혹시", "혹시나", "좀", "대체", "도대체"})
HOMONYMS = frozenset({"묻", "걷", "굽", "이르", "곱", "붇"})
"""Stems that two verbs share and only the surface tells apart (물으면, 묻으면)."""

MODALS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("ᆯ/ETM", "수/NNB", "있/V"), ("CAN",)),
    (("ᆯ/ETM", "수/NNB", "S", "있/V"), ("CAN",)),
    (("ᆯ/ETM", "수/NNB", "없/V"), ("CAN", "NOT")),
    (("ᆯ/ETM", "수/NNB", "S", "없/V"), ("CAN", "NOT")),
    (("어야/EC", "하/V"), ("MUST",)),
    (("어야/EC", "되/V"), ("MUST",)),
    (("어도/EC", "되/V"), ("MAY",)),
    (("어도/EC", "괜찮/V"), ("MAY",)),
    (("면/EC", "안/MAG", "되/V"), ("MUST NOT",)),
    (("면/EC", "안되/V"), ("MUST NOT",)),
    (("면/EC", "되/V"), ("ENOUGH",)),
    (("지/EC", "않/V", "?/EF"), ("ISN'T", "?/EF")),
    (("지/EC", "않/V"), ("NOT",)),
    (("지/EC", "못하/V"), ("CANNOT",)),
    (("기/ETN", "위하/V", "어서/EC"), ("려면/EC",)),
    (("기/ETN", "위하/V", "어/EC"), ("려면/EC",)),
)
"""(tokens, what stands for them). "-지 않다" equals 안, but at the end of a question it may be rhetorical."""

PRICES = _words(
    "수수료 이용료 보험료 입장료 사용료 임대료 관람료 연체료 대여료 과태료 요금 금액 가격 비용 배송비 수술비 "
    "주차비 양육비 수리비 진료비 치료비 연회비 회비 벌금 임금 시급 한도 금리 우대율 이율 이자율 세율 할인율"
)
"""Endings of nouns whose value is an amount: to be told one is to be told how much it is."""

DATES = ("휴관일", "휴무일", "마감일", "만기일", "시작일", "종료일", "발표일", "예정일", "생일", "날짜")
VALUES = _words(
    "번호 주소 이름 절차 조건 자격 순서 방법 명칭 증상 원인 이유 서류 내용 종류 차이 준비물 대상 장단점 장점 단점 특징"
)
"""Endings of nouns that are told by naming what they are."""

THINGS = _all(
    "신청서 계약서 증명서 진단서 확인서 등본 초본 여권 면허 운전면허 통장 계좌 카드 대출 예금 적금 보험 연금 "
    "국민연금 수당 급여 주식 신고 신청 발급 재발급 등록 해지 해제 취소 변경 예약 접수 청구 이체 결제 환불 계약 "
    "소송 상속 유언장 이혼 통보 정산 검진 진료 수술 치료 주사 접종 해열제 혈압 커피 음식 김치 배추 달걀 쓰레기 "
    "세탁기 필터 타이어 사진 비밀번호 회의 투표 시험 조식 체크인 택배 물건 민원 자동차세 포도 화분 사본 저작권 "
    "공청회 보증금 보험금 지원금 퇴직금 장학금 약 물 책 빚 문 돈 집 이자 세금 포인트 환율 연차 항소 통지"
) | {*PRICES, *VALUES}
"""Nouns that do nothing by themselves: before a verb, one with 은/는 or bare is what the verb is done to."""

INTRANSITIVE = _all(
    "오 가 되 있 없 쉬 걸리 나 나오 끝나 열리 닫히 붙 남 생기 사라지 떨어지 오르 바뀌 돌아가 필요하 다니 나타나"
)
"""Verbs that are done to nothing, so that their one argument is who or what does it."""

WORKING = _all(
    "보장하 보상하 치료하 예방하 보호하 지원하 제공하 포함하 금지하 허용하 의미하 뜻하 막 돕 낮추 높이 줄이 늘리"
)
"""Verbs that things do, too: before them a thing with 은/는 may be what does it."""

PASSING = _all(
    "오늘 어제 내일 모레 그저께 그제 글피 지금 현재 요즘 최근 방금 아까 이번 지난 다음 지난주 지난달 지난해 작년 "
    "올해 내년 재작년 금년 당장 이달 금주 내달"
)
"""Words whose meaning passes with the day."""
