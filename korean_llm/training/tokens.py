"""The documents of a corpus as token ids on disk: written once as a stream, read through memory maps."""

from __future__ import annotations

import json
import shutil
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.corpus.documents import Document
from korean_llm.measure.bits import start_token

_BATCH_DOCUMENTS = 1_024
_IDS, _STARTS, _SOURCES, _NAMES = "tokens.bin", "starts.npy", "sources.npy", "documents.txt"


class Tokens:
    """Token ids of all documents of a corpus, one after the other; nothing of them is held in memory.

    ids: all ids, each document between its start and end token; starts: where each document begins, and the end, of
    shape (documents + 1,); sources: number of each document's source in `names`.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        self.folder = folder
        self.names: list[str] = about["sources"]
        self.starts = np.load(folder / _STARTS, mmap_mode="r")
        size = int(self.starts[-1])  # of which no memory map can be made where it is 0
        self.ids = np.memmap(folder / _IDS, dtype=about["dtype"], mode="r", shape=(size,)) if size else np.empty(0)
        self.sources = np.load(folder / _SOURCES, mmap_mode="r")

    def document_names(self, numbers: set[int]) -> dict[int, str]:
        """Number → id of documents. Reads the list of names from its start: meant for the rare fault."""
        with (self.folder / _NAMES).open(encoding="utf-8") as file:
            return {number: json.loads(line) for number, line in enumerate(file) if number in numbers}


def write_tokens(documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, folder: Path) -> Tokens:
    """Encode the documents into a folder, unless it stands complete already; encoding takes all cores of the process.

    The folder is written aside and renamed at the end.
    """
    if not folder.exists():
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        _write(documents, tokenizer, aside)
        aside.rename(folder)
    return Tokens(folder)


def _write(documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    dtype = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    starts, sources, names = array("q", [0]), array("H"), dict[str, int]()
    with (folder / _IDS).open("wb") as ids, (folder / _NAMES).open("w", encoding="utf-8") as lines:
        shown = console.progress(documents, "encoding documents")
        for document, encoded in _encoded(shown, tokenizer):
            ids.write(np.array(encoded, dtype=dtype).tobytes())
            starts.append(starts[-1] + len(encoded))
            sources.append(names.setdefault(document.source, len(names)))
            lines.write(json.dumps(document.id, ensure_ascii=False) + "\n")
    np.save(folder / _STARTS, np.frombuffer(starts, dtype=np.int64))
    np.save(folder / _SOURCES, np.frombuffer(sources, dtype=np.uint16))
    about = {"dtype": np.dtype(dtype).name, "sources": list(names)}
    (folder / "about.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def _encoded(documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[Document, list[int]]]:
    start, end = start_token(tokenizer), tokenizer.eos_token_id
    waiting = iter(documents)
    while batch := list(islice(waiting, _BATCH_DOCUMENTS)):
        texts = [document.text for document in batch]
        found = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        for document, ids in zip(batch, found, strict=True):
            yield document, [start, *ids, end]
