"""Write OLE compound files and HWP 5 documents, as plainly as it goes (MS-CFB version 3; HWP 5.0 revision 1.3)."""

from __future__ import annotations

import struct
import zlib

SECTOR = 512
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def ole(streams: dict[str, bytes]) -> bytes:
    """A compound file; names may hold one "/". Streams are padded to 4,096 bytes, so that none is a mini stream."""
    entries, bodies = _entries(streams)
    num_directory = -(-len(entries) // 4)
    sizes = [len(body) // SECTOR for body in bodies]
    num_fat = 1
    while num_fat * 128 < num_fat + num_directory + sum(sizes):
        num_fat += 1
    assert num_fat <= 109
    fat = [_FAT] * num_fat
    starts = []
    for size in (num_directory, *sizes):
        starts.append(len(fat))
        fat += [*range(len(fat) + 1, len(fat) + size), _END]
    fat += [_FREE] * (num_fat * 128 - len(fat))
    names = dict(zip(streams, starts[1:], strict=True))
    directory = b"".join(_entry(*entry, start=names.get(path, _END), size=size) for *entry, path, size in entries)
    directory += b"\0" * (num_directory * SECTOR - len(directory))
    header = struct.pack("<8s16xHHHHH6xIIIIIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6, 0,
                         num_fat, num_directory and starts[0], 0, 4096, _END, 0, _END, 0)  # fmt: skip
    header += struct.pack("<109I", *range(num_fat), *[_FREE] * (109 - num_fat))
    return header + struct.pack(f"<{len(fat)}I", *fat) + directory + b"".join(bodies)


def _entries(streams: dict[str, bytes]) -> tuple[list[tuple[str, int, int, int, str, int]], list[bytes]]:
    """(name, type, right sibling, child, path, size) of every directory entry; siblings are a chain."""
    storages = list(dict.fromkeys(path.split("/")[0] for path in streams if "/" in path))
    top = [*storages, *(path for path in streams if "/" not in path)]
    order = [*top, *(path for path in streams if "/" in path)]
    place = {path: number for number, path in enumerate(order, start=1)}
    bodies = [data + b"\0" * (max(4096, -(-len(data) // SECTOR) * SECTOR) - len(data)) for data in streams.values()]
    sizes = dict(zip(streams, map(len, bodies), strict=True))
    entries = [("Root Entry", 5, _FREE, 1, "", 0)]
    for path in order:
        group = top if "/" not in path else [other for other in order if other.startswith(path.split("/")[0] + "/")]
        later = group[group.index(path) + 1 :]
        inside = [other for other in order if other.startswith(path + "/")]
        kind, child = (1, place[inside[0]]) if path in storages else (2, _FREE)
        right = place[later[0]] if later else _FREE
        entries.append((path.split("/")[-1], kind, right, child, path, sizes.get(path, 0)))
    return entries, bodies


def _entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
    raw = name.encode("utf-16-le") + b"\0\0"
    return struct.pack("<64sHBBIII36xIQ", raw, len(raw), kind, 1, _FREE, right, child, start, size)


def record(tag: int, level: int, data: bytes) -> bytes:
    """A record of a HWP stream."""
    size = min(len(data), 0xFFF)
    head = struct.pack("<I", tag | level << 10 | size << 20)
    return head + (struct.pack("<I", len(data)) if size == 0xFFF else b"") + data


def paragraph(text: str, level: int = 0, style: int = 0, shape: int = 0, controls: bytes = b"") -> bytes:
    """A paragraph: its header, its text, and the records of its controls."""
    data = text.encode("utf-16-le") + b"\r\0"
    head = struct.pack("<IIHBBHHHI", len(data) // 2, 0, shape, style, 0, 0, 0, 0, 0)
    return record(66, level, head) + record(67, level + 1, data) + controls


def control(kind: bytes, level: int, inside: bytes = b"") -> bytes:
    """A control such as b"tbl " or b"fn  " and what stands in it."""
    return record(71, level, kind[::-1] + b"\0" * 4) + inside


def table(rows: list[list[str]], level: int = 1) -> bytes:
    """A table as control of a paragraph one level above."""
    cells = b"".join(
        record(72, level + 1, struct.pack("<HHIHHHH", 1, 0, 0, column, row, 1, 1)) + paragraph(text, level + 1)
        for row, texts in enumerate(rows)
        for column, text in enumerate(texts)
    )
    return control(b"tbl ", level, record(77, level + 1, struct.pack("<IHH", 0, len(rows), len(rows[0]))) + cells)


def hwp(*sections: bytes, flags: int = 1, styles: tuple[str, ...] = ("바탕글", "개요 1", "개요 2")) -> bytes:
    """A HWP 5 document of packed sections."""

    def packed(data: bytes) -> bytes:
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        return packer.compress(data) + packer.flush() if flags & 1 else data

    header = struct.pack("<32sII216x", b"HWP Document File", 0x05000300, flags)
    names = [struct.pack("<H", len(name)) + name.encode("utf-16-le") + b"\0" * 10 for name in styles]
    info = record(25, 0, b"\0" * 50) + record(25, 0, struct.pack("<I", 1 << 23 | 1 << 25)) + b"".join(
        record(26, 0, name) for name in names
    )  # fmt: skip
    body = {f"BodyText/Section{number}": packed(section) for number, section in enumerate(sections)}
    return ole({"FileHeader": header, "DocInfo": packed(info), **body})
