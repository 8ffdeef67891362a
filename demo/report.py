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


def report_tab(demo: Demo) -> gr.HTML:
    """Lay the tab out; the report itself is filled in when the tab is first opened."""
    path = demo.library.folder / REPORT
    with gr.Column(elem_classes="sheet whole"):
        shown = html("" if path.is_file() else nothing_html(demo.library.folder, demo.words), "report")
        if path.is_file():
            gr.DownloadButton(
                demo.words("report_download"), value=path, size="sm", elem_id="report-download", elem_classes="quiet"
            )
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
