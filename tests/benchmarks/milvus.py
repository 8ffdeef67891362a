"""Whether milvus-lite finds what the local index finds, on the Korean sets in ../shared/data/retrieval.

    python tests/benchmarks/milvus.py [ENCODER_FOLDER]

By words, and with ENCODER_FOLDER hybrid too. The index is built and encoded once; its segments are searched here and in
Milvus with all questions of the set. Milvus keeps terms as 32 bits of their hash and scores as
float32, so passages count as the same where their scores differ by less than 1e-4 of the best.
"""

from __future__ import annotations

import sys
import tempfile
import time
from copy import copy
from dataclasses import replace
from pathlib import Path

from korean_llm.retrieval import Hit, Index, Options
from korean_llm.retrieval.beir import load_beir

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "retrieval"
SETS = ("parakqc", "legal")
CLOSE = 1e-4


def same(ours: list[Hit], theirs: list[Hit]) -> bool:
    """Whether both are the same passages, ties aside: each that only one has scores as the last of the other."""
    close = CLOSE * max(abs(ours[0].score), 1e-9)
    if any(abs(one.score - other.score) > close for one, other in zip(ours, theirs, strict=True)):
        return False
    places = [{(hit.document_id, hit.start): hit.score for hit in hits} for hits in (ours, theirs)]
    last = min(ours[-1].score, theirs[-1].score)
    return all(
        abs(places[0].get(place, places[1].get(place, 0.0)) - last) <= close
        for place in set.symmetric_difference(*map(set, places))
    )


def main() -> None:
    """Print how many questions have the same ten hits."""
    encoder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for name in SETS:
        documents, asked = load_beir(DATA, name)
        for arm in ("lexical", "hybrid"):
            if arm == "hybrid" and encoder is None:
                continue
            with tempfile.TemporaryDirectory() as folder:
                chosen = encoder if arm == "hybrid" else None
                options = replace(Options(), milvus=str(Path(folder) / "lite.db"))
                remote = Index.build(documents, Path(folder) / "index", encoder=chosen, options=options)
                local = copy(remote)
                local._remote = None
                equal, seconds = 0, 0.0
                for question in asked:
                    start = time.perf_counter()
                    found = remote.search(question.text)
                    seconds += time.perf_counter() - start
                    equal += same(local.search(question.text), found)
            mean = 1000 * seconds / len(asked)
            print(f"{name}, {arm}: same top 10 in {equal} of {len(asked)}; Milvus {mean:.1f} ms a question", flush=True)


if __name__ == "__main__":
    if DATA.is_dir():
        main()
    else:
        print(f"skipped: {DATA} is not there")
