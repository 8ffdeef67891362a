"""The loss of any transformers causal LM through linear_cross_entropy(), without its logits.

The model's own forward pass runs, wrappers included (PEFT, DDP, FSDP2 with the head in the root unit): during it the
head hands the hidden states through, and the loss function takes them and the head's table. A factor that the model
puts on its logits (Granite, Cohere, HyperCLOVA X) thereby falls on the hidden states, which comes to the same. Models
with a bias or an adapter on the head, or a cap on their logits (Gemma 2), keep their own loss; a model that changes its
logits in a way its config does not tell is refused.

Axes: B batch, T tokens, D hidden, V vocabulary, N new rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast, runtime_checkable

import torch
from accelerate.utils import extract_model_from_parallel
from torch import nn
from transformers import PreTrainedModel
from transformers.loss.loss_utils import ForCausalLMLoss

from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.loss import IGNORED, linear_cross_entropy

# Where configs of transformers keep a cap for the logits, and where a factor on them.
_CAPS = ("final_logit_softcapping", "softcap")
_FACTORS = ("logits_scaling", "logit_scale", "output_multiplier", "lm_head_multiplier")


@runtime_checkable
class RowsHead(Protocol):
    """A head whose new tokens' rows are a parameter beside its table."""

    weight: torch.Tensor  # (V, D), or (first_id, D) where nothing follows the new rows
    new_rows: torch.Tensor  # (N, D): stand in for first_id … first_id + N of the table
    first_id: int


def causal_loss(
    model: nn.Module, inputs: Mapping[str, Any], num_items: torch.Tensor | float | None = None
) -> torch.Tensor:
    """The loss that model(**inputs).loss gives, computed in chunks where why_not() gives no reason.

    inputs: with labels (B, T), shifted inside as transformers does. num_items: labels of the whole optimizer step, to
    divide the sum by; None takes the mean over this batch.
    """
    causal = causal_model(model)
    if why_not(causal):
        extra = {} if num_items is None else {"num_items_in_batch": num_items}
        return cast(torch.Tensor, model(**inputs, **extra)["loss"])
    with chunked(causal, num_items):
        return cast(torch.Tensor, model(**inputs)["loss"])


def causal_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside DDP, compile and PEFT wrappers."""
    inner = extract_model_from_parallel(model)
    return cast(PreTrainedModel, inner.get_base_model() if hasattr(inner, "get_base_model") else inner)


def why_not(causal: PreTrainedModel) -> str | None:
    """Why the loss of this model cannot be taken in chunks, in a few words; None where it can."""
    head = causal.get_output_embeddings()
    if not (isinstance(head, RowsHead) or type(head) is nn.Linear):
        return f"its head is a {type(head).__name__}"
    if getattr(head, "bias", None) is not None:
        return "its head has a bias"
    for name in _CAPS:
        if _setting(causal, name):
            return f"its config sets {name}"
    if causal.loss_function is not ForCausalLMLoss:
        return "its loss is not the usual one of causal models"
    return None


def _setting(causal: PreTrainedModel, name: str) -> Any:
    return getattr(causal.config.get_text_config(), name, None)


@contextmanager
def chunked(causal: PreTrainedModel, num_items: torch.Tensor | float | None = None) -> Iterator[None]:
    """While open, a forward pass with labels computes no logits; its output carries hidden states in their place.

    Raises KoreanLLMError, inside the pass, where the model changes what its head gives before taking the loss.
    """
    head, given = causal.get_output_embeddings(), _Given()
    factor = any(_setting(causal, name) not in (None, 1) for name in _FACTORS)

    def loss(logits: torch.Tensor, labels: torch.Tensor, *_: Any, **options: Any) -> torch.Tensor:
        if not factor and not given.is_still(logits):
            raise KoreanLLMError(
                f"{type(causal).__name__} changes its logits before the loss in a way its config does not tell, which"
                f" chunked loss cannot follow; train a model of another kind, such as Llama, Mistral, Qwen or OLMo."
            )
        return _mean_loss(head, logits, labels, num_items, options.get("shift_labels"))

    with _set(head, "forward", given.hand_through), _set(causal, "_loss_function", loss):
        yield


class _Given:
    """The hidden states that the head was given."""

    def __init__(self) -> None:
        self.hidden_BTD, self.version = torch.empty(0), 0

    def hand_through(self, hidden_BTD: torch.Tensor) -> torch.Tensor:
        """In the place of the head's forward pass."""
        self.hidden_BTD, self.version = hidden_BTD, _version(hidden_BTD)
        return hidden_BTD

    def is_still(self, logits: torch.Tensor) -> bool:
        """Whether a tensor is what was handed through, in whatever number format."""
        if _version(self.hidden_BTD) != self.version or logits.shape != self.hidden_BTD.shape:
            return False
        return logits is self.hidden_BTD or torch.equal(logits, self.hidden_BTD.to(logits.dtype))


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was written to; tensors of inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version


@contextmanager
def _set(module: nn.Module, name: str, value: Any) -> Iterator[None]:
    """An attribute of the object, put back afterwards."""
    before = vars(module).get(name)
    vars(module)[name] = value
    try:
        yield
    finally:
        if before is None:
            del vars(module)[name]
        else:
            vars(module)[name] = before


def _mean_loss(
    head: nn.Module,
    hidden_BTD: torch.Tensor,
    labels_BT: torch.Tensor,
    num_items: torch.Tensor | float | None,
    shifted_BT: torch.Tensor | None,
) -> torch.Tensor:
    """Every position predicts the next label; the last one predicts nothing."""
    if shifted_BT is None:
        shifted_BT = nn.functional.pad(labels_BT, (0, 1), value=IGNORED)[..., 1:]
    labels_T = shifted_BT.flatten().to(hidden_BTD.device)
    hidden_TD = hidden_BTD.flatten(0, -2)
    if isinstance(head, RowsHead):
        loss = linear_cross_entropy(hidden_TD, head.weight, labels_T, rows_ND=head.new_rows, first_id=head.first_id)
    else:
        loss = linear_cross_entropy(hidden_TD, cast(torch.Tensor, head.weight), labels_T)
    if num_items is None:
        num_items = (labels_T != IGNORED).sum()
    return loss / (num_items.to(loss.device) if isinstance(num_items, torch.Tensor) else num_items)
