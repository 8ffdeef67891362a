"""Abstention with few documents: how often an index of some of them answers what they say and refuses the rest.

    python tests/benchmarks/abstention.py RUN_OR_INDEX

Draws 3, 8, 20 and 35 of the documents of an index, several times where they are few, indexes them with the encoder of
that index, if it has one, and asks the held-out half of corpora/answers-ko and corpora/questions-ko: a question is
answerable where its document was drawn. Prints a table.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import numpy as np

from korean_llm.answering.abstain import is_answered
from korean_llm.answering.calibrate import held_out
from korean_llm.answering.evidence import gather
from korean_llm.answering.library import open_index
from korean_llm.corpus.card import load_card
from korean_llm.corpus.read import read_rows
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from korean_llm.retrieval.store import INDEX

SETS = ("answers-ko", "questions-ko")
DRAWS = {3: 8, 8: 4, 20: 2, 35: 2}
MACHINE = Machine("cpu", 1)


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1])
    whole = Index.open(folder, MACHINE) if (folder / INDEX).is_file() else open_index(folder, MACHINE)
    rows = [row for name in SETS for row in read_rows(load_card(name)) if held_out(row["question"])]
    encoder = whole.folder / whole.state.encoder if whole.state.encoder else None
    print(f"{folder}: {len(whole.documents)} documents, {len(rows)} questions, encoder: {whole.state.encoder}\n")
    print("| documents | answerable | answered | not answerable | refused |\n|---|---|---|---|---|")
    for count, draws in DRAWS.items():
        found: dict[bool, list[bool]] = {True: [], False: []}
        for draw in range(draws):
            drawn = random.Random(f"{count} {draw}").sample(list(whole.documents), count)
            documents = [{"id": one.id, "title": one.title, "text": one.text} for one in drawn]
            with tempfile.TemporaryDirectory() as place:
                part = Index.build(documents, place, encoder=encoder, options=whole.options, machine=MACHINE)
                for row in rows:
                    here = bool(row["evidence"]) and part.document(row["document_id"]) is not None
                    found[here].append(is_answered(part, gather(part, row["question"])))
        numbers = (
            f"{len(found[True])} | {np.mean(found[True]):.1%} | {len(found[False])} | {1 - np.mean(found[False]):.1%}"
        )
        print(f"| {count} × {draws} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
