"""Rows made of the rows of a token's constituents: the base's tokens for the same bytes.

V old vocabulary, N new tokens, D hidden size, K constituents of one token. All lie in the convex hull of the old rows,
which matters more than where in it (Mundra et al. 2024, arXiv 2407.05841); only mean_noise leaves it a little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.starts.context import StartContext

_SMOOTHING = 1e-3
_NOISE = 0.1


def mean(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """The mean of the constituents' rows: Σ e_k / K (WECHSEL's subword mean; RedWhale, arXiv 2408.11294)."""
    return _weighted(table_VD, merges, lambda ids: [1.0] * len(ids))


def first(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """The first constituent's row: as a head row it keeps what the base predicts at the token's beginning.

    EEVE (Kim et al. 2024, arXiv 2402.14714) starts its head rows so.
    """
    return table_VD[[merge.base_ids[0] for merge in merges]].float()


def last(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """The last constituent's row: as an input row it is what the base saw just before it went on."""
    return table_VD[[merge.base_ids[-1] for merge in merges]].float()


def length_weighted(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """The mean weighted by bytes: Σ |b_k| e_k / Σ |b_k|, so that a whole letter outweighs a stray byte of one.

    The weighting by length of Nakash et al. 2025, AdaptiVocab (arXiv 2503.19693), taken over bytes.
    """
    return _weighted(table_VD, merges, lambda ids: [float(len(context.raw.get(id, b"?"))) for id in ids])


def frequency_weighted(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """The mean weighted by rarity: Σ w_k e_k / Σ w_k with w = a / (a + p), p the token's share of the corpus.

    Smooth inverse frequency (Arora, Liang and Ma 2017, "A simple but tough-to-beat baseline"), a = 0.001: a byte that
    begins every other syllable says little.
    """
    total = max(sum(context.old_counts.values()), 1)
    return _weighted(
        table_VD,
        merges,
        lambda ids: [_SMOOTHING / (_SMOOTHING + context.old_counts.get(id, 0) / total) for id in ids],
    )


def late_weighted(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """The mean with weights 1, 2, … K from first to last constituent: Σ k e_k / Σ k.

    Position weights as in AdaptiVocab (arXiv 2503.19693): a causal model reads the late ones last.
    """
    return _weighted(table_VD, merges, lambda ids: [float(k + 1) for k in range(len(ids))])


def mean_noise(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """The mean and normal noise of a tenth of the table's standard deviation per column.

    The noise keeps tokens of the same constituents apart (after Hewitt 2021, "Initializing new word embeddings").
    """
    rows_ND = mean(table_VD, merges, context)
    generator = torch.Generator().manual_seed(context.seed)
    noise_ND = torch.randn(rows_ND.shape, generator=generator).to(rows_ND)
    return rows_ND + _NOISE * table_VD.float().std(0) * noise_ND


def _weighted(
    table_VD: torch.Tensor, merges: Sequence[Merge], weights: Callable[[list[int]], list[float]]
) -> torch.Tensor:
    rows = []
    for merge in merges:
        weights_K = torch.tensor(weights(merge.base_ids), device=table_VD.device)
        rows.append((weights_K / weights_K.sum()) @ table_VD[merge.base_ids].float())
    return torch.stack(rows)
