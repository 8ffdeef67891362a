"""Sentences as answers: their context, the kind of thing asked for, the vectors of the index; nothing is encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from korean_llm.answering.evidence import candidates, gather
from korean_llm.answering.scoring import HYBRID, LEXICAL, features, scored
from korean_llm.machine import Machine
from korean_llm.retrieval import Index, Options
from korean_llm.retrieval.encoder import Encoder
from tests.retrieval.conftest import encoder

__all__ = ["encoder"]

DOCUMENTS = [
    {
        "id": "office",
        "title": "야간 민원실",
        "text": "야간 민원실은 목요일마다 문을 엽니다. 여권을 찾으러 오시는 분이 가장 많습니다."
        " 번호표는 여섯 시부터 나누어 드립니다. 하루에 마흔 명까지만 받습니다.",
    },
    {"id": "pottery", "title": "도자기", "text": "찻잔은 가마에서 하루를 식힙니다. 금이 간 것은 깨뜨립니다."},
]


@pytest.fixture
def index(encoder: Path, tmp_path: Path) -> Index:
    options = Options(passage_chars=400, small_chars=40)
    return Index.build(DOCUMENTS, tmp_path / "index", encoder=encoder, options=options, machine=Machine("cpu", 1))


def test_nearness_is_the_cosine_of_each_small_passage(index: Index) -> None:
    question = "번호표는 언제 나누어 주나요?"
    assert index.dense is not None
    query_D = index.dense.encoder.query(question)
    for hit in index.search(question):
        near = index.nearness(question, hit)
        texts = [index.document(hit.document_id).text[start:end] for start, end, _ in near]  # type: ignore[union-attr]
        assert len(near) > 1 or hit.document_id == "pottery"
        plain = index.dense.encoder.passages([f"{hit.title}\n{text}" for text in texts]) @ query_D
        assert np.allclose([cosine for *_, cosine in near], plain, atol=1e-5)
        assert hit.focus in [(start, end) for start, end, _ in near]
        assert hit.dense == pytest.approx(max(cosine for *_, cosine in near), abs=1e-6)
        assert index.nearness(question, hit._replace(document_id="none")) == []
        assert index.nearness(question, hit._replace(start=hit.start + 1)) == []


def test_nearness_after_growth(index: Index) -> None:
    question = "번호표는 언제 나누어 주나요?"
    before = {hit.document_id: index.nearness(question, hit) for hit in index.search(question)}
    index.add([{"id": "new", "title": "", "text": "새 글은 다른 조각에 있습니다. 번호표 이야기는 없습니다."}])
    index.delete(["pottery"])
    after = {hit.document_id: index.nearness(question, hit) for hit in index.search(question)}
    assert after["office"] == before["office"] and len(after["new"]) >= 1 and "pottery" not in after


def test_sentences_are_scored_without_encoding_them(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    plain = Encoder._encode
    monkeypatch.setattr(Encoder, "_encode", lambda own, texts: (encoded.extend(texts), plain(own, texts))[1])
    evidence = gather(index, "하루에 몇 명까지 받나요?")
    assert encoded == ["query: 하루에 몇 명까지 받나요?"]
    assert max(evidence.sentences, key=lambda sentence: sentence.score).text == "하루에 마흔 명까지만 받습니다."
    assert all(sentence.nearness is not None for sentence in evidence.sentences)


def test_the_sentences_before_count(index: Index) -> None:
    question = "여권을 찾는 야간 민원실의 번호표"
    found = candidates(index, question, index.search(question))
    values = features(question, found)
    assert values.keys() == HYBRID.keys()
    by_text = {one.text: at for at, one in enumerate(found)}
    second, third = (
        by_text["여권을 찾으러 오시는 분이 가장 많습니다."],
        by_text["번호표는 여섯 시부터 나누어 드립니다."],
    )
    assert values["before"][third] > values["before"][second - 1], "the first sentence has none before it"
    first_of_other = by_text["찻잔은 가마에서 하루를 식힙니다."]
    assert values["before"][first_of_other] == values["before"].min(), "another passage is no context"


def test_the_share_of_what_is_asked_for(index: Index) -> None:
    found = candidates(index, "몇 시부터 몇 명까지 받나요?", index.search("몇 시부터 몇 명까지 받나요?"))
    kinds = dict(zip((one.text for one in found), features("몇 시부터 몇 명까지 받나요?", found)["kind"], strict=True))
    assert kinds["하루에 마흔 명까지만 받습니다."] == kinds["번호표는 여섯 시부터 나누어 드립니다."] == 0.5
    assert kinds["금이 간 것은 깨뜨립니다."] == 0


def test_without_an_encoder_and_without_sentences(tmp_path: Path) -> None:
    index = Index.build(DOCUMENTS, tmp_path / "lexical")
    question = "하루에 몇 명까지 받나요?"
    found = candidates(index, question, index.search(question))
    assert features(question, found).keys() == LEXICAL.keys()
    assert index.nearness(question, index.search(question)[0]) == []
    assert found[int(np.argmax(scored(question, found)))].text == "하루에 마흔 명까지만 받습니다."
    assert len(scored(question, [])) == 0
