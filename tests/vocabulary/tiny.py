"""A tiny base model, tokenizers of every supported kind, and a small corpus, all built in the test process."""

from __future__ import annotations

import gzip
import io
import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIALS = ["<|begin|>", "<|end|>", "<|user|>", "<|reserved|>"]
CHAT_TEMPLATE = "{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}"
LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTE_LEVEL = ("smollm", "llama3", "qwen")
KINDS = (*BYTE_LEVEL, "llama")

ENGLISH = [
    "The quick brown fox jumps over the lazy dog near the river bank in 2024.",
    "def add(a, b):\n    return a + b\n\nprint(add(12, 30))  # the answer",
    "Naïve café — “quoted” text, 日本語のテキスト, ελληνικά, Ελλάδα, ꀀꀁꀂ, 🙂👍🏽.",
    "Prices rose 3.5% to $1,299.00; see https://example.org/a?b=c&d=e#f for the table.",
    "It's what they'd said: we'll see, won't we? I'm sure you've heard of it already.",
    "\tTabs\tand   spaces \r\n\r\n  and  empty lines\n\n\nend",
]
_WHO = ["우리 할머니는", "옆집 아이가", "동네 서점 주인은", "새로 온 선생님이", "등대지기는", "김 과장이"]
_WHEN = ["이른 아침마다", "장마가 그친 뒤에", "첫눈이 내리던 날", "저녁을 먹고 나서", "지난 2019년 가을에"]
_WHAT = ["마당의 감나무를", "낡은 자전거를", "손으로 쓴 편지를", "바닷가 사진을", "항아리 속 된장을"]
_DID = [
    "오래 바라보았다.",
    "조심스럽게 닦았습니다.",
    "친구에게 보여 주었다.",
    "서랍에 넣어 두었어요.",
    "그리워하고 있었다.",
]


def korean_documents() -> list[str]:
    """Some hundred short Korean documents, with lines and words that hold no Hangul between."""
    sentences = [" ".join(parts) for parts in product(_WHO, _WHEN, _WHAT, _DID)]
    mixed = [
        "GPU 2장으로 fine-tuning을 했다 (loss = 1.25).",
        "print('안녕하세요')  # ㅋㅋㅋ ㅠㅠ",
        "x = 3\n\ty = 'abc'",
    ]
    return ["\n".join([*sentences[i::150], mixed[i % 3], ENGLISH[i % 6]]) for i in range(150)]


def base_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer over English.

    "smollm": special tokens first in the vocabulary, single digits. "llama3": special tokens in added_tokens only,
    whole words looked up before merging. "qwen": NFC, and an added token that is not special behind the vocabulary.
    "llama": no byte-level BPE but SentencePiece BPE with byte fallback, see sentencepiece_tokenizer.
    """
    if kind == "llama":
        return sentencepiece_tokenizer(sentencepiece_model())
    tokenizer = Tokenizer(BPE())
    if kind == "smollm":
        cut = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    else:
        cut = [
            pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cut)
    tokenizer.decoder = ByteLevelDecoder()
    if kind == "qwen":
        tokenizer.normalizer = normalizers.NFC()
    first = SPECIALS if kind == "smollm" else []
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=400, special_tokens=first, initial_alphabet=alphabet, show_progress=False)
    # A little Korean, so that the base has a few Korean tokens already.
    tokenizer.train_from_iterator([*ENGLISH * 3, "다. 다. 나다. 니다." * 9], trainer)
    if kind == "llama3":
        tokenizer.model.ignore_merges = True
    tokenizer.add_special_tokens(SPECIALS)
    if kind == "qwen":
        tokenizer.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIALS[0], eos_token=SPECIALS[1], chat_template=CHAT_TEMPLATE
    )


@cache
def sentencepiece_model() -> bytes:
    """A tokenizer.model in Llama-2's manner over English and a little Korean, trained by the sentencepiece package."""
    out = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([*ENGLISH * 3, *["다. 나다. 니다. 우리 이 그"] * 9]),
        model_writer=out,
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    return out.getvalue()


def sentencepiece_tokenizer(model: bytes) -> PreTrainedTokenizerFast:
    """The same tokenizer as tokenizer.json: all pairs that spell a piece, best piece first."""
    pieces: Any = sentencepiece_model_pb2.ModelProto()
    pieces.ParseFromString(model)
    vocab = {piece.piece: id for id, piece in enumerate(pieces.pieces)}
    normal = [piece.piece for piece in pieces.pieces if piece.type == piece.NORMAL]
    merges = [(piece[:i], piece[i:]) for piece in normal for i in range(1, len(piece))]
    merges = [pair for pair in merges if vocab.keys() >= set(pair)]
    tokenizer = Tokenizer(BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_special_tokens(SPECIALS)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token=SPECIALS[0],
        eos_token=SPECIALS[1],
        chat_template=CHAT_TEMPLATE,
    )


def save_base_tokenizer(kind: str, folder: Path) -> PreTrainedTokenizerFast:
    """Write the base tokenizer of a kind with all the files it has."""
    tokenizer = base_tokenizer(kind)
    tokenizer.save_pretrained(folder)
    if kind == "llama":
        (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    return tokenizer


def base_model(vocab_size: int, *, tied: bool = True) -> LlamaForCausalLM:
    """Two layers of width 16 with random weights."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config).eval()


def write_base(folder: Path, kind: str = "smollm", *, tied: bool = True) -> Path:
    """A base artifact: folder/model with model and tokenizer; returns folder."""
    tokenizer = save_base_tokenizer(kind, folder / "model")
    base_model(len(tokenizer), tied=tied).save_pretrained(folder / "model")
    return folder


def write_corpus(folder: Path, korean: list[str] | None = None) -> Path:
    """A corpus artifact: Korean and English documents, every tenth held out; returns folder."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [("tiny-ko", "ko", text) for text in (korean_documents() if korean is None else korean)]
    texts += [("tiny-en", "en", text) for text in ENGLISH for _ in range(2)]
    rows = [
        {"id": f"{source}-{i}", "source": source, "language": language, "title": "", "text": text}
        for i, (source, language, text) in enumerate(texts)
    ]
    for name, chosen in (("train", [r for i, r in enumerate(rows) if i % 10]), ("holdout", rows[::10])):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
    (folder / "shares.json").write_text('{"tiny-ko": 0.75, "tiny-en": 0.25}', encoding="utf-8")
    return folder
