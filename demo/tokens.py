"""The tab that draws where a tokenizer cuts a text, before and after its extension."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import gradio as gr

from demo.escape import escaped
from demo.parts import AT_ONCE, Demo, html
from demo.words import Words
from korean_llm.answering.tokens import MAX_CHARS, Chip, Cut, cut
from korean_llm.modeling.load import load_tokenizer

NUM_COLORS = 5


def tokens_tab(demo: Demo) -> None:
    """Lay the tab out and wire it."""
    words = demo.words
    folders = tokenizers(demo)
    with gr.Column(elem_classes="sheet"):
        html(f'<p class="lead">{escaped(words("tokens_hint"))}</p>', "tokens-lead")
        text = gr.Textbox(
            words("tokens_example"),
            label=words("tokens_label"),
            lines=3,
            max_lines=8,
            max_length=MAX_CHARS,
            elem_id="tokens-text",
        )
        show = gr.Button(words("tokens_show"), variant="primary", elem_id="tokens-show")
        drawn = html(f'<p class="empty">{escaped(words("tokens_empty"))}</p>', "tokens")

    def draw(text: str) -> str:
        cuts = [cut(_tokenizer(folder), text) for folder in folders]
        return cuts_html(cuts, words, shortened=len(text) >= MAX_CHARS)

    show.click(draw, text, drawn, **AT_ONCE)
    text.submit(draw, text, drawn, **AT_ONCE)


def tokenizers(demo: Demo) -> list[Path]:
    """The folders of the run's tokenizers: before its extension and after, or the one it has."""
    offered = [place.model for place in demo.library.models.offered.values()]
    extended = demo.library.folder / "vocabulary" / "model"
    later = [extended] if (extended / "tokenizer.json").is_file() else offered[1:2]
    first = offered[:1]
    if first and later and (first[0] / "tokenizer.json").read_bytes() == (later[0] / "tokenizer.json").read_bytes():
        return first
    return first + later


_tokenizer = cache(load_tokenizer)


def cuts_html(cuts: list[Cut], words: Words, *, shortened: bool = False) -> str:
    """Every cut with its figures, and how many tokens the last saves against the first."""
    if not cuts:
        return f'<p class="empty">{escaped(words("tokens_none"))}</p>'
    if not cuts[0].chips:
        return f'<p class="empty">{escaped(words("tokens_empty"))}</p>'
    names = ("tokens_before", "tokens_after") if len(cuts) > 1 else ("tokens_only",)
    parts = [_cut_html(found, words(name), words) for found, name in zip(cuts, names, strict=True)]
    if len(cuts) > 1:
        parts.insert(0, f'<p class="saved">{escaped(_saved(cuts[0], cuts[-1], words))}</p>')
    notes = [words("tokens_legend")] if any(chip.parts for found in cuts for chip in found.chips) else []
    notes += [words("tokens_cut", count=MAX_CHARS)] if shortened else []
    parts += [f'<p class="hint">{escaped(note)}</p>' for note in notes]
    return f'<div role="status">{"".join(parts)}</div>'


def _saved(before: Cut, after: Cut, words: Words) -> str:
    percent = 100 * (before.num_tokens - after.num_tokens) / before.num_tokens
    key = "tokens_same" if round(percent) == 0 else "tokens_saved" if percent > 0 else "tokens_more"
    return words(key, percent=abs(percent))


def _cut_html(found: Cut, name: str, words: Words) -> str:
    figures = (
        (f"{found.num_tokens:,}", words("tokens_count")),
        (f"{found.fertility:.2f}", words("tokens_fertility")),
        (f"{found.bytes_per_token:.2f}", words("tokens_bytes")),
    )
    numbers = "".join(f"<span><b>{value}</b> {escaped(label)}</span>" for value, label in figures)
    chips, at = [], 0
    for chip in found.chips:
        chips.append(_chip_html(chip, at))
        at += len(chip.parts) or 1
    return (
        f'<section class="cut"><h2>{escaped(name)}</h2><div class="figures">{numbers}</div>'
        f'<div class="chips">{"".join(chips)}</div></section>'
    )


def _chip_html(chip: Chip, at: int) -> str:
    """One token in the color of its number; where several make up one stretch, the stretch over their bytes."""
    text = _visible(chip.text)
    after = "<br>" if "\n" in chip.text else ""
    if not chip.parts:
        return f'<span class="chip c{at % NUM_COLORS}">{text}</span>{after}'
    cells = "".join(
        f'<i class="c{(at + number) % NUM_COLORS}">{part.hex(" ").upper() or "–"}</i>'
        for number, part in enumerate(chip.parts)
    )
    return f'<span class="chip shared"><span>{text}</span><span class="bytes">{cells}</span></span>{after}'


def _visible(text: str) -> str:
    """White space as signs that can be seen."""
    signs = text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")
    return escaped(signs)
