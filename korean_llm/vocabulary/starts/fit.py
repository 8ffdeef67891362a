"""Head rows fitted to what the model thinks just before a new token: regularized softmax regression, body untouched.

The model reads a little text of the run's corpus once, in the new tokens. Its last hidden states h before each token
stay as they are, and so do all old rows: only their sum Z_old(h) = Σ_old exp(e·h) enters. The new head rows are then
those of a multinomial logistic regression (convex, one optimum):

    min over Δ   Σ_n [ log(Z_old(h_n) + Σ_new exp((r_t + Δ_t)·h_n)) − logit of the token that came ] + ½ λ Σ_t |Δ_t|²

Its prior is the start r (mean of constituents), and λ = E|h|² makes one sight of a token move a logit by about one nat
at most: rare tokens stay near their start, frequent ones learn their frequency and their company. Solved by iteratively
reweighted least squares in which all new tokens share the second moment C = E[h hᵀ] and differ in their curvature
w_t = max(expected, seen) only, so a step is a division in the eigenbasis of C:

    Δ_t ← Δ_t − (w_t C + λ)⁻¹ (Σ_n (p_nt − y_nt) h_n + λ Δ_t)

(Jorgensen's and McCullagh and Nelder's IRLS with a shared moment; Böhning 1992 bounds the curvature likewise.) A step
that does not lower the objective is halved. No gradient passes through the body, there is no learning rate, and the
result does not depend on any random draw.

P positions, of which C at a time, N new tokens, D hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from korean_llm import console
from korean_llm.errors import KoreanLLMError

STEPS = 10
_CHUNK = 2_048


@dataclass(frozen=True)
class Seen:
    """What the model's head saw while it read.

    Attributes:
        states: last hidden state before each token, (P, D).
        following: the token that came, (P,), as its number among the new ones; −1 where it is an old one.
        old: log Σ exp over the old tokens' logits, (P,).
    """

    states: torch.Tensor
    following: torch.Tensor
    old: torch.Tensor


@torch.no_grad()
def read(model: PreTrainedModel, windows: Sequence[Sequence[int]], first_id: int) -> Seen:
    """Read windows of ids with the model as it is.

    Raises KoreanLLMError where the model's logits are not hidden state times head row (soft-capped or scaled logits).
    """
    head_VD = model.get_output_embeddings().weight
    assert isinstance(head_VD, torch.Tensor)
    states, following, old = [], [], []
    training = model.training
    model.eval()
    for number, window in enumerate(console.progress(windows, "reading text to fit rows to")):
        ids_T = torch.tensor(window, device=head_VD.device)
        states_TD = model.base_model(input_ids=ids_T[None], use_cache=False).last_hidden_state[0]
        if number == 0:
            _check_linear(model, ids_T, states_TD, head_VD)
        states.append(states_TD[:-1].float())
        following.append((ids_T[1:] - first_id).clamp(min=-1))
        old.append(torch.logsumexp((states_TD[:-1] @ head_VD[:first_id].T).float(), dim=-1))
    model.train(training)
    return Seen(torch.cat(states), torch.cat(following), torch.cat(old))


def _check_linear(model: PreTrainedModel, ids_T: torch.Tensor, states_TD: torch.Tensor, head_VD: torch.Tensor) -> None:
    logits_V = model(input_ids=ids_T[None], use_cache=False).logits[0, -1].float()
    own_V = (states_TD[-1] @ head_VD.T).float()
    if not torch.allclose(logits_V, own_V, rtol=1e-2, atol=1e-1):
        raise KoreanLLMError(
            f"vocabulary.initialise: fitted needs a model whose logits are hidden state times head row, which"
            f" {type(model).__name__} changes (a cap, a scale or a bias); choose mean, or auto."
        )


@torch.no_grad()
def corrections(seen: Seen, rows_ND: torch.Tensor, steps: int = STEPS) -> torch.Tensor:
    """Δ (N, D) in float32: what to add to the new tokens' head rows.

    Args:
        seen: what the head saw.
        rows_ND: the rows the new tokens have now, which are the prior.
        steps: steps of least squares.
    """
    moment_DD = seen.states.T @ seen.states / len(seen.states)
    values_D, basis_DD = torch.linalg.eigh(moment_DD)
    values_D = values_D.clamp(min=0)
    penalty = float(values_D.sum())
    turned = Seen(seen.states @ basis_DD, seen.following, seen.old)
    prior_ND = rows_ND.float() @ basis_DD
    found_ND, share = torch.zeros_like(prior_ND), 1.0
    step_ND = torch.zeros_like(prior_ND)
    best = float("inf")
    for _ in console.progress(range(steps), "fitting rows"):
        trial_ND = found_ND - share * step_ND
        loss, gradient_ND, weight_N = objective(turned, prior_ND, trial_ND, penalty)
        if loss > best:
            share /= 2
            continue
        best, found_ND = loss, trial_ND
        step_ND = gradient_ND / (weight_N[:, None] * values_D + penalty)
        share = min(1.0, 2 * share)
    return found_ND @ basis_DD.T


def objective(
    seen: Seen, prior_ND: torch.Tensor, change_ND: torch.Tensor, penalty: float
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """The regularized negative log-likelihood in nats, its gradient (N, D), and the curvature w (N,)."""
    gradient_ND = penalty * change_ND
    seen_N = torch.bincount(seen.following[seen.following >= 0], minlength=len(prior_ND)).to(prior_ND)
    expected_N = torch.zeros_like(seen_N)
    loss = 0.5 * penalty * float(change_ND.pow(2).sum())
    rows_ND = prior_ND + change_ND
    for start in range(0, len(seen.following), _CHUNK):
        states_CD, next_C = seen.states[start : start + _CHUNK], seen.following[start : start + _CHUNK]
        logits_CN = states_CD @ rows_ND.T
        total_C = torch.logaddexp(torch.logsumexp(logits_CN, dim=-1), seen.old[start : start + _CHUNK])
        new_C = (next_C >= 0).nonzero()[:, 0]
        loss += float(total_C.sum() - logits_CN[new_C, next_C[new_C]].sum())
        errors_CN = (logits_CN - total_C[:, None]).exp()
        expected_N += errors_CN.sum(0)
        errors_CN[new_C, next_C[new_C]] -= 1
        gradient_ND += errors_CN.T @ states_CD
    return loss, gradient_ND, torch.maximum(expected_N, seen_N)
