"""Sentences that many questions lead to are encoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from korean_llm.machine import Machine
from korean_llm.retrieval import encoder as room
from korean_llm.retrieval.encoder import Encoder

TEXTS = ["버들도서관은 매주 월요일에 쉽니다.", "배추를 소금물에 절인다.", "카드 결제는 그대로 됩니다."]


def test_kept_sentences_are_as_encoded_and_bounded(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, encoded = Encoder(encoder, "query: ", "passage: ", Machine("cpu", 1)), []
    plain_MD = opened.passages(TEXTS)
    monkeypatch.setattr(opened, "passages", lambda texts: (encoded.extend(texts), Encoder.passages(opened, texts))[1])
    assert np.allclose(opened.sentences([TEXTS[1], TEXTS[0], TEXTS[1]]), plain_MD[[1, 0, 1]], atol=1e-6)
    assert np.allclose(opened.sentences(TEXTS), plain_MD, atol=1e-6)
    assert encoded == [TEXTS[1], TEXTS[0], TEXTS[2]]
    monkeypatch.setattr(room, "_KEPT_SENTENCES", 3)
    opened.sentences(["강가의 버드나무"])
    assert opened.sentences(TEXTS).shape == plain_MD.shape and encoded[3:] == ["강가의 버드나무", *TEXTS]
