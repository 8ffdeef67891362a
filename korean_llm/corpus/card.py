"""Corpus cards: what a corpus is, where it comes from, under which licence, and by which hashes it is known."""

from __future__ import annotations

import codecs
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from korean_llm.artifact import digest, hash_file
from korean_llm.errors import KoreanLLMError
from korean_llm.settings import Strict, parse, read_yaml

CARD = "card.yaml"
DATA_SUFFIXES = (".jsonl", ".jsonl.gz", ".json.gz", ".txt", ".txt.gz", ".md", ".parquet")

Kind = Literal["documents", "instructions", "preferences", "questions"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

FIELDS: dict[Kind, tuple[str, ...]] = {
    "documents": ("id", "title", "text"),
    "instructions": ("id", "instruction", "input", "output"),
    "preferences": ("id", "prompt", "chosen", "rejected"),
    "questions": ("id", "question", "document_id", "evidence", "answer"),
}


class WheelFiles(Strict):
    """Files inside a wheel on a PyPI index: path in the wheel → SHA-256."""

    package: str
    version: str
    files: dict[str, Sha256] = Field(min_length=1)
    encoding: str = Field(default="utf-8", description="Encoding of the files as they lie in the wheel.")
    platform: str | None = None

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            codecs.lookup(name)
        except LookupError:
            raise ValueError("expected an encoding that Python knows, such as utf-8 or cp949") from None
        return name


class HubDataset(Strict):
    """A data set on the Hugging Face Hub, streamed through `datasets`."""

    id: str
    revision: str = "main"
    subset: str | None = None
    split: str = "train"


class CardModel(Strict):
    """card.yaml as written. Exactly one of files, wheel, hub says where the rows are."""

    title: str
    kind: Kind
    language: Literal["ko", "en"]
    licence: str = Field(description="SPDX identifier, or the licence's own name and where it is stated.")
    source: str = Field(description="Who made it and where it stands.")
    files: dict[str, Sha256] | None = Field(default=None, description="File beside the card → SHA-256.")
    wheel: WheelFiles | None = None
    hub: HubDataset | None = None
    columns: dict[str, str] = Field(default={}, description="Field of this kind → column of the source.")
    counts: dict[str, int] = Field(default={}, description="Rows and bytes, where known.")
    note: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> CardModel:
        if sum(place is not None for place in (self.files, self.wheel, self.hub)) != 1:
            raise ValueError("expected exactly one of files, wheel, hub")
        return self


@dataclass(frozen=True)
class Card:
    """A card and the folder it stands in; for a bare data file, a card made for it."""

    name: str
    folder: Path
    model: CardModel

    @property
    def fingerprint(self) -> str:
        """Changes when the place, the hashes or the reading of the data change; prose fields do not count."""
        part = self.model.model_dump(mode="json", include={"kind", "language", "files", "wheel", "hub", "columns"})
        return digest(part)


def corpora_folders() -> list[Path]:
    """Where corpora are looked for by name: ./corpora, then the checkout this package stands in."""
    places = [Path("corpora").resolve(), Path(__file__).resolve().parents[2] / "corpora"]
    return list(dict.fromkeys(place for place in places if place.is_dir()))


def list_cards() -> list[str]:
    """Names of all corpora that have a card."""
    return sorted({path.parent.name for place in corpora_folders() for path in place.glob(f"*/{CARD}")})


def load_card(name: str | Path) -> Card:
    """Load a card by corpus name, by its folder, or make one for a bare data file.

    Raises KoreanLLMError where nothing of that name exists, or the card has errors.
    """
    text = str(name)
    if isinstance(name, Path) or text.startswith((".", "/", "~")):
        return _card_at(Path(text).expanduser())
    for place in corpora_folders():
        if (place / text / CARD).exists():
            return _card_at(place / text)
    known = list_cards()
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
    raise KoreanLLMError(f"no corpus is called {text!r}; {hint} (a path begins with ./ or /).")


def _card_at(path: Path) -> Card:
    if path.is_dir():
        if not (path / CARD).exists():
            raise KoreanLLMError(f"{path} holds no {CARD}; write one, or give the path of a data file.")
        model = parse(CardModel, read_yaml(path / CARD), str(path / CARD))
        return Card(path.name, path.resolve(), model)
    if not path.is_file():
        raise KoreanLLMError(f"corpus {path} does not exist; give a corpus name, a folder with {CARD} or a data file.")
    if not path.name.endswith(DATA_SUFFIXES):
        raise KoreanLLMError(f"{path} is of no known format; expected one of: {', '.join(DATA_SUFFIXES)}.")
    model = CardModel(
        title=path.name,
        kind="documents",
        language="ko",
        licence="unknown",
        source="local file",
        files={path.name: hash_file(path)},
    )
    return Card(path.name.split(".")[0], path.parent.resolve(), model)
