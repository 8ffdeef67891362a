"""Read HTML by lexbor: visible text, headings, tables; scripts, styles and hidden templates are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from korean_llm.documents.document import Piece
from korean_llm.documents.flow import Flow

CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{1,40})", re.IGNORECASE)
_LEFT_OUT = {"script", "style", "noscript", "template", "head", "svg", "iframe", "object", "select", "textarea"}
# fmt: off
_INLINE = {
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img",
    "input", "ins", "kbd", "label", "mark", "q", "ruby", "rb", "rp", "rt", "s", "samp", "small", "span", "strike",
    "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
}
# fmt: on
_SPACE = re.compile(r"[ \t\n\r\f]+")


def title(tree: LexborHTMLParser) -> str:
    """The text of <title>, or nothing."""
    node = tree.css_first("title")
    return " ".join(node.text().split()) if node else ""


def pieces(tree: LexborHTMLParser) -> Iterator[Piece]:
    """The visible text in document order. The tree is walked without recursion: hostile pages nest without end."""
    reader = _Reader()
    root = tree.body or tree.root
    node = root
    while node is not None:
        if reader.enter(node) and node.child is not None:
            node = node.child
            continue
        while node is not None:
            reader.leave(node)
            if root is not None and node.mem_id == root.mem_id:
                node = None
            elif node.next is not None:
                node = node.next
                break
            else:
                node = node.parent
        yield from reader.flow.take()
    reader.finish()
    yield from reader.flow.take()


class _Reader:
    def __init__(self) -> None:
        self.flow = Flow()
        self._parts: list[str] = []
        self._preserve = 0

    def enter(self, node: LexborNode) -> bool:
        """A node begins; whether its children are to be read."""
        tag = node.tag or ""
        if node.is_text_node:
            text = node.text_content or ""
            self._parts.append(text if self._preserve else _SPACE.sub(" ", text))
        elif tag in _LEFT_OUT:
            return False
        elif tag == "br":
            self._parts.append("\n")
        elif tag not in _INLINE:
            self._flush()
            self._preserve += tag == "pre"
            if tag == "tr":
                self.flow.start_row()
            elif tag in ("td", "th"):
                self.flow.start_cell()
        return not node.is_text_node

    def leave(self, node: LexborNode) -> None:
        """A node ends."""
        tag = node.tag or ""
        if node.is_text_node or tag in _INLINE or tag in _LEFT_OUT or tag == "br":
            return
        self._flush(int(tag[1]) if re.fullmatch("h[1-6]", tag) else 0)
        self._preserve -= tag == "pre"
        if tag == "tr":
            self.flow.end_row()
        elif tag in ("td", "th"):
            self.flow.end_cell()

    def finish(self) -> None:
        """The page ends."""
        self._flush()
        self.flow.close()

    def _flush(self, level: int = 0) -> None:
        """End the paragraph that the text since the last block makes."""
        text = "".join(self._parts)
        self._parts = []
        if not self._preserve:
            text = "\n".join(_SPACE.sub(" ", line).strip() for line in text.split("\n"))
        if text.strip():
            self.flow.start_paragraph()
            self.flow.text(text)
            self.flow.end_paragraph(level)
