"""Tiny Llama models, adapters and artifacts for the export room, built in the test process."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from sentencepiece import SentencePieceTrainer
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaTokenizer, PreTrainedTokenizerBase

from korean_llm.chat import open_chat
from korean_llm.modeling.load import load_tokenizer
from tests.vocabulary.tiny import ENGLISH, base_tokenizer, korean_documents

PADDED_ROWS = 3  # rows of the table beyond the tokenizer's ids
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ '<|reserved|>' }}"
    "{% generation %}{{ m['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ '<|user|>' + m['content'] + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|reserved|>' }}{% endif %}"
)


def tokenizer_of(kind: str, folder: Path) -> PreTrainedTokenizerBase:
    """A byte-level tokenizer ("smollm", "llama3", "qwen"), or SentencePiece BPE as in Llama-2 ("llama2")."""
    if kind == "llama2":
        return _sentencepiece(folder)
    tokenizer = base_tokenizer(kind)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _sentencepiece(folder: Path) -> PreTrainedTokenizerBase:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [line for text in korean_documents()[:60] + ENGLISH * 3 for line in text.splitlines() if line.strip()]
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=600,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return LlamaTokenizer.from_pretrained(folder)


def write_model(
    folder: Path, kind: str = "smollm", *, hidden: int = 64, tied: bool = True, dtype: torch.dtype = torch.float32
) -> Path:
    """A checkpoint folder: four layers, grouped K and V heads, large random weights; returns folder."""
    tokenizer = tokenizer_of(kind, folder.with_name(f"{folder.name}-sentencepiece"))
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + PADDED_ROWS,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        initializer_range=0.2,
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_adapter(model: Path, folder: Path, *, size: float = 0.2) -> Path:
    """A LoRA adapter with random weights on a checkpoint, as the instruction stage leaves it; returns folder."""
    torch.manual_seed(5)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), lora)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=size)
    adapted.save_pretrained(str(folder))
    tokenizer = load_tokenizer(model)
    chat = open_chat(tokenizer)
    tokenizer.save_pretrained(folder)
    (folder / "template.json").write_text(json.dumps(chat.describe()), encoding="utf-8")
    return folder


def train_a_little(folder: Path, steps: int = 60) -> None:
    """Teach a checkpoint some Korean, so that damage to its weights shows in bits per byte."""
    tokenizer = load_tokenizer(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(0.2)
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"][:128] for text in korean_documents()]
    ids_NT = torch.tensor([ids for ids in encoded if len(ids) == 128])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(steps):
        batch = ids_NT[torch.arange(step * 8, step * 8 + 8) % len(ids_NT)]
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)


def logits_of(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, text: str) -> torch.Tensor:
    """Logits (T, V) of a text's first 48 tokens."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"][:48]
    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor([ids])).logits[0]
