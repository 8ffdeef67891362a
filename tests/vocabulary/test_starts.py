"""Every way to start a row against a slow one, and what each promises."""

from __future__ import annotations

import random
from typing import get_args

import numpy as np
import pytest
import torch

from korean_llm.errors import KoreanLLMError
from korean_llm.vocabulary.starts import METHODS, Start, StartContext
from korean_llm.vocabulary.starts.context import FIT_BYTES, build_context, spread
from korean_llm.vocabulary.starts.fit import Seen, corrections, objective, read
from korean_llm.vocabulary.starts.neighbours import matching_pursuit, sparsemax
from korean_llm.vocabulary.starts.subwords import subword_vectors
from tests.reference import starts as slow
from tests.vocabulary.conftest import Extension
from tests.vocabulary.test_rows import BASE_IDS, CONTEXT, MERGES, OLD
from tests.vocabulary.tiny import ENGLISH, base_model, korean_documents

TABLE = torch.randn(OLD, 16, generator=torch.Generator().manual_seed(7))


def test_every_name_of_the_recipe_has_a_way() -> None:
    assert set(get_args(Start)) - {"auto"} == set(METHODS)
    assert all(METHODS[name].__doc__ for name in METHODS)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("mean", lambda k, id, ids: 1.0),
        ("first", lambda k, id, ids: float(k == 0)),
        ("last", lambda k, id, ids: float(k == len(ids) - 1)),
        ("length_weighted", lambda k, id, ids: float(len(CONTEXT.raw[id]))),
        (
            "frequency_weighted",
            lambda k, id, ids: 1e-3 / (1e-3 + CONTEXT.old_counts[id] / sum(CONTEXT.old_counts.values())),
        ),
        ("late_weighted", lambda k, id, ids: k + 1.0),
    ],
)
def test_weighted_means(name: Start, weight: object) -> None:
    found = METHODS[name](TABLE, MERGES, CONTEXT)
    for row, ids in zip(found, BASE_IDS, strict=True):
        weights = [weight(k, id, ids) for k, id in enumerate(ids)]  # type: ignore[operator]
        expected = slow.weighted_mean([TABLE[id].tolist() for id in ids], weights)
        torch.testing.assert_close(row, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_noise_is_a_tenth_of_the_table_s_spread() -> None:
    merges = MERGES * 400
    noise = METHODS["mean_noise"](TABLE, merges, CONTEXT) - METHODS["mean"](TABLE, merges, CONTEXT)
    torch.testing.assert_close(noise.std(0), 0.1 * TABLE.std(0), rtol=0.12, atol=0)


def test_draws_have_the_old_rows_mean_and_a_billionth_of_their_covariance() -> None:
    drawn = METHODS["normal"](TABLE.double().float(), MERGES * 4_000, CONTEXT)
    torch.testing.assert_close(drawn.mean(0), TABLE.mean(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.cov(drawn.double().T) * 1e9, torch.cov(TABLE.double().T), rtol=0.2, atol=0.1)


def test_sparsemax_is_the_projection_to_the_simplex() -> None:
    scores = torch.randn(20, 9, generator=torch.Generator().manual_seed(1))
    for row, weights in zip(scores, sparsemax(scores), strict=True):
        torch.testing.assert_close(weights, torch.tensor(slow.project_to_simplex(row.tolist())), rtol=0, atol=1e-5)


def test_pursuit_picks_the_atoms_and_coefficients_of_greedy_least_squares() -> None:
    draw = torch.Generator().manual_seed(2)
    atoms = torch.nn.functional.normalize(torch.randn(30, 12, generator=draw), dim=1)
    targets = torch.randn(6, 12, generator=draw)
    chosen, weights = matching_pursuit(targets, atoms, 4)
    for target, picked, found in zip(targets, chosen, weights, strict=True):
        expected = slow.matching_pursuit(target.numpy(), atoms.numpy(), 4)
        assert picked.tolist() == list(expected)
        np.testing.assert_allclose(found.numpy(), list(expected.values()), atol=2e-3)


def test_tokens_of_one_stem_and_one_company_lie_together() -> None:
    pieces = [p.encode() for p in ["학교에서", "학교에는", "바다", "를", "갔다", "보았다", " "]]
    vectors = subword_vectors(pieces, [[0, 4, 6, 1, 4, 6, 2, 3, 5]] * 4, seed=1)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(7))
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]


def test_nearest_takes_the_row_of_an_old_token_that_is_the_same_but_for_its_id() -> None:
    raw = {id: random.Random(id).randbytes(6) for id in range(OLD)} | {5: MERGES[0].raw}
    documents = [[9, 5, 11, 12, 9, 40, 11, 12, 20, 21, 22, 23]] * 5
    row = METHODS["nearest"](TABLE, MERGES[:1], StartContext(raw=raw, documents=documents, seed=3))[0]
    distances = (TABLE - row).norm(dim=1)
    assert distances.argmin() == 5


