"""The loss of real models through the chunked path against the loss that transformers computes itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, PrefixTuningConfig, PromptTuningConfig, TrainableTokensConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from korean_llm.errors import KoreanLLMError
from korean_llm.modeling import head as head_module
from korean_llm.modeling.head import causal_loss, causal_model, chunked, why_not
from tests.conftest import make_model

VOCABULARY, NEW = 300, 20
FIRST = VOCABULARY - NEW
WRAPPERS: list[PeftConfig | None] = [
    None,
    LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
]
# Kinds of models, their extra settings, and why the own loss is kept.
KINDS: list[tuple[str, dict[str, Any], str | None]] = [
    ("llama", {}, None),
    ("mistral", {}, None),
    ("qwen2", {}, None),
    ("qwen3", {}, None),
    ("olmo2", {}, None),
    ("exaone4", {}, None),
    ("gemma3_text", {}, None),
    ("mixtral", {"num_local_experts": 2, "output_router_logits": True}, None),
    ("gpt2", {}, None),
    ("granite", {"logits_scaling": 4.0}, None),
    ("cohere", {"logit_scale": 0.25}, None),
    ("gemma2", {}, "its config sets final_logit_softcapping"),
    ("phi", {}, "its head has a bias"),
]


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCABULARY, (2, 20), generator=generator)
    labels = ids.clone()
    labels[0, :7] = -100
    return {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}


def own_loss(model: nn.Module, inputs: dict[str, torch.Tensor], num_items: Any) -> torch.Tensor:
    extra = {} if num_items is None else {"num_items_in_batch": num_items}
    loss: torch.Tensor = model(**inputs, **extra).loss
    return loss


def compare(model: nn.Module, num_items: Any = None) -> None:
    """Same loss within 1e-5, same gradients within 1e-4."""
    inputs = batch()
    learning = [p for p in model.parameters() if p.requires_grad]
    mine, theirs = causal_loss(model, inputs, num_items), own_loss(model, inputs, num_items)
    assert mine.shape == () and abs(mine - theirs).item() < 1e-5
    options = {"allow_unused": True, "materialize_grads": True}
    found = torch.autograd.grad(mine, learning, **options)  # type: ignore[arg-type]
    expected = torch.autograd.grad(theirs, learning, **options)  # type: ignore[arg-type]
    seen = 0.0
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6, rtol=1e-4)
        seen = max(seen, other.abs().max().item())
    assert seen > 0


@pytest.mark.parametrize(
    ("tied", "wrapper", "num_items"), list(itertools.product([True, False], WRAPPERS, [None, 29, torch.tensor(29)]))
)
def test_equal_to_transformers(tied: bool, wrapper: PeftConfig | None, num_items: Any) -> None:
    model: Any = make_model(VOCABULARY, tied=tied)
    compare(get_peft_model(model, wrapper) if wrapper else model, num_items)


@pytest.mark.parametrize(("kind", "settings", "reason"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_kinds_of_models(kind: str, settings: dict[str, Any], reason: str | None) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    more = {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": VOCABULARY, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, **sizes, **more, **settings)
    model = AutoModelForCausalLM.from_config(config).train(False)
    assert why_not(model) == reason
    compare(model)
    compare(model, 29)


def test_no_logits_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output carries (B, T, D) where logits would stand; afterwards the model gives logits again."""
    model, inputs = make_model(VOCABULARY), batch()
    before = model(input_ids=inputs["input_ids"]).logits
    with chunked(model):
        output = model(**inputs)
    assert output.logits.shape == (2, 20, 32)
    assert torch.equal(model(input_ids=inputs["input_ids"]).logits, before)
    assert torch.equal(output.loss, causal_loss(model, inputs))
    calls: list[int] = []
    monkeypatch.setattr(head_module, "linear_cross_entropy", lambda hidden, *_, **__: calls.append(1) or hidden.sum())
    causal_loss(model, inputs)
    assert calls == [1]


def test_the_model_is_whole_again_after_an_error() -> None:
    model = make_model(VOCABULARY)
    with pytest.raises(IndexError):
        causal_loss(model, {"input_ids": torch.tensor([[VOCABULARY]]), "labels": torch.tensor([[1]])})
    assert "forward" not in vars(model.lm_head) and "_loss_function" not in vars(model)
    compare(model)


class FrozenTableAndRows(nn.Module):
    """A head as vocabulary extension trains it."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.new_rows, self.first_id = nn.Parameter(weight[FIRST:].detach().clone()), FIRST

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden @ torch.cat([self.weight[:FIRST], self.new_rows]).T


@pytest.mark.parametrize("lora", [True, False])
def test_a_head_with_rows_beside_its_table(lora: bool) -> None:
    base = make_model(VOCABULARY, tied=False)
    base.requires_grad_(False)
    base.set_output_embeddings(FrozenTableAndRows(base.lm_head.weight))
    model: Any = get_peft_model(base, WRAPPERS[1]) if lora else base  # type: ignore[arg-type]
    causal_model(model).get_output_embeddings().new_rows.requires_grad_()
    assert why_not(causal_model(model)) is None
    compare(model)
    causal_loss(model, batch()).backward()
    assert causal_model(model).get_output_embeddings().new_rows.grad.shape == (NEW, 32)


def test_a_head_that_peft_wraps_keeps_its_own_loss() -> None:
    config = TrainableTokensConfig(token_indices=[5, 6], target_modules=["lm_head"], task_type="CAUSAL_LM")
    model = get_peft_model(make_model(VOCABULARY, tied=False), config)
    assert why_not(causal_model(model)) == "its head is a TrainableTokensLayer"
    compare(model)


def test_with_activation_checkpointing_and_autocast() -> None:
    model, inputs = make_model(VOCABULARY).train(), batch()
    model.gradient_checkpointing_enable()
    compare(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mine, theirs = causal_loss(model, inputs), own_loss(model, inputs, None)
    assert mine.dtype == torch.float32
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_in_inference_mode() -> None:
    model, inputs = make_model(VOCABULARY), batch()
    with torch.inference_mode():
        assert torch.allclose(causal_loss(model, inputs), own_loss(model, inputs, None), atol=1e-5)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_model_that_changes_its_logits_unsaid_is_refused(in_place: bool) -> None:
    model = make_model(VOCABULARY)
    original = type(model).forward

    def forward(*args: Any, labels: torch.Tensor, **inputs: Any) -> Any:
        output = original(model, *args, **inputs)
        logits = output.logits.mul_(2) if in_place else output.logits**2
        output.loss = model.loss_function(logits=logits, labels=labels, vocab_size=VOCABULARY)
        return output

    model.forward = forward  # type: ignore[method-assign]
    with pytest.raises(KoreanLLMError, match="LlamaForCausalLM changes its logits before the loss"):
        causal_loss(model, batch())


def test_an_upcast_of_the_logits_changes_nothing() -> None:
    model = make_model(VOCABULARY).to(torch.bfloat16)
    original = type(model).forward

    def forward(*args: Any, labels: torch.Tensor, **inputs: Any) -> Any:
        output = original(model, *args, **inputs)
        output.loss = model.loss_function(logits=output.logits.float(), labels=labels, vocab_size=VOCABULARY)
        return output

    plain = causal_loss(model, batch())
    model.forward = forward  # type: ignore[method-assign]
    assert torch.allclose(causal_loss(model, batch()), plain, rtol=1e-2)
    assert isinstance(causal_model(model), PreTrainedModel)
