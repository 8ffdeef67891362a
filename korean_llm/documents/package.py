"""Zip packages (docx, hwpx) read with bounded memory: members as streams, XML without a DTD, sizes checked twice."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from korean_llm.errors import KoreanLLMError

MAX_UNPACKED_BYTES = 256 * 1024 * 1024
"""Of all members read of one file together. Text of a million words is 10 to 20 MB of XML."""

MAX_MEMBERS = 20_000
MAX_DEPTH = 1_000
_BLOCK_BYTES = 1 << 16

Start = Callable[[str, dict[str, str]], None]


class Package:
    """An open zip whose members are read once, in blocks, until they have unpacked to more than a document may."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        """Raises KoreanLLMError where the zip is damaged or has more members than any document."""
        self.path = path
        self._unpacked_bytes = 0
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
            raise self._damaged(error) from None
        self.names = {name: name for name in self._zip.namelist()}
        if len(self.names) > MAX_MEMBERS:
            raise self._too_large(f"{len(self.names):,} members")

    def read(self, name: str, limit: int = 1 << 16) -> bytes:
        """The first `limit` bytes of a small member, none where it is missing."""
        if name not in self.names:
            return b""
        data = b""
        for block in self.blocks(name):
            data += block
            if len(data) >= limit:
                break
        return data[:limit]

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of a member. Raises KoreanLLMError where it is damaged, encrypted, or more than fits."""
        try:
            info = self._zip.getinfo(name)
            if info.flag_bits & 1:
                raise KoreanLLMError(f"{self.path} is protected by a password; save it without one and try again.")
            if self._unpacked_bytes + info.file_size > MAX_UNPACKED_BYTES:
                raise self._too_large(f"{info.file_size:,} bytes in {name}")
            with self._zip.open(info) as member:
                while block := member.read(_BLOCK_BYTES):
                    self._unpacked_bytes += len(block)
                    if self._unpacked_bytes > MAX_UNPACKED_BYTES:  # what the zip declares may be a lie
                        raise self._too_large(f"more than it declares in {name}")
                    yield block
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, KeyError) as error:
            raise self._damaged(error) from None

    def parse(self, name: str, start: Start, end: Callable[[str], None], text: Callable[[str], None]) -> Iterator[None]:
        """Parse an XML member block by block, yielding after each; names come without their namespace.

        Raises KoreanLLMError for XML that is not well-formed, has a document type (no such format uses one, and
        entities that grow need one), or is nested deeper than any document.
        """
        parser = expat.ParserCreate(namespace_separator="}")
        depth = 0

        def opened(tag: str, attributes: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > MAX_DEPTH:
                raise self._too_large(f"elements nested over {MAX_DEPTH:,} deep in {name}")
            start(_local(tag), {_local(key): value for key, value in attributes.items()})

        def closed(tag: str) -> None:
            nonlocal depth
            depth -= 1
            end(_local(tag))

        def refuse(*_: object) -> None:
            raise KoreanLLMError(f"{self.path} declares XML entities in {name}, which no real document does; refused.")

        parser.StartElementHandler, parser.EndElementHandler = opened, closed
        parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, refuse
        parser.buffer_text = True
        try:
            for block in self.blocks(name):
                parser.Parse(block, False)
                yield
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise self._damaged(error) from None
        yield

    def parse_all(self, name: str, start: Start) -> None:
        """Parse a small member of which only the elements and their attributes count; a missing one is empty."""
        if name in self.names:
            for _ in self.parse(name, start, lambda _: None, lambda _: None):
                pass

    def _damaged(self, error: Exception) -> KoreanLLMError:
        why = " ".join(str(error).split()) or type(error).__name__
        return KoreanLLMError(f"{self.path} is damaged ({why}); open and save it again, or fetch it again.")

    def _too_large(self, what: str) -> KoreanLLMError:
        return KoreanLLMError(
            f"{self.path} unpacks to {what}; at most {MAX_UNPACKED_BYTES:,} bytes and {MAX_MEMBERS:,} members are read."
        )


def _local(name: str) -> str:
    return name.rpartition("}")[2]
