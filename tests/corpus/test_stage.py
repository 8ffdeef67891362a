"""The stage on whole small corpora: what goes in comes out, or is dropped under a name, and the counts add up."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from korean_llm.corpus.clean import normalise
from korean_llm.corpus.documents import read_documents, read_shares
from korean_llm.corpus.stage import run
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.recipe import CorpusSettings

ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    "강가",
    "버드나무",
    "봄마다",
    "가지를",
    "늘어뜨리고",
    "물소리를",
    "듣는다",
    "장터",
    "국밥",
    "겨울",
    "채소",
    "값",
]
Row = dict[str, str]


def sentence(source: random.Random, words: int = 40) -> str:
    return " ".join(source.choice(WORDS) + str(source.randrange(100)) for _ in range(words)) + "."


def documents(number: int, seed: int = 1) -> list[Row]:
    source = random.Random(seed)
    return [{"id": f"{seed}-{n}", "title": f"글 {n}", "text": sentence(source)} for n in range(number)]


def write_rows(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def corpus(out: Path, sources: dict[str, float], machine: Machine, **settings: Any) -> dict[str, Any]:
    """Run the stage and return its counts."""
    out.mkdir(parents=True)
    values = {"sources": sources, "holdout": 0.2, **settings}
    return run(CorpusSettings.model_validate(values), {}, out, machine, 17)["counts"]


def rows_of(out: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(out / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ids(out: Path, name: str) -> list[str]:
    return [row["id"] for row in rows_of(out, name)]


# ---- everything is accounted for


def messy() -> list[Row]:
    """Documents of which every reason drops some, in a known number."""
    source = random.Random(2)
    good = documents(30, seed=2)
    return [
        *good,
        *({"id": f"short-{n}", "title": "", "text": f"짧은 글 {n}."} for n in range(3)),
        *(
            {"id": f"english-{n}", "title": "", "text": f"The library opens at nine, number {n}. " * 5}
            for n in range(4)
        ),
        {"id": "lines", "title": "", "text": "\n".join([*[sentence(source, 20)] * 3, sentence(source, 20)])},
        *({"id": f"symbols-{n}", "title": "", "text": f"가나다라 {n} " + "★♥" * 60} for n in range(2)),
        *({**row, "id": f"copy-{n}"} for n, row in enumerate(good[:5])),
        *({**row, "id": f"near-{n}", "text": row["text"] + " 끝."} for n, row in enumerate(good[5:11])),
    ]


DROPPED = {"duplicate": 5, "little_hangul": 4, "near_duplicate": 6, "repeated_lines": 1, "symbols": 2, "too_short": 3}


def test_every_document_is_kept_held_out_or_dropped_by_a_reason(tmp_path: Path, machine: Machine) -> None:
    path = write_rows(tmp_path / "messy.jsonl", messy())
    counts = corpus(tmp_path / "out", {str(path): 1}, machine)
    train, holdout, dropped = (rows_of(tmp_path / "out", name) for name in ("train", "holdout", "dropped"))
    assert sorted(row["id"] for row in train + holdout + dropped) == sorted(row["id"] for row in messy())
    assert counts["dropped"] == Counter(row["reason"] for row in dropped) == DROPPED
    assert counts["dropped_by_source"] == {"messy": DROPPED}
    assert counts["read"] == {"messy": 51}
    assert counts["kept"] == {"messy": len(train)}
    assert counts["held_out"] == {"messy": len(holdout)}
    assert counts["documents"] == len(train) + len(holdout) == 30
    assert counts["bytes"] == {"messy": sum(len(row["text"].encode()) for row in train + holdout)}
    assert counts["masked"] == {}


def test_the_dropped_are_kept_whole_with_what_they_repeat(tmp_path: Path, machine: Machine) -> None:
    path = write_rows(tmp_path / "messy.jsonl", messy())
    corpus(tmp_path / "out", {str(path): 1}, machine)
    raw = {row["id"]: row for row in messy()}
    first = {f"copy-{n}": f"2-{n}" for n in range(5)} | {f"near-{n}": f"2-{n + 5}" for n in range(6)}
    for row in rows_of(tmp_path / "out", "dropped"):
        assert row["text"] == normalise(raw[row["id"]]["text"])
        assert row["duplicate_of"] == first.get(row["id"])
        assert row["id"].startswith({"little_hangul": "english", "repeated_lines": "lines"}.get(row["reason"], ""))


def test_what_is_kept_keeps_its_title_source_language_and_order(tmp_path: Path, machine: Machine) -> None:
    rows = documents(20)
    path = write_rows(tmp_path / "plain.jsonl", rows)
    corpus(tmp_path / "out", {str(path): 1}, machine)
    for name in ("train", "holdout"):
        found = list(read_documents(tmp_path / "out" / f"{name}.jsonl.gz"))
        wanted = [row for row in rows if row["id"] in {document.id for document in found}]
        assert [{"id": d.id, "title": d.title, "text": d.text} for d in found] == wanted
        assert {(d.source, d.language) for d in found} == {("plain", "ko")}


def test_duplicates_are_found_across_sources_and_the_first_source_keeps_them(tmp_path: Path, machine: Machine) -> None:
    one = write_rows(tmp_path / "one.jsonl", documents(20))
    both = write_rows(tmp_path / "both.jsonl", documents(20) + documents(15, seed=4))
    counts = corpus(tmp_path / "out", {str(one): 1, str(both): 1}, machine)
    assert counts["dropped_by_source"] == {"both": {"duplicate": 20}}
    write_rows(one, documents(20) + documents(5, seed=6))
    counts = corpus(tmp_path / "other", {str(both): 1, str(one): 1}, machine)
    assert counts["dropped_by_source"] == {"one": {"duplicate": 20}}


def test_english_sources_may_hold_no_hangul(tmp_path: Path, machine: Machine) -> None:
    english = tmp_path / "english"
    english.mkdir()
    source = random.Random(8)
    rows = [
        {"id": str(n), "title": "", "text": " ".join(f"word{source.randrange(999)}" for _ in range(40))}
        for n in range(20)
    ]
    write_rows(english / "rows.jsonl", rows)
    digest = subprocess.run(["sha256sum", english / "rows.jsonl"], capture_output=True, text=True, check=True).stdout
    (english / "card.yaml").write_text(
        f"title: t\nkind: documents\nlanguage: en\nlicence: l\nsource: s\nfiles: {{rows.jsonl: {digest.split()[0]}}}\n",
        encoding="utf-8",
    )
    korean = write_rows(tmp_path / "korean.jsonl", documents(20))
    corpus(tmp_path / "out", {str(english): 1, str(korean): 1}, machine)
    found = rows_of(tmp_path / "out", "train") + rows_of(tmp_path / "out", "holdout")
    assert Counter(row["language"] for row in found) == {"en": 20, "ko": 20}


# ---- hold-out


def test_hold_out_does_not_move_when_documents_are_added(tmp_path: Path, machine: Machine) -> None:
    first, later = documents(60), documents(50, seed=3)
    small = write_rows(tmp_path / "small.jsonl", first)
    large = write_rows(tmp_path / "large.jsonl", later[:25] + first[::-1] + later[25:])
    corpus(tmp_path / "a", {str(small): 1}, machine)
    corpus(tmp_path / "b", {str(large): 1}, machine)
    held, held_later = set(ids(tmp_path / "a", "holdout")), set(ids(tmp_path / "b", "holdout"))
    assert held == {id for id in held_later if id.startswith("1-")}
    assert {id for id in held_later if id.startswith("3-")}, "new documents are held out too"


def test_hold_out_follows_the_text_and_neither_layout_nor_id_nor_source_nor_seed(
    tmp_path: Path, machine: Machine
) -> None:
    rows = documents(60)
    named = [{"id": f"x{n}", "title": "", "text": row["text"].replace(" ", "\n")} for n, row in enumerate(rows)]
    corpus(tmp_path / "a", {str(write_rows(tmp_path / "one.jsonl", rows)): 1}, machine)
    (tmp_path / "b").mkdir()
    settings = CorpusSettings(sources={str(write_rows(tmp_path / "two.jsonl", named)): 1}, holdout=0.2)
    run(settings, {}, tmp_path / "b", machine, 99)
    texts = [{"".join(row["text"].split()) for row in rows_of(tmp_path / out, "holdout")} for out in ("a", "b")]
    assert texts[0] == texts[1]


def test_more_hold_out_holds_what_less_held(tmp_path: Path, machine: Machine) -> None:
    path = str(write_rows(tmp_path / "rows.jsonl", documents(400)))
    found = []
    for share in (0.05, 0.2, 0.5, 1.0):
        corpus(tmp_path / str(share), {path: 1}, machine, holdout=share)
        found.append(set(ids(tmp_path / str(share), "holdout")))
        deviation = (400 * share * (1 - share)) ** 0.5
        assert abs(len(found[-1]) - 400 * share) <= 4 * deviation
    assert found[0] < found[1] < found[2] < found[3]


def test_no_text_is_in_training_and_hold_out(tmp_path: Path, machine: Machine) -> None:
    """Also where two texts become equal only by masking: they fall on the same side."""
    rows = []
    for n, row in enumerate(documents(40)):
        for copy in range(2):
            rows.append({**row, "id": f"{n}-{copy}", "text": f"{row['text']} 전화 010-{n + 10}{copy}0-56{copy}8"})
    path = str(write_rows(tmp_path / "rows.jsonl", rows))
    counts = corpus(tmp_path / "out", {path: 1}, machine, near_duplicates=1.0)
    assert counts["documents"] == 80
    train = {row["text"] for row in rows_of(tmp_path / "out", "train")}
    holdout = {row["text"] for row in rows_of(tmp_path / "out", "holdout")}
    assert train and holdout and not train & holdout


# ---- settings


def test_shares_sum_to_one_under_the_names_of_the_corpora(tmp_path: Path, machine: Machine) -> None:
    one, two = write_rows(tmp_path / "one.jsonl", documents(20)), write_rows(tmp_path / "two.jsonl", documents(20, 5))
    corpus(tmp_path / "out", {str(two): 3, str(one): 1}, machine)
    assert read_shares(tmp_path / "out") == {"two": 0.75, "one": 0.25}


def test_at_most_so_many_documents_of_every_source(tmp_path: Path, machine: Machine) -> None:
    one, two = write_rows(tmp_path / "one.jsonl", documents(40)), write_rows(tmp_path / "two.jsonl", documents(12, 5))
    counts = corpus(tmp_path / "out", {str(one): 1, str(two): 1}, machine, max_documents=25)
    assert counts["read"] == {"one": 25, "two": 12}


def test_a_long_document_is_split_and_no_character_lost(tmp_path: Path, machine: Machine) -> None:
    source = random.Random(6)
    book = "\n\n".join(sentence(source, source.randrange(20, 60)) for _ in range(60))
    rows = [{"id": "book", "title": "책", "text": book}, {"id": "leaf", "title": "쪽", "text": sentence(source)}]
    path = str(write_rows(tmp_path / "rows.jsonl", rows))
    counts = corpus(tmp_path / "out", {path: 1}, machine, split_chars=1_000, near_duplicates=1.0)
    found = rows_of(tmp_path / "out", "train") + rows_of(tmp_path / "out", "holdout")
    parts = sorted((row for row in found if row["id"] != "leaf"), key=lambda row: int(row["id"].split("#")[1]))
    assert [row["id"] for row in parts] == [f"book#{n}" for n in range(1, len(parts) + 1)]
    assert "\n\n".join(row["text"] for row in parts) == book
    assert {row["title"] for row in parts} == {"책"}
    assert max(len(row["text"]) for row in parts) <= 1_000
    assert counts["read"] == {"rows": len(parts) + 1}, "what is counted is parts"


@pytest.mark.parametrize(("choice", "masked"), [("mask", True), ("keep", False)])
def test_personal_data_in_text_and_title(tmp_path: Path, machine: Machine, choice: str, masked: bool) -> None:
    rows = documents(20)
    rows[3]["text"] += " 문의는 010-1234-5678, kim@example.com"
    rows[4]["title"] = "031-123-4567"
    rows.append({"id": "short", "title": "", "text": "010-1234-5678"})
    counts = corpus(tmp_path / "out", {str(write_rows(tmp_path / "r.jsonl", rows)): 1}, machine, personal_data=choice)
    found = {row["id"]: row for name in ("train", "holdout") for row in rows_of(tmp_path / "out", name)}
    assert found["1-3"]["text"].endswith(
        "문의는 [전화번호], [이메일]" if masked else "문의는 010-1234-5678, kim@example.com"
    )
    assert found["1-4"]["title"] == ("[전화번호]" if masked else "031-123-4567")
    assert counts["masked"] == ({"EMAIL": 1, "PHONE": 2} if masked else {}), "of what is kept"
    dropped = rows_of(tmp_path / "out", "dropped")
    assert [row["text"] for row in dropped] == ["[전화번호]" if masked else "010-1234-5678"]
    assert counts["bytes"] == {"r": sum(len(row["text"].encode()) for row in found.values())}


def test_cleaning_settings_reach_the_rules(tmp_path: Path, machine: Machine) -> None:
    path = str(write_rows(tmp_path / "messy.jsonl", messy()))
    lenient = {"min_chars": 1, "min_hangul_ratio": 0.0, "max_repeated_line_ratio": 1.0, "max_symbol_ratio": 1.0}
    counts = corpus(tmp_path / "out", {path: 1}, machine, clean=lenient, near_duplicates=1.0)
    assert counts["dropped"] == {"duplicate": 5}


# ---- the same again


def test_the_same_settings_give_the_same_bytes_in_every_process(tmp_path: Path, machine: Machine) -> None:
    path = str(write_rows(tmp_path / "messy.jsonl", messy()))
    corpus(tmp_path / "here", {path: 1}, machine)
    code = (
        "import sys\nfrom pathlib import Path\nfrom korean_llm.corpus.stage import run\n"
        "from korean_llm.machine import Machine\nfrom korean_llm.recipe import CorpusSettings\n"
        "out = Path(sys.argv[2])\nout.mkdir()\n"
        "run(CorpusSettings(sources={sys.argv[1]: 1}, holdout=0.2), {}, out, Machine('cpu', 2), 17)\n"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code, path, tmp_path / seed], env=environment, check=True)
        for name in ("train.jsonl.gz", "holdout.jsonl.gz", "dropped.jsonl.gz", "shares.json"):
            assert (tmp_path / seed / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name


# ---- errors


def test_sources_that_cannot_be_learned_from(tmp_path: Path, machine: Machine) -> None:
    (tmp_path / "sub").mkdir()
    rows = write_rows(tmp_path / "rows.jsonl", documents(20))
    same = write_rows(tmp_path / "sub" / "rows.jsonl", documents(20, 9))
    again = write_rows(tmp_path / "again.jsonl", documents(20))
    empty = write_rows(tmp_path / "empty.jsonl", [])
    short = write_rows(tmp_path / "short.jsonl", [{"id": "1", "title": "", "text": "짧다."}] * 2)
    cases: list[tuple[dict[str, float], dict[str, Any], str]] = [
        (
            {"instructions-ko": 1},
            {},
            "corpus.sources.instructions-ko: expected documents; this corpus holds instructions",
        ),
        ({str(rows): 1, str(same): 1}, {}, "two sources are called 'rows'; rename one"),
        ({str(rows): 1, str(empty): 1}, {}, "the corpus 'empty' is empty"),
        (
            {str(rows): 1, str(short): 1},
            {},
            "no document of the corpus 'short' passes corpus.clean (dropped: too_short 2)",
        ),
        ({str(rows): 1, str(again): 1}, {}, "(dropped: duplicate 20); it repeats itself or a source before it"),
        ({str(rows): 1}, {"holdout": 0.0}, "no document was held out; raise corpus.holdout"),
    ]
    for number, (sources, settings, words) in enumerate(cases):
        with pytest.raises(KoreanLLMError) as caught:
            corpus(tmp_path / f"out{number}", sources, machine, **settings)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
