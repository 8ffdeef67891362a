"""The page: self-contained, escaped, well-formed, and nothing but what report.json says."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from korean_llm.evaluation.report import render
from korean_llm.evaluation.summary import model_rows
from tests.evaluation.conftest import HOSTILE, SmallRun

VOID = {"meta", "link", "br", "img", "input", "hr"}
FETCHING = {"src", "srcset", "href", "xlink:href", "data", "poster", "action", "background"}


class Page(HTMLParser):
    """Collects tags, text and every attribute that could fetch something; fails on tags that do not close."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.targets: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.targets += [(tag, value or "") for name, value in attrs if name in FETCHING]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_well_formed_with_all_sections_and_plots(small_run: SmallRun) -> None:
    page = Page(small_run.page)
    assert len(page.ids) == len(set(page.ids))
    sections = {"summary", "models", "vocabulary", "training", "generations", "export", "retrieval", "artifacts"}
    assert sections <= set(page.ids)
    assert page.tags.count("svg") == 6


def test_the_page_fetches_nothing(small_run: SmallRun) -> None:
    page = Page(small_run.page)
    assert {"script", "img", "iframe", "object", "embed"}.isdisjoint(page.tags)
    assert not re.search(r"https?:", small_run.page)
    assert not re.search(r"@import|url\((?!#)", small_run.page)
    stages = {f"../{role}/manifest.json" for role in small_run.inputs}
    links = {target for tag, target in page.targets if tag == "a" and not target.startswith("#")}
    assert links == stages | {"report.json", "manifest.json"}
    inside = {target[1:] for tag, target in page.targets if target.startswith("#")}
    assert inside <= set(page.ids)
    assert {target for tag, target in page.targets if tag not in ("a", "use")} == {"data:,"}
    assert "default-src 'none'" in small_run.page


def test_hostile_text_is_shown_and_not_run(small_run: SmallRun) -> None:
    page = Page(small_run.page)
    assert "script" not in page.tags and "i" not in page.tags
    assert "<script" not in small_run.page
    assert page.text.count(HOSTILE) >= 1
    assert "prose<i>ko" in page.text
    assert "<b>알 수 없는</b> zzz" in page.text


def test_hostile_generation_is_escaped(small_run: SmallRun) -> None:
    report = small_run.report
    report["generations"][0]["answers"][0]["text"] = HOSTILE
    report["base"] = report["name"] = "<img src=x onerror=alert(1)>"
    page = Page(render(report))
    assert "img" not in page.tags
    assert page.text.count(HOSTILE) == Page(small_run.page).text.count(HOSTILE) + 1


def test_the_page_is_a_function_of_the_json(small_run: SmallRun) -> None:
    assert render(small_run.report) == small_run.page


def test_the_page_shows_the_figures_of_the_json(small_run: SmallRun) -> None:
    report, page = small_run.report, Page(small_run.page)
    rows = model_rows(report)
    for model, row in zip(report["models"], rows, strict=True):
        for language, value in model["bits_per_byte"].items():
            assert row["bits_per_byte"][language] == f"{value:.3f}"
            assert f"{value:.3f}" in page.text
            change = model["change_from_base"][language]
            sign = "" if abs(round(change, 3)) == 0 else "+" if change > 0 else "−"
            assert model["role"] == "base" or f"{sign}{abs(change):.1%}" in page.text
        assert f"{model['tokens_per_eojeol']:.2f}" in page.text
    for metrics in report["retrieval"]["arms"].values():
        assert f"{metrics['ndcg@10']:.3f}" in page.text
    for row in report["artifacts"]:
        assert row["fingerprint"][:12] in page.text
    for sentence in report["summary"]:
        assert sentence["text"] in page.text


def test_plots_take_the_colours_of_the_page(small_run: SmallRun) -> None:
    drawn = re.findall(r"<svg role=.*?</svg>", small_run.page, flags=re.DOTALL)
    assert len(drawn) == 6
    for svg in drawn:
        colours = set(re.findall(r"(?:fill|stroke): ?([^;\"]+)", svg))
        assert colours <= {"none"} | {value for value in colours if value.startswith("var(--")}
        assert "<text" in svg and "xmlns" not in svg
