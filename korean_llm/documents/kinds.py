"""What a file is, by its content; its name decides only between kinds of plain text."""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO, Literal

import olefile

from korean_llm.documents.text import is_binary, marked_encoding
from korean_llm.errors import KoreanLLMError

Kind = Literal["txt", "md", "html", "pdf", "docx", "hwp", "hwpx", "csv", "jsonl"]

SUFFIXES: dict[str, Kind] = {
    ".txt": "txt",
    ".text": "txt",
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
    ".hwp": "hwp",
    ".hwpx": "hwpx",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
MAX_FILE_BYTES = 512 * 1024 * 1024
_READ = "txt, md, html, pdf, docx, hwp, hwpx, csv and jsonl files are read"
_PLAIN = ("txt", "md", "csv", "jsonl")
_SAMPLE_BYTES = 65_536
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_OTHERS = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"BM", "a BMP picture"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"{\\rtf", "an RTF document"),
    (b"HWP Document File V", "an old HWP 3 document; open it in Hangul and save it as HWP 5 or HWPX"),
    (b"<?xml", "an XML file"),
)


def sniff(path: Path) -> Kind:
    """The kind of a file by its content. Raises KoreanLLMError in one sentence for what is not read."""
    with open_file(path) as file:
        return kind_of(file, path)


def check_name(path: Path, name: str | None = None) -> Kind:
    """The kind of an uploaded file; name is what its sender called it.

    Raises KoreanLLMError where the content is of another kind than the name says, or of none that is read.
    """
    shown = Path(name or path.name)
    said = SUFFIXES.get(shown.suffix.lower())
    if said is None:
        raise KoreanLLMError(f"{shown.name} has the ending {shown.suffix or 'of no kind'!r}; {_READ}.")
    with open_file(path) as file:
        found = kind_of(file, shown)
    if said != found:
        raise KoreanLLMError(f"{shown.name} is {found} by its content, not {said}; give it its right ending, .{found}.")
    return found


def open_file(path: Path) -> BinaryIO:
    """Open a regular file. Raises KoreanLLMError where it is missing, a folder, a device, a loop, or too large."""
    try:
        status = path.stat()  # before opening: to open a pipe waits for its other end
        if stat.S_ISDIR(status.st_mode):
            raise KoreanLLMError(f"{path} is a folder; give its files, or walk it with find_files.")
        if not stat.S_ISREG(status.st_mode):
            raise KoreanLLMError(f"{path} is a device or a pipe, not a file; give a regular file.")
        if status.st_size > MAX_FILE_BYTES:
            raise KoreanLLMError(f"{path} has {status.st_size:,} bytes, at most {MAX_FILE_BYTES:,} are read; split it.")
        return path.open("rb")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise KoreanLLMError(f"{path} cannot be opened ({why}); check the path and its permissions.") from None


def kind_of(file: BinaryIO, path: Path) -> Kind:
    """The kind of an open file, which is left at its beginning."""
    sample = file.read(_SAMPLE_BYTES)
    file.seek(0)
    if b"%PDF-" in sample[:1024]:
        return "pdf"
    if sample.startswith(b"PK\x03\x04"):
        return _zip_kind(file, path)
    if sample.startswith(olefile.MAGIC):
        return _ole_kind(file, path)
    if not marked_encoding(sample):
        what = next((what for magic, what in _OTHERS if sample.startswith(magic)), None)
        if what in ("an XML file", "a BMP picture", "a Windows program") and (
            _HTML.match(sample) or not is_binary(sample)
        ):
            what = None
        if what or is_binary(sample):
            raise KoreanLLMError(f"{path} is {what or 'no text, and no document known here'}; {_READ}.")
    said = SUFFIXES.get(path.suffix.lower(), "txt")
    if said == "html" or (said == "txt" and _HTML.match(_ascii(sample))):
        return "html"
    return said if said in _PLAIN else "txt"


def _ascii(sample: bytes) -> bytes:
    """The sample without the zeros and marks of UTF-16, for a look at its tags."""
    return sample.lstrip(b"\xef\xbb\xbf\xff\xfe").replace(b"\0", b"")


def _zip_kind(file: BinaryIO, path: Path) -> Kind:
    try:
        names = set(zipfile.ZipFile(file).namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise KoreanLLMError(f"{path} is a damaged zip package ({error}); fetch or save it again.") from None
    finally:
        file.seek(0)
    if "word/document.xml" in names:
        return "docx"
    if "Contents/header.xml" in names or "Contents/section0.xml" in names:
        return "hwpx"
    offices = {"xl/": "an Excel workbook", "ppt/": "a PowerPoint presentation", "content.xml": "an OpenDocument file"}
    found = (what for start, what in offices.items() if any(name.startswith(start) for name in names))
    raise KoreanLLMError(f"{path} is {next(found, 'a zip archive of other files')}; {_READ}.")


def _ole_kind(file: BinaryIO, path: Path) -> Kind:
    try:
        container = olefile.OleFileIO(file)
        if container.exists("FileHeader") and container.openstream("FileHeader").read(17) == b"HWP Document File":
            return "hwp"
        if container.exists("EncryptedPackage"):
            raise KoreanLLMError(f"{path} is protected by a password; save it without one and try again.")
        what = (
            "an old Word document (.doc); save it as .docx"
            if container.exists("WordDocument")
            else "an old Office file"
        )
    except (OSError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise KoreanLLMError(f"{path} is a damaged OLE file ({error}); fetch or save it again.") from None
    finally:
        file.seek(0)
    raise KoreanLLMError(f"{path} is {what}; {_READ}.")
