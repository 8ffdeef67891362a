"""How the page looks: its theme, style sheet and script, none of which fetches anything."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes import Color

FONTS = ("Pretendard", "Noto Sans KR", "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic", "sans-serif")
STYLE_SHEETS = sorted(Path(__file__).with_name("look").glob("*.css"))
PAGE_SCRIPT = Path(__file__).with_name("page.js")

PINE = Color(
    name="pine",
    c50="#f2f6f5",
    c100="#e4efec",
    c200="#bfd6d0",
    c300="#94bab1",
    c400="#5f978b",
    c500="#2f7465",
    c600="#22594e",
    c700="#1f4c43",
    c800="#1b4039",
    c900="#17342f",
    c950="#0d1f1b",
)


def head(language: str) -> str:
    """What stands in the head of a page in a language."""
    return f'<script>document.documentElement.lang = "{language}";</script>'


def theme() -> gr.themes.Base:
    """Gradio's base theme in the page's color and the reader's own fonts."""
    return gr.themes.Base(
        primary_hue=PINE,
        secondary_hue=PINE,
        neutral_hue=gr.themes.colors.stone,
        font=FONTS,
        font_mono=("D2Coding", "monospace"),
    )
