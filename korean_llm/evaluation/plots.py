"""Plots of the report as inline SVG: text stays text, colours are the page's own, so that dark mode holds."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Colours that stand for the page's CSS variables; they are replaced in the finished SVG.
_COLOURS = {
    "ink": "#010203",
    "soft": "#010204",
    "grid": "#010205",
    "base": "#010206",
    "extended": "#010207",
    "adapted": "#010208",
    "tuned": "#010209",
    "ko": "#01020a",
    "en": "#01020b",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "korean-llm",
    "text.parse_math": False,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": _COLOURS["grid"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _COLOURS["grid"],
    "grid.linewidth": 0.8,
    "text.color": _COLOURS["ink"],
    "axes.labelcolor": _COLOURS["soft"],
    "xtick.color": _COLOURS["grid"],
    "ytick.color": _COLOURS["grid"],
    "xtick.labelcolor": _COLOURS["soft"],
    "ytick.labelcolor": _COLOURS["soft"],
    "ytick.major.size": 0,
    "xtick.major.size": 3,
}
_WIDTH_IN = 4.2
_MEAN_STEPS = 5
SMOOTHED_FROM = 11
"""Curves of this many steps or more are drawn with their trailing mean."""


def loss_plot(section: dict[str, Any], name: str, colour: str, label: str) -> str:
    """Loss per step as a thin line, its trailing mean over some steps as a thick one, phases parted by lines.

    name: prefix of the element ids; colour: name of a CSS variable; label: what a screen reader says.
    """
    steps = [point["step"] for point in section["loss"]]
    loss = [point["loss"] for point in section["loss"]]

    def draw(axes: Axes) -> None:
        if len(loss) >= SMOOTHED_FROM:
            axes.plot(steps, loss, color=_COLOURS[colour], linewidth=1, alpha=0.35)
        axes.plot(steps, trailing_mean(loss), color=_COLOURS[colour], linewidth=2)
        _phase_lines(axes, section)
        _steps_axis(axes, "손실 (nat/토큰)")

    return _svg(draw, 2.6, name, label)


def trailing_mean(values: Sequence[float]) -> list[float]:
    """Mean of each value and up to four before it; short curves are left as they are."""
    if len(values) < SMOOTHED_FROM:
        return list(values)
    windows = [values[max(0, end - _MEAN_STEPS) : end] for end in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


def bits_plot(section: dict[str, Any], name: str, label: str) -> str:
    """Bits per byte during pretraining, a line per language, first and last value written out."""

    def draw(axes: Axes) -> None:
        for language, points in section["bits_per_byte"].items():
            steps = [point["step"] for point in points]
            values = [point["bits_per_byte"] for point in points]
            axes.plot(steps, values, color=_COLOURS[language], linewidth=2, marker="o", markersize=4)
            for index in sorted({0, len(points) - 1}):
                place = (steps[index], values[index])
                axes.annotate(f"{values[index]:.2f}", place, (0, 7), textcoords="offset points", ha="center")
        _phase_lines(axes, section)
        _steps_axis(axes, "비트/바이트")
        axes.margins(x=0.07, y=0.2)

    return _svg(draw, 2.6, name, label)


def models_plot(
    models: list[dict[str, Any]], names: dict[str, str], languages: dict[str, str], name: str, label: str
) -> str:
    """Bits per byte of every model as bars, a group per language.

    names: role → what the model is called; languages: language → what it is called.
    """
    measured = list(models[0]["bits_per_byte"])
    longest = max(model["bits_per_byte"][language] for model in models for language in measured)
    group = len(models) + 1.6

    def draw(axes: Axes) -> None:
        for start, language in enumerate(measured):
            axes.text(0, start * group, languages.get(language, language), va="center", color=_COLOURS["ink"])
            for number, model in enumerate(models, start=1):
                at, value = start * group + number, model["bits_per_byte"][language]
                axes.barh(at, value, height=0.7, color=_COLOURS[model["role"]])
                axes.text(-0.02 * longest, at, names[model["role"]], ha="right", va="center", color=_COLOURS["soft"])
                axes.text(value + 0.015 * longest, at, f"{value:.3f}", va="center")
        axes.set_ylim(-0.6, len(measured) * group - 1)
        _bars_axis(axes, longest)

    return _svg(draw, 0.29 * group * len(measured), name, label, left=0.31)


def fertility_plot(section: dict[str, Any], name: str, label: str) -> str:
    """Tokens per eojeol of every source before and after, as pairs of bars."""
    sources = section["sources"]

    def draw(axes: Axes) -> None:
        longest = max(value for row in sources.values() for value in row["tokens_per_eojeol"].values())
        for number, (source, row) in enumerate(sources.items()):
            at = 3.0 * number
            axes.text(0, at - 0.62, source, va="bottom", color=_COLOURS["soft"])
            for place, role in enumerate(("base", "extended")):
                value = row["tokens_per_eojeol"][role]
                axes.barh(at + 0.85 * place, value, height=0.72, color=_COLOURS[role])
                axes.text(value + 0.015 * longest, at + 0.85 * place, f"{value:.2f}", va="center")
        axes.set_ylim(-1.4, 3 * len(sources) - 1.4)
        _bars_axis(axes, longest)

    return _svg(draw, 0.4 + 0.78 * len(sources), name, label, left=0.03)


def curve_plot(section: dict[str, Any], name: str, label: str) -> str:
    """Tokens per eojeol of Korean against the number of new tokens; first and last value written out."""
    points, eojeols = section["curve"], section["total"]["eojeols"]
    sizes = [point["new_tokens"] for point in points]
    values = [point["held_out_tokens"] / eojeols for point in points]

    def draw(axes: Axes) -> None:
        axes.plot(sizes, values, color=_COLOURS["extended"], linewidth=2, marker="o", markersize=4)
        for index in sorted({0, len(points) - 1}):
            place = (sizes[index], values[index])
            axes.annotate(f"{values[index]:.2f}", place, (0, 7), textcoords="offset points", ha="center")
        axes.text(0, 1.05, "어절당 토큰", transform=axes.transAxes, color=_COLOURS["soft"])
        axes.set_xlabel("새 토큰 수")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=False, axis="x")
        axes.margins(x=0.07, y=0.2)

    return _svg(draw, 2.6, name, label)


def _phase_lines(axes: Axes, section: dict[str, Any]) -> None:
    for phase in section.get("phases", [])[1:]:
        axes.axvline(phase["first_step"] - 0.5, color=_COLOURS["soft"], linewidth=1, linestyle=(0, (3, 3)))


def _steps_axis(axes: Axes, quantity: str) -> None:
    axes.text(0, 1.05, quantity, transform=axes.transAxes, color=_COLOURS["soft"])
    axes.set_xlabel("단계(step)")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="x")


def _bars_axis(axes: Axes, longest: float) -> None:
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.17)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _svg(draw: Callable[[Axes], None], height_in: float, name: str, label: str, *, left: float = 0.1) -> str:
    """Draw on one pair of axes and return the <svg> element, ready to stand in a page."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The browser draws the text; that Matplotlib's own font has no Hangul does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(_WIDTH_IN, height_in))
        FigureCanvasSVG(figure)
        margins = (0.18, 0.87) if left == 0.1 else (0.02, 0.98)
        figure.subplots_adjust(left=left, right=0.97, bottom=margins[0], top=margins[1])
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _page_svg(file.getvalue(), name, label)


def _page_svg(text: str, name: str, label: str) -> str:
    """Turn a stand-alone SVG file into an element of a page: no metadata, ids of its own, colours by CSS variable."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    for colour, value in _COLOURS.items():
        text = text.replace(value, f"var(--{colour})")
    box = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg role="img" aria-label="{escape(label)}" {box[0] if box else ""}>'
    return head + re.sub(r"^<svg[^>]*>", "", text)
