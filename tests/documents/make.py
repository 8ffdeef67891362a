"""Real files of every kind, built in the test process."""

from __future__ import annotations

import io
import zipfile
from xml.sax.saxutils import escape

from docx import Document as Docx
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

_HP = 'xmlns:hp="http://www.hancom.co.kr/hwpml/2011/paragraph" xmlns:hs="http://www.hancom.co.kr/hwpml/2011/section"'
_HH = 'xmlns:hh="http://www.hancom.co.kr/hwpml/2011/head"'


def zipped(members: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        for name, data in members.items():
            package.writestr(name, data)
    return file.getvalue()


def docx(headings: dict[str, list[str]], rows: list[list[str]] | None = None) -> bytes:
    document = Docx()
    for heading, paragraphs in headings.items():
        document.add_heading(heading, level=1)
        for paragraph in paragraphs:
            document.add_paragraph(paragraph)
    if rows:
        table = document.add_table(len(rows), len(rows[0]))
        for row, texts in zip(table.rows, rows, strict=True):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def p(text: str, inside: str = "", style: int = 0) -> str:
    """A paragraph of a .hwpx."""
    return f'<hp:p styleIDRef="{style}"><hp:run><hp:t>{escape(text)}</hp:t>{inside}</hp:run></hp:p>'


def tbl(rows: list[list[str]]) -> str:
    """A table of a .hwpx."""
    cells = ("".join(f"<hp:tc><hp:subList>{p(text)}</hp:subList></hp:tc>" for text in row) for row in rows)
    return "<hp:tbl>" + "".join(f"<hp:tr>{row}</hp:tr>" for row in cells) + "</hp:tbl>"


def hwpx(*sections: str, manifest: str = "<manifest/>") -> bytes:
    styles = '<hh:style id="0" name="바탕글"/><hh:style id="1" name="개요 1" engName="Outline 1"/>'
    members: dict[str, str | bytes] = {
        "mimetype": "application/hwp+zip",
        "META-INF/manifest.xml": manifest,
        "Contents/header.xml": f"<hh:head {_HH}>{styles}</hh:head>",
    }
    for number, section in enumerate(sections):
        members[f"Contents/section{number}.xml"] = f"<hs:sec {_HP}>{section}</hs:sec>"
    return zipped(members)


def pdf(pages: list[list[tuple[str, float]]], password: str | None = None) -> bytes:
    """Pages of (line, type size), set in a Korean CID font as Adobe's Korean pack names it."""
    pdfmetrics.registerFont(UnicodeCIDFont("HYSMyeongJo-Medium"))
    file = io.BytesIO()
    canvas = Canvas(file, A4, encrypt=password)
    for lines in pages:
        height = 780.0
        for text, size in lines:
            canvas.setFont("HYSMyeongJo-Medium", size)
            canvas.drawString(60, height, text)
            height -= 1.6 * size
        if not lines:
            canvas.rect(60, 60, 200, 200, fill=1)
        canvas.showPage()
    canvas.save()
    return file.getvalue()
