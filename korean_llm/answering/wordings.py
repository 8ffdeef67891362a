"""Wordings of Korean questions that surely do not change what is asked: particles, endings, a few synonyms.

All tables are small on purpose: what stands in none of them must be equal for two questions to be the same.
"""

from __future__ import annotations

from korean_llm.answering.numerals import with_values
from korean_llm.kiwi import Morpheme

NOUN_TAGS = frozenset({"NNG", "NNP", "NNB", "NP", "NR", "SN", "SL", "SH", "XR", "SW", "SO", "N", "#"})
VERB_TAGS = frozenset({"VV", "VA", "VX", "VCP", "VCN"})
SUBJECT, OBJECT, TOPIC = "S", "O", "T"
ASK = "?"
"""The ending of a plain question, whatever its politeness."""

_PARTICLES = {
    **dict.fromkeys(("이/JKS", "가/JKS", "께서/JKS"), SUBJECT),
    **dict.fromkeys(("을/JKO", "를/JKO", "ᆯ/JKO"), OBJECT),
    **dict.fromkeys(("은/JX", "는/JX", "ᆫ/JX"), TOPIC),
    **dict.fromkeys(("한테/JKB", "께/JKB"), "에게"),
    **dict.fromkeys(("으로/JKB", "ᆯ로/JKB"), "로"),
    **dict.fromkeys(("과/JKB", "랑/JKB", "이랑/JKB"), "와"),
    **dict.fromkeys(("과/JC", "랑/JC", "이랑/JC"), "와"),
    "서/JKB": "에서",
}
_ASKING = frozenset(
    [
        "나요",
        "나",
        "ᆫ가요",
        "은가요",
        "는가요",
        "ᆫ가",
        "은가",
        "는가",
        "어요",
        "아요",
        "여요",
        "에요",
        "예요",
        "이에요",
        "습니까",
        "ᆸ니까",
        "니",
        "으니",
        "냐",
        "느냐",
        "으냐",
        "죠",
        "지요",
        "지",
        "어",
        "아",
        "야",
        "세요",
        "으세요",
        "셔요",
        "ᆫ지요",
        "는지요",
    ]
)
_GENTLE = frozenset({"ᆯ까요", "을까요", "ᆯ까", "을까"})
_STATIVE = frozenset({"되", "있", "없", "괜찮", "좋", "얼마", "언제", "무엇", "어디", "이"})
"""After these, "…ㄹ까요" asks like "…나요"; after others it may be a proposal."""

