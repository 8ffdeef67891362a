"""Read .hwp 5 (OLE container of zlib-packed records; Hancom, "한글 문서 파일 형식 5.0", revision 1.3).

Paragraphs, headings by outline, tables, notes, text boxes, equations; headers, footers and comments are left out.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import olefile

from korean_llm.documents.document import Piece
from korean_llm.documents.flow import Flow
from korean_llm.documents.package import MAX_UNPACKED_BYTES
from korean_llm.errors import KoreanLLMError

PARA_SHAPE, STYLE, PARA_HEADER, PARA_TEXT, CTRL_HEADER, LIST_HEADER, TABLE, EQUATION = 25, 26, 66, 67, 71, 72, 77, 88
_PACKED, _PASSWORD, _DISTRIBUTION, _DRM, _CERTIFICATE = 1, 2, 4, 16, 256
_LEFT_OUT = {b"head", b"foot", b"tcmt", b"pgnp", b"pghd"}
_OUTLINE_STYLE = re.compile(r"(?:개요|outline|제목|heading)\s*([1-9])", re.IGNORECASE)
_MAX_OPEN = 1_000
# Characters below 32 stand alone, or take eight units of which six are data (table 6 of the format's description).
_ALONE = {0, 10, 13, 24, 25, 26, 27, 28, 29, 30, 31}
_MEANING = {9: "\t", 10: "\n", 24: "-", 30: "\u00a0", 31: " "}


@dataclass(frozen=True)
class Record:
    """A record of a stream: its tag, how deep it stands, its bytes."""

    tag: int
    level: int
    data: bytes


def pieces(file: BinaryIO, path: Path) -> Iterator[Piece]:
    """The text of a .hwp in reading order. Raises KoreanLLMError where it is damaged or protected."""
    try:
        with olefile.OleFileIO(file) as container:
            header = container.openstream("FileHeader").read(256)
            flags = struct.unpack_from("<I", header, 36)[0]
            _check_open(flags, path)
            streams = _Streams(container, bool(flags & _PACKED), path)
            levels = _heading_levels(streams.records("DocInfo"))
            sections = [entry for entry in container.listdir() if entry[0] == "BodyText" and entry[-1][7:].isdecimal()]
            for section in sorted(sections, key=lambda entry: int(entry[-1][7:])):
                yield from _section(streams.records("/".join(section)), levels, path)
    except (OSError, struct.error, zlib.error, IndexError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise KoreanLLMError(f"{path} is damaged ({why}); open and save it again, or fetch it again.") from None


def _check_open(flags: int, path: Path) -> None:
    if flags & (_PASSWORD | _CERTIFICATE | _DRM):
        raise KoreanLLMError(f"{path} is protected by a password; save it without one and try again.")
    if flags & _DISTRIBUTION:
        raise KoreanLLMError(
            f"{path} is a locked distribution copy (배포용 문서), whose text its author closed; ask for the original."
        )


class _Streams:
    """The streams of a container, unpacked block by block up to a limit for all of them together."""

    def __init__(self, container: olefile.OleFileIO, packed: bool, path: Path) -> None:
        self._container, self._packed, self._path = container, packed, path
        self._unpacked_bytes = 0

    def records(self, name: str) -> Iterator[Record]:
        """The records of a stream in order. Raises struct.error or zlib.error where they break off."""
        buffer = bytearray()
        at = 0
        for block in self._blocks(name):
            del buffer[:at]
            buffer += block
            at = 0
            while (sized := _size(buffer, at)) and sized[1] <= len(buffer):
                begin, end = sized
                word = int.from_bytes(buffer[at : at + 4], "little")
                yield Record(word & 0x3FF, word >> 10 & 0x3FF, bytes(buffer[begin:end]))
                at = end
        if at < len(buffer) and any(buffer[at:]):
            raise struct.error(f"{name} breaks off within a record")

    def _blocks(self, name: str) -> Iterator[bytes]:
        stream = self._container.openstream(name)
        unpack = zlib.decompressobj(-15)
        while data := stream.read(1 << 16):
            while data:
                block = unpack.decompress(data, 1 << 18) if self._packed else data
                data = unpack.unconsumed_tail if self._packed else b""
                self._unpacked_bytes += len(block)
                if self._unpacked_bytes > MAX_UNPACKED_BYTES:
                    raise KoreanLLMError(
                        f"{self._path} unpacks to over {MAX_UNPACKED_BYTES:,} bytes, too many to read."
                    )
                yield block
        if self._packed and not unpack.eof and (rest := unpack.flush()):
            yield rest


def _size(buffer: bytearray, at: int) -> tuple[int, int] | None:
    """Where the data of the record at `at` begins and ends; None while its header is not whole."""
    if len(buffer) < at + 4:
        return None
    size = int.from_bytes(buffer[at : at + 4], "little") >> 20
    if size < 0xFFF:
        return at + 4, at + 4 + size
    if len(buffer) < at + 8:
        return None
    return at + 8, at + 8 + int.from_bytes(buffer[at + 4 : at + 8], "little")


def _heading_levels(records: Iterator[Record]) -> tuple[dict[int, int], dict[int, int]]:
    """({paragraph shape: level}, {style: level}) of the shapes and styles that are headings."""
    by_shape: dict[int, int] = {}
    by_style: dict[int, int] = {}
    num_shapes = num_styles = 0
    for record in records:
        if record.tag == PARA_SHAPE:
            attributes = struct.unpack_from("<I", record.data)[0]
            if attributes >> 23 & 3 == 1:
                by_shape[num_shapes] = (attributes >> 25 & 7) + 1
            num_shapes += 1
        elif record.tag == STYLE:
            size = struct.unpack_from("<H", record.data)[0]
            found = _OUTLINE_STYLE.match(record.data[2 : 2 + 2 * size].decode("utf-16-le", "replace"))
            if found:
                by_style[num_styles] = int(found[1])
            num_styles += 1
    return by_shape, by_style


def _section(records: Iterator[Record], levels: tuple[dict[int, int], dict[int, int]], path: Path) -> Iterator[Piece]:
    reader = _Reader(levels)
    for record in records:
        reader.read(record)
        if reader.flow.depth > _MAX_OPEN:
            raise KoreanLLMError(f"{path} nests tables or boxes over {_MAX_OPEN:,} deep, which no real document does.")
        yield from reader.flow.take()
    reader.close(0)
    yield from reader.flow.take()


@dataclass
class _Open:
    """What is open at a level: "paragraph", "table" or "cell"; number is a heading's level or a table's row."""

    kind: str
    level: int
    number: int = 0
    has_cells: bool = False


class _Reader:
    def __init__(self, levels: tuple[dict[int, int], dict[int, int]]) -> None:
        self.flow = Flow()
        self._by_shape, self._by_style = levels
        self._open: list[_Open] = []
        self._left_out: int | None = None  # level of the control whose inside is left out

    def read(self, record: Record) -> None:
        """Take the next record of the section."""
        if self._left_out is not None and record.level > self._left_out:
            return
        self._left_out = None
        if record.tag == PARA_HEADER:
            self._paragraph(record)
        elif record.tag == PARA_TEXT:
            self.flow.text(characters(record.data))
        elif record.tag == CTRL_HEADER:
            self._control(record)
        elif record.tag == TABLE and self._open and self._open[-1].kind == "table":
            self._open[-1].has_cells = True
        elif record.tag == LIST_HEADER:
            self._list(record)
        elif record.tag == EQUATION and len(record.data) >= 6:
            size = struct.unpack_from("<H", record.data, 4)[0]
            self.flow.text(" " + record.data[6 : 6 + 2 * size].decode("utf-16-le", "replace"))

    def close(self, level: int, cells_at: int | None = None) -> None:
        """Close what is open at `level` and deeper; cells only from `cells_at`, as their paragraphs share a level."""
        while self._open:
            last = self._open[-1]
            if last.level < (cells_at if last.kind == "cell" and cells_at is not None else level):
                return
            self._open.pop()
            if last.kind == "paragraph":
                self.flow.end_paragraph(last.number)
            elif last.kind == "cell":
                self.flow.end_cell()
            elif last.number >= 0:
                self.flow.end_row()

    def _paragraph(self, record: Record) -> None:
        self.close(record.level, cells_at=record.level + 1)
        shape, style = struct.unpack_from("<HB", record.data, 8)
        self._open.append(_Open("paragraph", record.level, self._by_style.get(style) or self._by_shape.get(shape, 0)))
        self.flow.start_paragraph()

    def _control(self, record: Record) -> None:
        self.close(record.level)
        kind = record.data[:4][::-1]
        if kind in _LEFT_OUT:
            self._left_out = record.level
        elif kind == b"tbl ":
            self._open.append(_Open("table", record.level, -1))

    def _list(self, record: Record) -> None:
        """A list of paragraphs: a cell where it stands in a table behind its TABLE record, else a box or caption."""
        self.close(record.level)
        table = self._open[-1] if self._open else None
        if table is None or table.kind != "table" or not table.has_cells or len(record.data) < 12:
            return
        row = struct.unpack_from("<H", record.data, 10)[0]
        if row != table.number:
            if table.number >= 0:
                self.flow.end_row()
            self.flow.start_row()
            table.number = row
        self._open.append(_Open("cell", record.level))
        self.flow.start_cell()


def characters(data: bytes) -> str:
    """The text of a PARA_TEXT record, its controls taken out or turned into the white space they mean."""
    parts: list[str] = []
    units = struct.unpack(f"<{len(data) // 2}H", data[: len(data) // 2 * 2])
    start = at = 0
    while at < len(units):
        unit = units[at]
        if unit < 32:
            parts += (data[2 * start : 2 * at].decode("utf-16-le", "replace"), _MEANING.get(unit, ""))
            at += 1 if unit in _ALONE else 8
            start = at
        else:
            at += 1
    return "".join([*parts, data[2 * start :].decode("utf-16-le", "replace")])
