"""A small real sentence encoder and a handful of Korean documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = [
    "도서관",
    "배추",
    "은행",
    "버드나무",
    "계좌",
    "이체",
    "김치",
    "소금물",
    "월요일",
    "아침",
    "저녁",
    "강가",
    "물소리",
    "지방자치단체장",
    "GPU",
]
DOCUMENTS = [
    {
        "id": "library",
        "title": "도서관 안내",
        "text": "버들도서관은 매주 월요일에 쉽니다.\n\n여는 시각은 오전 아홉 시이고, 닫는 시각은 저녁 여섯 시입니다.",
    },
    {
        "id": "kimchi",
        "title": "김치 담그기",
        "text": "배추를 소금물에 여섯 시간 절인다. 절인 배추는 맑은 물에 세 번 헹군다. 양념을 잎 사이에 고루 바른다.",
    },
    {
        "id": "bank",
        "title": "은행 점검",
        "text": "전산 점검 때문에 일요일 새벽에는 계좌 이체를 할 수 없습니다. 카드 결제는 그대로 됩니다.",
    },
    {
        "id": "river",
        "title": "",
        "text": "강가의 버드나무는 봄마다 연둣빛 가지를 늘어뜨린다. 아이들은 그 아래에서 물수제비를 뜬다.",
    },
]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers over characters, mean pooling, as a sentence-transformers folder."""
    folder = tmp_path_factory.mktemp("encoder") / "model"
    letters = sorted({letter for row in DOCUMENTS for letter in row["text"] if not letter.isspace()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    backend = Tokenizer(models.WordPiece({word: id for id, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    return folder
