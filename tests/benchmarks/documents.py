"""Speed of reading and splitting, format by format, on the same real Korean text.

    python tests/benchmarks/documents.py [MEGABYTES]

Text is that of the rulings in ../shared/data/corpus; MB are those of its UTF-8 text, whatever the file's size. The
peak is the growth of the process's memory while it reads, in a process of its own.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from korean_llm import kiwi
from korean_llm.documents import read_files, split
from tests.documents import make
from tests.reference import ole

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus" / "legal_precedents.jsonl.gz"
_READ = r"""
import re, sys, time
from pathlib import Path
from korean_llm.documents import read_files
def peak():  # ru_maxrss would begin with the peak of the parent
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


before = peak()
start = time.perf_counter()
chars = sum(len(document.text) for document in read_files([Path(sys.argv[1])]))
seconds = time.perf_counter() - start
print(chars, seconds, (peak() - before) / 1024)
"""


def paragraphs(num_bytes: int) -> list[str]:
    found: list[str] = []
    size = 0
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        for line in file:
            for part in re.split(r"\n+", json.loads(line)["text"]):
                text = " ".join(re.sub(r"[<>&\x00-\x1f]", " ", part).split())
                found.append(text)
                size += len(text.encode()) + 2
            if size >= num_bytes:
                break
    return [text for text in found if text]


def files(texts: list[str]) -> dict[str, Callable[[], bytes]]:
    lines = [text[at : at + 45] for text in texts for at in range(0, len(text), 45)]
    pages = [[(line, 11.0) for line in lines[at : at + 40]] for at in range(0, len(lines), 40)]
    return {
        "a.txt": lambda: "\n\n".join(texts).encode(),
        "cp949.txt": lambda: "\n\n".join(texts).encode("cp949", "ignore"),
        "a.md": lambda: "\n\n".join(texts).encode(),
        "a.html": lambda: ("<!doctype html><p>" + "<p>".join(texts)).encode(),
        "a.csv": lambda: ("본문\n" + "\n".join(f'"{text.replace(chr(34), "")}"' for text in texts)).encode(),
        "a.jsonl": lambda: "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts).encode(),
        "a.docx": lambda: make.docx({"판결": texts}),
        "a.hwpx": lambda: make.hwpx("".join(map(make.p, texts))),
        "a.hwp": lambda: ole.hwp(b"".join(map(ole.paragraph, texts))),
        "a.pdf": lambda: make.pdf(pages),
    }


def main() -> None:
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    texts = paragraphs(int(megabytes * 1e6))
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{size:.2f} MB of text in {len(texts):,} paragraphs")
    with tempfile.TemporaryDirectory() as folder:
        for name, build in files(texts).items():
            path = Path(folder) / name
            path.write_bytes(build())
            done = subprocess.run([sys.executable, "-c", _READ, path], capture_output=True, text=True, check=True)
            _, seconds, mib = map(float, done.stdout.split())
            print(f"{name:10} {path.stat().st_size / 1e6:6.2f} MB file {size / seconds:8.1f} MB/s {mib:6.0f} MiB peak")
        split_speed(Path(folder) / "a.txt")


def split_speed(path: Path) -> None:
    """Splitting against Kiwi asked for the sentences of every paragraph, on the first 300,000 characters."""
    (document,) = read_files([path])
    text = document.text[:300_000]
    blocks = tuple(block for block in document.blocks if block.end <= len(text))
    part = type(document)(document.id, "", text, path, "txt", blocks)
    kiwi.sentences("먼저 모형을 읽는다.")
    for name, work in {
        "split at 400": lambda: split(part, 400),
        "Kiwi on all": lambda: [kiwi.sentences(text[block.start : block.end]) for block in blocks],
        "split at 400 again": lambda: split(part, 400),
    }.items():
        start = time.process_time()
        work()
        seconds = time.process_time() - start
        print(f"{name:20} {len(text.encode()) / 1e6 / seconds:6.2f} MB per CPU-second")


if __name__ == "__main__":
    main()
