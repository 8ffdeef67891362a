"""Real text for tests and benchmarks of the vocabulary room: Korean by register, and everything that is not Korean.

Korean lies in ../shared/data beside the checkout and in corpora/prose-ko. The rest is whatever the machine has:
sources and documents of installed packages, and their translations into other languages (gettext catalogues).
Files that are opened are regular files of installed software, at most 2 MB each.
"""

from __future__ import annotations

import gettext
import gzip
import hashlib
import json
import random
import site
import sys
import sysconfig
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from korean_llm.hangul import HANGUL, holds_hangul
from korean_llm.vocabulary.words import readings

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
HELD_OUT = {"rulings": 0.05, "technical documents": 0.05, "novels": 0.3, "facts": 0.05, "essays": 0.0, "news": 1.0}
"""Share of each register's documents that nothing learns from; news is never learned from."""

FILES = {
    "rulings": "corpus/legal_precedents",
    "technical documents": "corpus/msdocs_human_translated",
    "novels": "corpus/literature",
    "facts": "instruction/strategyqa_facts",
    "news": "evaluation/parallel_ntrex_200",
}
"""Registers of the data folder; "essays" are the project's own prose-ko."""

MIXTURES = {
    "general": {"rulings": 0.3, "technical documents": 0.3, "novels": 0.15, "facts": 0.15, "essays": 0.1},
    "law and prose": {"rulings": 0.87, "novels": 0.06, "facts": 0.04, "essays": 0.03},
}
"""What is learned from: register → share of the text, as in a recipe's corpus.sources."""
_MAX_FILE_BYTES = 2_000_000
_CODE = {".py", ".js", ".ts", ".c", ".h", ".hpp", ".pm", ".css", ".json", ".xml", ".yaml", ".toml"}
_PROSE = {".rst", ".md", ".txt", ".html"}


def position(id: str) -> float:
    """A number in [0, 1) fixed by an id."""
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:6]) / 2**48


def rows(name: str) -> Iterator[dict[str, str]]:
    """Rows of one file of the data folder, by its path there without .jsonl.gz."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def register(name: str) -> tuple[list[str], list[str]]:
    """Texts of one register to learn from, and those held out; ordered by a hash, so that a part is a sample."""
    if name == "essays":
        with (ROOT / "corpora" / "prose-ko" / "documents.jsonl").open(encoding="utf-8") as file:
            found = list(map(json.loads, file))
    else:
        found = list(rows(FILES[name]))
    found.sort(key=lambda row: position(row["id"]))
    field = {"facts": "output", "news": "ko"}.get(name, "text")
    held = HELD_OUT[name]
    learned, kept = ([row[field] for row in found if (position(row["id"]) < held) == out] for out in (False, True))
    return learned, kept


def learning_texts(max_bytes: int, mixture: str = "general") -> list[str]:
    """Korean to learn from, none of it held out, mixed by shares as the vocabulary stage mixes a corpus."""
    shares = MIXTURES[mixture]
    learned = {name: register(name)[0] for name in shares}
    sizes = {name: sum(len(text.encode()) for text in texts) for name, texts in learned.items()}
    texts = []
    for name, times in readings(sizes, shares, max_bytes).items():
        texts += learned[name] * int(times)
        texts += cut_to(learned[name], round(times % 1 * sizes[name]))
    return texts


def held_out(max_bytes: int) -> dict[str, list[str]]:
    """Documents of each register that learning_texts leaves out, at most so many bytes of each."""
    return {name: cut_to(register(name)[1], max_bytes) for name in FILES}


def cut_to(texts: Iterable[str], max_bytes: int) -> list[str]:
    """The first texts, whole, until they hold max_bytes."""
    chosen, size = [], 0
    for text in texts:
        if size >= max_bytes:
            break
        chosen.append(text)
        size += len(text.encode())
    return chosen


def korean_lines() -> Iterator[str]:
    """Different Korean lines of all sets: rulings, statutes, novels, documents, reviews with slang and typos."""
    names = ["noisy/nsmc_reviews", "corpus/literature", "corpus/legal_statutes", "instruction/chatbot"]
    names += ["corpus/python_docs_ko", "evaluation/parallel_ntrex_200", "corpus/legal_precedents"]
    seen: set[int] = set()
    for name in [*names, "corpus/msdocs_human_translated"]:
        for row in rows(name):
            for line in "\n".join(str(value) for key, value in row.items() if key != "id").splitlines():
                if hash(line) not in seen and holds_hangul(line):
                    seen.add(hash(line))
                    yield line


def other_lines() -> Iterator[tuple[str, str]]:
    """(kind, line): different lines without Hangul. Kinds: "English", "code", "other scripts", "generated".

    The kinds come in turn, so that any first part of them is a mixture; one line in sixty is generated.
    """
    sources = {
        "English": _english(),
        "code": lines_of(_files(_CODE)),
        "other scripts": _other_scripts(),
        "generated": generated_strings(),
    }
    seen: set[int] = set()
    while sources:
        for kind, lines in list(sources.items()):
            part = list(islice(lines, 50 if kind == "generated" else 1000))
            if not part:
                del sources[kind]
            for line in part:
                if hash(line) not in seen and not holds_hangul(line):
                    seen.add(hash(line))
                    yield kind, line


def _english() -> Iterator[str]:
    if DATA.is_dir():
        for path in sorted((DATA / "english").glob("*.jsonl.gz")):
            for row in rows(f"english/{path.name.removesuffix('.jsonl.gz')}"):
                yield from row["text"].split("\n")
        for row in rows("evaluation/parallel_ntrex_200"):
            yield row["en"]
    yield from lines_of(_files(_PROSE))


def _folders() -> list[Path]:
    places = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), *site.getsitepackages(), "/usr/share/doc"]
    found = dict.fromkeys(
        Path(place) for place in [*places, "/usr/share/perl", "/usr/include", "/usr/lib/node_modules"]
    )
    return [path for path in found if path.is_dir()]


def _files(suffixes: set[str]) -> Iterator[Path]:
    """Files of installed software, in a random order that is always the same."""
    found = {path for folder in _folders() for path in folder.rglob("*") if path.suffix in suffixes}
    yield from sorted(found, key=lambda path: position(str(path)))


def lines_of(paths: Iterable[Path]) -> Iterator[str]:
    """Lines of UTF-8 files that can be read; only line feeds end a line."""
    for path in paths:
        try:
            if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
                continue
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        # Only line feeds end a line here: form feeds and U+2028 stay inside, as they do in documents.
        yield from (line for line in text.split("\n") if line)


def _other_scripts() -> Iterator[str]:
    """Translations of programs' messages into all languages at hand, and lines of sources that are not ASCII."""
    catalogues = {path for folder in [Path("/usr/share/locale"), *_folders()] for path in folder.rglob("*.mo")}
    for path in sorted(catalogues, key=lambda path: position(str(path))):
        try:
            with path.open("rb") as file:
                messages = gettext.GNUTranslations(file)._catalog.values()  # type: ignore[attr-defined]
        except (OSError, UnicodeDecodeError, ValueError):
            continue
        yield from (line for message in messages for line in str(message).split("\n") if line)
    yield from (line for line in lines_of(_files(_CODE | _PROSE)) if not line.isascii())


