"""Choose the stages of a search by the user's own questions: what does not help for certain stays off.

Every candidate is compared with what has been chosen so far by a paired bootstrap over the questions. It is taken only
where the interval of its nDCG@10 gain excludes zero; with n candidates in a round the interval is one of 1 − 0.05 / n,
so that looking at many does not make one look good by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.retrieval import store
from korean_llm.retrieval.beir import Question
from korean_llm.retrieval.evaluate import METRIC, SEARCHING, difference, measure
from korean_llm.retrieval.index import Index
from korean_llm.retrieval.store import Options

TABLE = "tuning.json"
_WEIGHTS = (0.2, 0.3, 0.35, 0.4, 0.5)

Round = tuple[str, list[dict[str, Any]]]


def rounds(index: Index, reranker: Path | None, endpoint: str | None, model: str | None) -> Iterator[Round]:
    """(name, candidates as changes of the options) of every choice that this index and these models allow."""
    if index.dense is not None:
        weighted = [{"fusion": "z-score", "dense_weight": weight} for weight in _WEIGHTS]
        yield (
            "fusion",
            [*weighted, *({"fusion": f, "dense_weight": w} for f in ("rrf", "min-max") for w in (0.35, 0.5))],
        )
    if reranker is not None:
        yield "reranking", [{"reranker": str(reranker), "rerank_weight": weight} for weight in (0.3, 0.5, 1.0)]
    if endpoint is not None:
        names = ["multi-query"] if index.dense is None else ["multi-query", "hyde"]
        known = {"endpoint": endpoint, "endpoint_model": model}
        yield "expansion", [{"expansion": name, **known} for name in names]


def tune(
    index: Index,
    questions: Sequence[Question],
    *,
    reranker: Path | None = None,
    endpoint: str | None = None,
    model: str | None = None,
    made_from_corpus: bool = False,
) -> dict[str, Any]:
    """Decide every round, write the index's options and the table it was decided by, and return the table."""
    chosen = replace(index.options, reranker=None, expansion="none")
    scores = measure(index, questions, chosen)
    rows = [_row("start", {}, scores, None, True)]
    for name, candidates in rounds(index, reranker, endpoint, model):
        level = 1 - 0.05 / len(candidates)
        tried = [(changes, measure(index, questions, replace(chosen, **changes))) for changes in candidates]
        found = [(changes, own, difference(own, scores, METRIC, level)) for changes, own in tried]
        sure = [one for one in found if one[2]["interval"][0] > 0]
        best = max(sure, key=lambda one: one[2]["mean"], default=None)
        rows += [
            _row(name, changes, own, gain, best is not None and changes is best[0]) for changes, own, gain in found
        ]
        if best is not None:
            chosen, scores = replace(chosen, **best[0]), best[1]
    table = {
        "metric": METRIC,
        "questions": len(questions),
        "made_from_corpus": made_from_corpus,
        "rows": rows,
        "chosen": {name: getattr(chosen, name) for name in SEARCHING},
    }
    _keep(index, chosen, table)
    return table


def _row(
    name: str, changes: Mapping[str, Any], scores: Sequence[Mapping[str, float]], gain: Any, taken: bool
) -> dict[str, Any]:
    mean = sum(row[METRIC] for row in scores) / len(scores)
    return {"round": name, "changes": dict(changes), METRIC: round(mean, 4), "gain": gain, "taken": taken}


def _keep(index: Index, chosen: Options, table: dict[str, Any]) -> None:
    """Write the options into the index, and the table beside them."""
    with store.writing(index.folder):
        state = store.read_state(index.folder)
        write_json(index.folder / TABLE, table)
        store.commit(index.folder, replace(state, options=chosen), state.segments)
    index.options = chosen


def print_tuning(table: Mapping[str, Any]) -> None:
    """The table it was decided by."""
    rows = []
    for row in table["rows"]:
        gain = row["gain"]
        shown = "" if gain is None else "{:+.4f} ({:+.4f} – {:+.4f})".format(gain["mean"], *gain["interval"])
        changes = ", ".join(f"{name}={value}" for name, value in row["changes"].items()) or "as before"
        rows.append((row["round"], changes, f"{row[METRIC]:.4f}", shown, "yes" if row["taken"] else "no"))
    made = ", made from the corpus itself" if table["made_from_corpus"] else ""
    title = f"{table['questions']} questions{made}; taken only where the interval excludes zero"
    console.print_table(title, ["choice", "candidate", METRIC, "gain (interval)", "taken"], rows)
