"""The tab that shows the run's report, in a frame that may run nothing and reach nothing."""

from __future__ import annotations

import html as standard
from pathlib import Path

import gradio as gr

from demo.escape import escaped
from demo.parts import Demo, html
from demo.words import Words
from korean_llm.run_folder import RECIPE_COPY

REPORT = Path("evaluation") / "report.html"
ADDRESS = "report.html"
"""Where the server hands the report out, to be saved and not to be opened as a page of its own."""


def report_tab(demo: Demo) -> gr.HTML:
    """Lay the tab out; the report itself is filled in when the tab is first opened."""
    there = (demo.library.folder / REPORT).is_file()
    with gr.Column(elem_classes="sheet whole"):
        shown = html("" if there else nothing_html(demo.library.folder, demo.words), "report")
        if there:
            name = escaped(demo.words("report_download"))
            html(f'<a class="button" href="../{ADDRESS}" download>{name}</a>', "report-download")
    return shown


def framed(folder: Path, words: Words) -> str:
    """The report in a sandboxed frame, or how to make one."""
    path = folder / REPORT
    if not path.is_file():
        return nothing_html(folder, words)
    page = standard.escape(path.read_text(encoding="utf-8"), quote=True)
    return f'<iframe sandbox title="{escaped(words("report_frame"))}" srcdoc="{page}"></iframe>'


def nothing_html(folder: Path, words: Words) -> str:
    """Says that there is no report, and the command that makes one."""
    command = f"korean-llm run {folder / RECIPE_COPY} --out {folder} --from evaluation"
    return (
        f'<div class="empty"><b>{escaped(words("report_none"))}</b><p>{escaped(words("report_command"))}</p>'
        f"<code>{escaped(command)}</code></div>"
    )
