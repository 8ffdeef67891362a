"""Rows that know nothing of their token: the mean of the old rows, and draws from their distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.starts.context import StartContext

_EPSILON = 1e-9


def global_mean(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """The mean μ of all old rows, which bounds how much the softmax changes (Hewitt 2021)."""
    return table_VD.float().mean(0).expand(len(merges), -1).clone()


def normal(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """Draws from N(μ, 1e-9 Σ), mean and covariance of the old rows: what transformers does by default.

    Hewitt 2021, "Initializing new word embeddings for pretrained language models"; transformers'
    `resize_token_embeddings(mean_resizing=True)` scales the covariance by 1e-9. With Σ = QΛQᵀ, a draw is
    μ + √(1e-9 Λ) Qᵀ-rotated noise; nothing is factorized that may not be positive definite.
    """
    rows_VD = table_VD.float()
    mean_D = rows_VD.mean(0)
    centred_VD = rows_VD - mean_D
    values_D, vectors_DD = torch.linalg.eigh(centred_VD.T @ centred_VD / len(rows_VD))
    generator = torch.Generator().manual_seed(context.seed)
    noise_ND = torch.randn(len(merges), len(mean_D), generator=generator).to(rows_VD)
    return mean_D + (noise_ND * (_EPSILON * values_D.clamp(min=0)).sqrt()) @ vectors_DD.T
