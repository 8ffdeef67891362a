"""Rows made of the rows of similar old tokens, by subword vectors learned from the corpus (see subwords.py).

V old vocabulary, A old tokens that may be neighbours (anchors), N new tokens, D hidden size, R vector dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.starts.constituents import mean
from korean_llm.vocabulary.starts.context import StartContext
from korean_llm.vocabulary.starts.subwords import subword_vectors

_NEIGHBORS = 64
_ATOMS = 8
_CHUNK = 1_024


def nearest(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """FOCUS (Dobler and de Melo 2023, arXiv 2305.14481): Σ sparsemax(similarity)_a e_a over old tokens of the corpus.

    Sparsemax (Martins and Astudillo 2016, arXiv 1602.02068) gives all but the most similar tokens weight 0. A token
    that is similar to none starts with the mean of its constituents.
    """
    anchors, anchors_AR, new_NR = _vectors(merges, context)
    if not anchors:
        return mean(table_VD, merges, context)
    anchor_rows_AD = table_VD[anchors].float()
    rows_ND = mean(table_VD, merges, context)
    for start in range(0, len(merges), _CHUNK):
        similar_CA = new_NR[start : start + _CHUNK] @ anchors_AR.T
        top_CK, where_CK = similar_CA.topk(min(_NEIGHBORS, len(anchors)), dim=1)
        weights_CK = sparsemax(top_CK).to(table_VD.device)
        found_CD = torch.einsum("ck,ckd->cd", weights_CK, anchor_rows_AD[where_CK.to(table_VD.device)])
        known_C = (top_CK[:, 0] > 0).to(table_VD.device)
        rows_ND[start : start + _CHUNK][known_C] = found_CD[known_C]
    return rows_ND


def pursuit(table_VD: torch.Tensor, merges: Sequence[Merge], context: StartContext) -> torch.Tensor:
    """Orthogonal matching pursuit: a new token's vector as a sum of few old ones, taken over to rows.

    Goddard and Fernandes Neto 2025 (arXiv 2506.06607) write a donor model's row as a sparse combination of rows of
    tokens that both models have, and take the coefficients over. There is no donor here: the subword vectors stand in
    for it, so only the decomposition is theirs. What it leaves unexplained starts as the mean of the constituents.
    """
    anchors, anchors_AR, new_NR = _vectors(merges, context)
    rows_ND = mean(table_VD, merges, context)
    if not anchors:
        return rows_ND
    anchor_rows_AD = table_VD[anchors].float()
    for start in range(0, len(merges), _CHUNK):
        target_CR = new_NR[start : start + _CHUNK]
        where_CK, weights_CK = matching_pursuit(target_CR, anchors_AR, min(_ATOMS, len(anchors)))
        left_C = 1 - weights_CK.sum(1).to(table_VD.device)
        found_CD = torch.einsum(
            "ck,ckd->cd", weights_CK.to(table_VD.device), anchor_rows_AD[where_CK.to(table_VD.device)]
        )
        rows_ND[start : start + _CHUNK] = found_CD + left_C[:, None] * rows_ND[start : start + _CHUNK]
    return rows_ND


def sparsemax(scores_CK: torch.Tensor) -> torch.Tensor:
    """The point of the simplex that is nearest to the scores, row by row (arXiv 1602.02068, Algorithm 1)."""
    sorted_CK = scores_CK.sort(dim=1, descending=True).values
    rank_K = torch.arange(1, scores_CK.shape[1] + 1, device=scores_CK.device)
    sums_CK = sorted_CK.cumsum(1)
    support_C1 = (1 + rank_K * sorted_CK > sums_CK).sum(1, keepdim=True)
    threshold_C1 = (sums_CK.gather(1, support_C1 - 1) - 1) / support_C1
    return (scores_CK - threshold_C1).clamp(min=0)


def matching_pursuit(target_CR: torch.Tensor, atoms_AR: torch.Tensor, num: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Greedy least squares (Pati et al. 1993): the chosen atoms (C, num) and their coefficients (C, num).

    In every round the atom that is most correlated with what is left is added, and all coefficients are fitted again.
    """
    chosen_CK = torch.empty(len(target_CR), 0, dtype=torch.long)
    weights_CK = torch.empty(len(target_CR), 0)
    left_CR = target_CR
    for _ in range(num):
        gain_CA = (left_CR @ atoms_AR.T).abs()
        gain_CA.scatter_(1, chosen_CK, -1.0)
        chosen_CK = torch.cat([chosen_CK, gain_CA.argmax(1, keepdim=True)], dim=1)
        picked_CKR = atoms_AR[chosen_CK]
        gram_CKK = picked_CKR @ picked_CKR.transpose(1, 2)
        gram_CKK += 1e-4 * torch.eye(gram_CKK.shape[1])
        weights_CK = torch.linalg.solve(gram_CKK, torch.einsum("ckr,cr->ck", picked_CKR, target_CR))
        left_CR = target_CR - torch.einsum("ck,ckr->cr", weights_CK, picked_CKR)
    return chosen_CK, weights_CK


def _vectors(merges: Sequence[Merge], context: StartContext) -> tuple[list[int], torch.Tensor, torch.Tensor]:
    """Ids of old tokens that the corpus uses, their subword vectors (A, R) and those of the new tokens (N, R)."""
    first_id = merges[0].id
    pieces = [context.raw.get(id, b"") for id in range(first_id)] + [merge.raw for merge in merges]
    vectors_SR = subword_vectors(pieces, context.documents, context.seed)
    used = {id for document in context.documents for id in document if id < first_id and id in context.raw}
    anchors = sorted(id for id in used if vectors_SR[id].any())
    return anchors, vectors_SR[anchors], vectors_SR[first_id:]