@pytest.mark.parametrize("name", ["nearest", "pursuit"])
def test_without_a_corpus_similar_tokens_fall_back_to_the_mean(name: Start) -> None:
    found = METHODS[name](TABLE, MERGES, StartContext())
    assert torch.equal(found, METHODS["mean"](TABLE, MERGES, StartContext()))


def seen_by_head(num: int, draw: torch.Generator) -> Seen:
    states = torch.randn(num, 16, generator=draw) + 1
    following = torch.randint(-1, 3, (num,), generator=draw)
    return Seen(states, following, torch.logsumexp(states @ TABLE.T, dim=-1))


def test_objective_is_the_slow_one_and_its_gradient_autograd_s() -> None:
    draw = torch.Generator().manual_seed(4)
    seen, prior = seen_by_head(50, draw), torch.randn(3, 16, generator=draw)
    change = torch.randn(3, 16, generator=draw).requires_grad_()
    logits = torch.cat([seen.old[:, None], seen.states @ (prior + change).T], dim=1)
    chosen = torch.where(seen.following >= 0, logits.gather(1, seen.following[:, None] + 1)[:, 0], torch.zeros(()))
    (torch.logsumexp(logits, 1) - chosen).sum().add(0.35 * change.pow(2).sum()).backward()
    loss, gradient, curvature = objective(seen, prior, change.detach(), penalty=0.7)
    arrays = (seen.states.numpy(), seen.following.tolist(), seen.old.numpy(), prior.numpy(), change.detach().numpy())
    assert loss == pytest.approx(slow.fit_loss(*arrays, penalty=0.7), rel=1e-5)
    torch.testing.assert_close(gradient, change.grad, rtol=1e-4, atol=1e-4)
    counted = torch.bincount(seen.following[seen.following >= 0], minlength=3)
    assert (curvature >= counted).all()


def test_fitting_reaches_the_optimum_and_never_makes_it_worse() -> None:
    draw = torch.Generator().manual_seed(6)
    seen, prior = seen_by_head(200, draw), torch.randn(3, 16, generator=draw)
    penalty = float(seen.states.pow(2).sum(1).mean())
    losses = [objective(seen, prior, corrections(seen, prior, steps), penalty)[0] for steps in (1, 2, 4, 8, 60)]
    assert losses == sorted(losses, reverse=True)
    _, gradient, _ = objective(seen, prior, corrections(seen, prior, 200), penalty)
    _, at_start, _ = objective(seen, prior, torch.zeros_like(prior), penalty)
    assert gradient.norm() < 5e-3 * at_start.norm()


def test_a_token_that_never_comes_becomes_less_likely_and_one_that_comes_more() -> None:
    draw = torch.Generator().manual_seed(8)
    states = torch.randn(100, 16, generator=draw) + 1
    seen = Seen(states, torch.zeros(100, dtype=torch.long), torch.logsumexp(states @ TABLE.T, dim=-1))
    prior = torch.zeros(2, 16)
    change = corrections(seen, prior)
    assert (states @ change[0]).mean() > 0 > (states @ change[1]).mean()


def test_reads_states_and_the_old_tokens_mass() -> None:
    model = base_model(OLD + 3, tied=False)
    windows = [[0, 40, 5, 41], [0, 7, 42]]
    seen = read(model, windows, OLD)
    assert seen.following.tolist() == [0, -1, 1, -1, 2]
    logits = torch.cat([model(torch.tensor([ids])).logits[0, :-1] for ids in windows])
    torch.testing.assert_close(seen.states @ model.lm_head.weight.T, logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.old, torch.logsumexp(logits[:, :OLD], dim=-1), rtol=0, atol=1e-5)


def test_a_head_that_is_not_linear_is_refused() -> None:
    model = base_model(OLD + 3)
    model.register_forward_hook(lambda module, args, output: output | {"logits": output.logits * 3 + 1})
    with pytest.raises(KoreanLLMError, match="hidden state times head row"):
        read(model, [[0, 40, 5]], OLD)


def test_context_counts_with_the_base_and_cuts_with_the_extended(extension: Extension) -> None:
    texts = {"ko": korean_documents(), "en": ENGLISH}
    context = build_context(extension.base, extension.extended, {}, texts, seed=1)
    everything = [id for text in texts["ko"] for id in extension.base(text, add_special_tokens=False)["input_ids"]]
    assert sum(context.old_counts.values()) == len(everything)
    new = {merge.id for merge in extension.merges}
    assert not new & context.old_counts.keys()
    assert new & {id for document in context.documents for id in document}
    assert new & {id for window in context.windows for id in window}


def test_spread_takes_openings_of_evenly_spaced_texts_up_to_the_cap() -> None:
    texts = [f"{i:03d}" + "가" * 2_000 for i in range(100)]
    found = spread(texts, 10_000)
    assert [text[:3] for text in found] == ["000", "016", "033", "050", "066", "083"]
    assert 9_000 < sum(len(text.encode()) for text in found) <= 10_000
    assert len(spread(["짧은 글이다."] * 500, 1_700)) == 100
    assert spread([], 10_000) == []
    assert spread(["짧다"], FIT_BYTES["ko"]) == ["짧다"]