_SYNONYMS = {
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
_TELLING = frozenset({"알리", "가르치"})
_REQUESTS = frozenset({"세요", "어", "십시오", "ᆯ래요", "ᆯ래", "라", "시오", "ᆸ시오"})
TELL = ("TELL", "EF")
"""The end of a question that asks to be told something."""

_DROPPED = frozenset({"혹시", "혹시나", "좀", "대체", "도대체"})
_HOMONYMS = frozenset({"묻", "걷", "굽", "이르", "곱", "붇"})
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
"""(tokens, what stands for them). Negation by "-지 않다" equals 안, but at the end of a question it may be rhetorical."""

PRICES = (
    *(
        "수수료",
        "이용료",
        "보험료",
        "입장료",
        "사용료",
        "임대료",
        "관람료",
        "연체료",
        "대여료",
        "과태료",
        "요금",
        "금액",
    ),
    *("가격", "비용", "배송비", "수술비", "주차비", "양육비", "수리비", "진료비", "치료비", "연회비", "회비", "벌금"),
    *("임금", "시급", "한도", "금리", "우대율", "이율", "이자율", "세율", "할인율"),
)
"""Endings of nouns whose value is an amount: to be told one is to be told how much it is."""

DATES = ("휴관일", "휴무일", "마감일", "만기일", "시작일", "종료일", "발표일", "예정일", "생일", "날짜")
VALUES = (
    *(
        "번호",
        "주소",
        "이름",
        "절차",
        "조건",
        "자격",
        "순서",
        "방법",
        "명칭",
        "증상",
        "원인",
        "이유",
        "서류",
        "내용",
        "종류",
    ),
    *("차이", "준비물", "대상", "장단점", "장점", "단점", "특징"),
)
"""Endings of nouns that are told by naming what they are."""

THINGS = frozenset(
    [
        *(*PRICES, *VALUES),
        *("신청서", "계약서", "증명서", "진단서", "확인서", "등본", "초본", "여권", "면허", "운전면허", "통장", "계좌"),
        *("카드", "대출", "예금", "적금", "보험", "연금", "국민연금", "수당", "급여", "주식", "신고", "신청", "발급"),
        *(
            "재발급",
            "등록",
            "해지",
            "해제",
            "취소",
            "변경",
            "예약",
            "접수",
            "청구",
            "이체",
            "결제",
            "환불",
            "계약",
            "소송",
        ),
        *("상속", "유언장", "이혼", "통보", "정산", "검진", "진료", "수술", "치료", "주사", "접종", "해열제", "혈압"),
        *(
            "커피",
            "음식",
            "김치",
            "배추",
            "달걀",
            "쓰레기",
            "세탁기",
            "필터",
            "타이어",
            "사진",
            "비밀번호",
            "회의",
            "투표",
        ),
        *(
            "시험",
            "조식",
            "체크인",
            "택배",
            "물건",
            "민원",
            "자동차세",
            "포도",
            "화분",
            "사본",
            "저작권",
            "공청회",
            "보증금",
        ),
        *("보험금", "지원금", "퇴직금", "장학금", "약", "물", "책", "빚", "문", "돈", "집", "이자", "세금", "포인트"),
        *("환율", "연차", "항소", "통지"),
    ]
)
"""Nouns that do nothing by themselves: before a verb, one with 은/는 or without a particle is what the verb is done to."""

INTRANSITIVE = frozenset(
    [
        "오",
        "가",
        "되",
        "있",
        "없",
        "쉬",
        "걸리",
        "나",
        "나오",
        "끝나",
        "열리",
        "닫히",
        "붙",
        "남",
        "생기",
        "사라지",
        "떨어지",
        "오르",
        "바뀌",
        "돌아가",
        "필요하",
        "다니",
        "나타나",
    ]
)
"""Verbs that are done to nothing, so that their one argument is who or what does it."""


WORKING = frozenset(
    [
        "보장하",
        "보상하",
        "치료하",
        "예방하",
        "보호하",
        "지원하",
        "제공하",
        "포함하",
        "금지하",
        "허용하",
        "의미하",
        "뜻하",
        "막",
        "돕",
        "낮추",
        "높이",
        "줄이",
        "늘리",
    ]
)
"""Verbs that things do, too: before them a thing with 은/는 may be what does it."""


def read(morphemes: list[Morpheme], text: str) -> list[tuple[str, str]]:
    """(form, tag) of each morpheme, in the one wording for each; particles get the tag J, numbers the tag #."""
    eojeols = text.split()
    tokens = [token for morpheme in morphemes if (token := _token(morpheme, eojeols)) is not None]
    read = _modals(_joined(with_values(_polite(tokens))))
    return [*read[:-1], TELL] if _requests(morphemes) else read


def _requests(morphemes: list[Morpheme]) -> bool:
    """Whether the end is a request to be told: "알려 줘", "가르쳐 주세요", "알려 주실 수 있나요"."""
    told = next((at for at in range(len(morphemes) - 1, -1, -1) if morphemes[at].form in _TELLING), None)
    if told is None:
        return False
    forms = [morpheme.form for morpheme in morphemes[told + 1 :] if morpheme.tag != "SF"]
    if forms[-1:] == ["요"]:
        forms = forms[:-1]
    if forms[:2] != ["어", "주"] or len(forms) < 3:
        return False
    asked = forms[2:-1]
    direct = not asked and forms[-1] in _REQUESTS
    return direct or asked in (["시", "겠"], ["시", "ᆯ", "수", "있"])


def _token(morpheme: Morpheme, eojeols: list[str]) -> tuple[str, str] | None:
    form, tag, eojeol = morpheme
    if tag == "IC" or (tag == "MAG" and form in _DROPPED) or (tag == "EP" and form in ("시", "으시")):
        return None
    if tag[0] == "J" and tag != "JKG":
        return _PARTICLES.get(f"{form}/{tag}", SUBJECT if tag == "JKC" else form), "J"
    if tag in VERB_TAGS and form in _HOMONYMS:
        form = f"{form}({eojeols[eojeol]})"
    if tag in ("EC", "ETM"):
        form = _short(form, tag)
    form = _SYNONYMS.get(form, form)
    return form, "NP" if form == "언제" else "MAG" if form == "가장" else tag


def _short(form: str, tag: str) -> str:
    """An ending in the form it takes after a vowel, and with 어 for 아."""
    if tag == "ETM":
        return {"을": "ᆯ", "은": "ᆫ"}.get(form, form)
    if form.startswith("으") and len(form) > 1:
        form = form[1:]
    return "어" + form[1:] if form[0] in "아여" else {"ᆫ데": "은데"}.get(form, form)


def _polite(tokens: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Final endings of plain questions become one; the 요 after them goes."""
    out: list[tuple[str, str]] = []
    for form, tag in tokens:
        if (form, tag) == ("요", "J") and out and out[-1][1] in ("EF", ASK):
            continue
        gentle = tag == "EF" and form in _GENTLE and bool(out) and (out[-1][0] in _STATIVE or out[-1][1] == "VA")
        out.append((ASK, "EF") if tag == "EF" and (form in _ASKING or gentle) else (form, tag))
    return out


def _joined(tokens: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Prefixes and suffixes of nouns become part of them; 어떻/VA 게/EC becomes an adverb."""
    out: list[tuple[str, str]] = []
    for form, tag in tokens:
        before = out[-1] if out else ("", "")
        if (tag in NOUN_TAGS and before[1] == "XPN") or (tag == "XSN" and before[1] in ("NNG", "NNP", "XR")):
            out[-1] = (before[0] + form, "NNG")
        elif form == "게" and tag == "EC" and before == ("어떻", "VA"):
            out[-1] = ("어떻게", "MAG")
        elif form == "어떡하":
            out += [("어떻게", "MAG"), ("하", "VV")]
        else:
            out.append((form, tag))
    return out


def _modals(tokens: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Modal turns of phrase as one token of the tag M each (a turned ending keeps the tag EC)."""
    out: list[tuple[str, str]] = []
    at = 0
    while at < len(tokens):
        turn = next((turn for turn in MODALS if _stands(tokens, at, turn[0])), None)
        if turn is None:
            out.append(tokens[at])
            at += 1
        else:
            out += [(name.partition("/")[0], name.partition("/")[2] or "M") for name in turn[1]]
            at += len(turn[0])
    return out


def _stands(tokens: list[tuple[str, str]], at: int, pattern: tuple[str, ...]) -> bool:
    part = tokens[at : at + len(pattern)]
    return len(part) == len(pattern) and all(
        (form if tag == "J" else f"{form}/{'V' if tag in VERB_TAGS else tag}") == wanted
        for (form, tag), wanted in zip(part, pattern, strict=True)
    )
