"""Reranking with a real cross-encoder, and what a language model adds, asked over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import Index
from korean_llm.retrieval.rerank import _cross_encoder
from tests.retrieval.conftest import DOCUMENTS

QUESTION = "도서관은 언제 쉬나요?"


@pytest.fixture(scope="module")
def index(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return Index.build(DOCUMENTS, tmp_path_factory.mktemp("stages"), encoder=encoder)


@pytest.fixture(scope="module")
def reranker(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT of one layer that reads question and passage together and gives one number."""
    folder = tmp_path_factory.mktemp("reranker")
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_labels=1
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A server that answers every chat with the same two lines."""

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            message = {"role": "assistant", "content": "1. 계좌 이체 시각\n2. 은행 점검"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            body = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def order(index: Index, **changes: object) -> list[str]:
    numbers = index.ranked(QUESTION, replace(index.options, **changes)).numbers
    return [index.place(int(number))[0] for number in numbers]


def test_a_cross_encoder_alone_orders_by_its_own_scores(index: Index, reranker: str) -> None:
    texts = [index.text(number) for number in range(len(DOCUMENTS))]
    scores = _cross_encoder(reranker).predict([(QUESTION, text) for text in texts], show_progress_bar=False)
    expected = [index.place(number)[0] for number in sorted(range(len(texts)), key=lambda n: -scores[n])]
    assert order(index, reranker=reranker, rerank_weight=1.0) == expected
    assert order(index, reranker=reranker, rerank_weight=0.0) == order(index)
    with pytest.raises(KoreanLLMError, match=r"holds no config\.json"):
        order(index, reranker=str(index.folder))


def test_other_wordings_find_what_they_name(index: Index, endpoint: str) -> None:
    lexical = {"dense_weight": 0.0, "endpoint": endpoint}
    assert "bank" not in order(index, dense_weight=0.0)[:1]
    assert order(index, expansion="multi-query", **lexical)[:2] == ["bank", "library"]
    assert sorted(order(index, expansion="hyde", **lexical)) == sorted(row["id"] for row in DOCUMENTS)


def test_without_a_language_model_it_is_said(index: Index) -> None:
    with pytest.raises(KoreanLLMError, match="--endpoint URL"):
        order(index, expansion="hyde")
    with pytest.raises(KoreanLLMError, match=r"does not answer .*start it, or switch"):
        order(index, expansion="multi-query", endpoint="http://127.0.0.1:9/v1")