def _assigned() -> list[list[str]]:
    """Characters of Unicode by block of 128, without Hangul, surrogates and what is not assigned.

    Of the blocks of Hanja every 40th: they would be four of five.
    """
    blocks: list[list[str]] = []
    for number, start in enumerate(range(0, sys.maxunicode, 128)):
        if number % 40 and unicodedata.name(chr(start), "").startswith("CJK UNIFIED"):
            continue
        block = [
            chr(code)
            for code in range(start, start + 128)
            if unicodedata.category(chr(code)) not in ("Cn", "Cs") and not holds_hangul(chr(code))
        ]
        if block and unicodedata.category(block[0]) != "Co":
            blocks.append(block)
    return blocks


_HARD = [
    *" \u00a0\u2581\u3000\u200b\u200d\ufeff\u0120\u010a\u0000\u0001\t\r\u000b\u000c\u001b\u007f\u0085\u2028\ufffd",
    *["  ", "    ", "\r\n", "\n\n", " The", "return ", "def f(x):", "e\u0301", "👩\u200d👩\u200d👧", "\U0001f1f0"],
]
_HARD_WORDS = (
    "▁▁ <0xEA> <0xB0> <unk>a </s <|im Ġê° ê°Ģ ê° 0 12 3456789 's 'LL can't the http://a.b/c?d=e {} []; é ﬁ Å Ⅳ ½"
    " ﾊﾝｸﾞﾙ ﾡﾢﾣ 韓國語 大韓民國 漢字 かな カナ ꀀꀁ ꥀ ꩠ ꪀ ㄅㄆㄇ ㈀ ㉠ ㋀ ㌀ 👍🏽 🇰🇷 🙂 𝕳 𠮷 Ω я ש ع ก अ"
)


def generated_strings(seed: int = 7) -> Iterator[str]:
    """Strings without Hangul that cutting goes wrong on, without end.

    Runs of one Unicode block, of half-width letters and enclosed Korean signs, spaces of all kinds, controls, text
    that looks like byte pieces and like the byte-level alphabet, broken special tokens.
    """
    choose = random.Random(seed)
    blocks, hard = _assigned(), [*_HARD, *_HARD_WORDS.split()]
    while True:
        parts = []
        for _ in range(choose.randint(1, 8)):
            block = choose.choice(blocks)
            letters = "".join(choose.choice(block) for _ in range(choose.randint(1, 6)))
            parts.append(choose.choice([letters, choose.choice(hard)]))
        yield "".join(parts)


def mixed_strings(seed: int = 8) -> Iterator[str]:
    """Generated strings with Hangul in them: syllables, jamo of every block, decomposed syllables, without end."""
    choose = random.Random(seed)
    ranges = [range(ord(part[0]), ord(part[-1]) + 1) for part in HANGUL_RANGES]
    for rest in generated_strings(seed):
        hangul = "".join(chr(choose.choice(choose.choice(ranges))) for _ in range(choose.randint(1, 6)))
        word = choose.choice(
            ["한국어", "대한민국은 ", "ㅋㅋㅋㅋ", "ㅠㅠ", "법원은", " 이다.", "했습니다", hangul, hangul]
        )
        word = unicodedata.normalize(choose.choice(["NFC", "NFD"]), word)
        cut = choose.randint(0, len(rest))
        yield rest[:cut] + word + rest[cut:]


HANGUL_RANGES = [HANGUL[start : start + 3] for start in range(0, len(HANGUL), 3)]
