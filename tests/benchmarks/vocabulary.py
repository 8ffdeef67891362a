"""Vocabulary extension measured on the tokenizers of real models, and side by side with what others do.

    python tests/benchmarks/vocabulary.py [table] [bars] [compression] [peers] [learning]      (without a name: all)

table: tokens per eojeol on held-out Korean of four registers, before and after, for recipes/README.md.
bars: old text untouched on a million lines without Hangul, Korean decoded alike, every token reached.
compression: tokens on held-out Korean, Llama-2 and SmolLM2, learned from a general mixture and from law and prose.
peers: `add_tokens` and SentencePiece pieces merged, with the same number of tokens: tokens and encoding speed.
learning: time and memory of learning 8,000 tokens, against bare `sentencepiece` and `tokenizers`.

Prints Markdown. Learns from 16 MB of Korean (see learning_texts in tests/real_texts.py); what is measured is held out.
Needs ../shared/data beside the checkout. --lines, --korean-lines and --bytes make it smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from korean_llm.errors import KoreanLLMError
from korean_llm.hangul import eojeols
from tests import real_texts
from tests.real_tokenizers import NAMES, NotReachableError, real_tokenizer
from tests.reference import peers, training
from tests.vocabulary import compare

SIZES = (2_000, 8_000, 16_000)
LEARNED = 8_000
MOST = 16_384
SPEED_BYTES = 1_000_000
"""Korean of each register that speed is measured on, at most."""
PROVED = ("SmolLM2", "Llama-2", "Llama-3", "Qwen3")


Encode = Callable[[list[str]], object]


class Bench:
    """The settings of one run, its scratch folder, and the extensions made so far."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options, self.scratch = options, scratch
        self.registers = real_texts.held_out(options.held_out_bytes)
        self.failed: list[str] = []

    @cache  # noqa: B019 - one bench a process
    def learning_texts(self, mixture: str = "general") -> list[str]:
        max_bytes = self.options.bytes * (1 if mixture == "general" else 4)
        return real_texts.learning_texts(max_bytes, mixture)

    @cache  # noqa: B019
    def other_lines(self, count: int) -> list[tuple[str, str]]:
        return list(islice(real_texts.other_lines(), count))

    def english(self, count: int) -> list[str]:
        """English documents of the data folder."""
        names = ("cncf_glossary", "opensource_guide", "hf_course_en", "fastapi_en")
        return [row["text"] for name in names for row in real_texts.rows(f"english/{name}")][:count]

    @cache  # noqa: B019
    def korean_lines(self) -> list[str]:
        return list(islice(real_texts.korean_lines(), self.options.korean_lines))

    @cache  # noqa: B019
    def base(self, name: str) -> Path | None:
        try:
            return real_tokenizer(name)
        except NotReachableError as error:
            print(f"\n{name} is skipped: {error}")
            return None

    @cache  # noqa: B019
    def extended(self, name: str, num_tokens: int) -> Path | str:
        """The proved extension's folder, or the sentence it was refused with."""
        from korean_llm.vocabulary import extend

        out, base = self.scratch / f"{name}-{num_tokens}", self.base(name)
        assert base is not None
        try:
            extend(base, self.learning_texts(), num_tokens, out)
        except KoreanLLMError as error:
            return str(error)
        return out

    @cache  # noqa: B019
    def first_tokens(self, name: str, mixture: str = "general") -> Callable[[int], Tokenizer]:
        """Number → the tokenizer with so many of the tokens learned once: they are what a shorter learning gives."""
        from korean_llm.recipe import VocabularySettings
        from korean_llm.vocabulary.families import family_of
        from korean_llm.vocabulary.learned import learn
        from korean_llm.vocabulary.worth import TYPICAL

        folder = self.base(name)
        assert folder is not None
        family, settings = family_of(folder), VocabularySettings(new_tokens=MOST)
        merges = learn(family, self.learning_texts(mixture), settings, TYPICAL).merges
        return lambda size: Tokenizer.from_str(
            json.dumps(family.extended(merges[:size], family.first_id + size), ensure_ascii=False)
        )

    def judge(self, figure: str, holds: bool, bar: str) -> str:
        """A cell of the bars table; a bar that does not hold is also said at the end."""
        if not holds:
            self.failed.append(f"{figure}, bar {bar}")
        return f"{'yes' if holds else '**no**'} | {bar}"


def loaded(folder: Path) -> Tokenizer:
    """The tokenizer as transformers loads it."""
    return compare.load(folder).backend_tokenizer


def num_tokens(tokenizer: Tokenizer, texts: list[str]) -> int:
    return sum(map(len, compare.ids(tokenizer, texts)))


def fertility(tokenizer: Tokenizer, texts: list[str]) -> float:
    return num_tokens(tokenizer, texts) / sum(len(eojeols(text)) for text in texts)


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*cells: str) -> None:
    row(*cells)
    row(*["---"] * len(cells))


def count_changed(base: Tokenizer, extended: Tokenizer, lines: Iterator[tuple[str, str]]) -> tuple[Counter, list[str]]:
    """Lines checked by kind, and those whose ids changed."""
    checked: Counter[str] = Counter()
    wrong: list[str] = []
    while part := list(islice(lines, 20_000)):
        checked.update(kind for kind, _ in part)
        wrong += compare.changed(base, extended, [line for _, line in part])
    return checked, wrong


def table(bench: Bench) -> None:
    """Fertility of every model and register, before and after, with the lines without Hangul checked beside it."""
    lines = bench.other_lines(bench.options.table_lines)
    print(f"\nTokens per eojeol on held-out Korean, learned from {bench.options.bytes / 1e6:.0f} MB:\n")
    head("model", "new tokens", *bench.registers, f"of {len(lines):,} lines without Hangul, changed")
    for name in NAMES:
        if (folder := bench.base(name)) is None:
            continue
        base = compare.backend(folder)
        row(name, "–", *(f"{fertility(base, texts):.2f}" for texts in bench.registers.values()), "")
        tokenizer_of = bench.first_tokens(name)
        for size in SIZES:
            extended = tokenizer_of(size)
            _, wrong = count_changed(base, extended, iter(lines))
            figures = (f"{fertility(extended, texts):.2f}" for texts in bench.registers.values())
            row(name, f"{size:,}", *figures, len(wrong))


def bars(bench: Bench) -> None:
    """What the project promises, each with the figure found."""
    print("\nOld text (8,000 new tokens each):\n")
    head("model", "what", "checked", "found", "holds", "bar")
    for name in bench.options.models:
        if (folder := bench.base(name)) is None:
            continue
        found = bench.extended(name, LEARNED)
        if isinstance(found, str):
            row(name, f"refused: {found}", "", "", "", "")
            bench.failed.append(f"{name}: {found}")
            continue
        _prove(bench, name, folder, found)
    print("\n" + ("All bars hold." if not bench.failed else "Not held: " + "; ".join(bench.failed)))


def _prove(bench: Bench, name: str, base_folder: Path, folder: Path) -> None:
    first, second = compare.load(base_folder), compare.load(folder)
    base, extended = first.backend_tokenizer, second.backend_tokenizer
    old, new = compare.special_ids(first), compare.special_ids(second)
    moved = [key for key in old if old[key] != new.get(key)] + [key for key in new if key not in old]
    _proved(bench, name, "special tokens", len(old), moved)
    checked, wrong = count_changed(base, extended, iter(bench.other_lines(bench.options.lines)))
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(checked.items()))
    _proved(bench, name, f"ids of lines without Hangul ({kinds})", checked.total(), wrong)
    tokens = compare.new_tokens(base, extended)
    korean = [*bench.korean_lines(), *islice(real_texts.mixed_strings(), 20_000), *compare.soups(tokens, 20_000)]
    wrong = [line for lines in compare.batches(korean) for line in compare.differently_decoded(base, extended, lines)]
    _proved(bench, name, "Korean lines decoded as by the base", len(korean), wrong)
    if (folder / "tokenizer.model").exists():
        lines = [line for _, line in bench.other_lines(bench.options.lines)[:200_000]] + korean
        lines = [line for line in lines if compare.same_in_sentencepiece(line)]
        _proved(
            bench, name, "ids of tokenizer.model and tokenizer.json", len(lines), compare.disagreeing(folder, lines)
        )
    _proved(bench, name, "new tokens reached", len(tokens), compare.unreachable(extended, tokens))


def _proved(bench: Bench, name: str, what: str, total: int, wrong: list) -> None:
    row(name, what, f"{total:,}", len(wrong), bench.judge(f"{name}, {what}: {len(wrong)}", not wrong, "0"))
    for example in wrong[:3]:
        print(f"  counter-example: {example!r}", file=sys.stderr)


def compression(bench: Bench) -> None:
    """Tokens on held-out Korean against what is asked; news is of a register that nothing was learned from."""
    every = [text for texts in bench.registers.values() for text in texts]
    prose = bench.registers["novels"] + bench.registers["news"]
    print("\nCompression on held-out Korean:\n")
    head("model", "new tokens", "learned from", "text", "figure", "holds", "bar")
    llama = bench.base("Llama-2")
    for size, bar in ((8_192, 0.50), (MOST, 0.46)) if llama else ():
        base, extended = compare.backend(llama), bench.first_tokens("Llama-2")(size)
        for register, texts in {"all registers": every, **bench.registers}.items():
            figure = num_tokens(extended, texts) / num_tokens(base, texts)
            what = f"Llama-2, {size:,} tokens, {register}: {figure:.3f} × base"
            holds = bench.judge(what, figure <= bar, f"≤ {bar:.2f} × base")
            row("Llama-2", f"{size:,}", "general", register, f"{figure:.3f} × base", holds)
    for mixture in real_texts.MIXTURES if bench.base("SmolLM2") else ():
        extended = bench.first_tokens("SmolLM2", mixture)(LEARNED)
        for what, texts, bar in (("novels and news", prose, 2.4), ("rulings", bench.registers["rulings"], 2.0)):
            figure = fertility(extended, texts)
            holds = bench.judge(f"SmolLM2, {mixture}, {what}: {figure:.3f}", figure <= bar, f"≤ {bar}")
            row("SmolLM2", f"{LEARNED:,}", mixture, what, f"{figure:.3f} tokens per eojeol", holds)


def compare_peers(bench: Bench) -> None:
    """Tokens and encoding speed of ours and of the ways people use, with equally many tokens."""
    file = bench.scratch / "learn.txt"
    file.write_text("\n".join(bench.learning_texts()), encoding="utf-8")
    model = peers.train_sentencepiece(file, 2 * LEARNED, bench.scratch / "peer")
    pieces = peers.korean_pieces(model)
    english = bench.english(400)
    every = [text for texts in bench.registers.values() for text in real_texts.cut_to(texts, SPEED_BYTES)]
    for name in ("SmolLM2", "Llama-2"):
        if (folder := bench.base(name)) is None:
            continue
        ours = bench.extended(name, LEARNED)
        merge = peers.merge_into_proto if name == "Llama-2" else peers.merge_as_byte_level
        place = bench.scratch / f"peers-{name}"
        ways = {
            "base": folder,
            "ours": ours if isinstance(ours, Path) else None,
            "SentencePiece pieces merged": merge(folder, pieces, LEARNED, place / "merged"),
            "add_tokens, pieces": peers.add_pieces(folder, pieces, LEARNED, place / "pieces"),
            "add_tokens, eojeols": peers.add_eojeols(folder, bench.learning_texts(), LEARNED, place / "eojeols"),
        }
        tokenizers = {way: loaded(path) for way, path in ways.items() if path is not None}
        # transformers makes another tokenizer of a tokenizer.model alone: what changed is counted against that one.
        old = dict.fromkeys(tokenizers, tokenizers["base"])
        if name == "Llama-2":
            old["SentencePiece pieces merged"] = loaded(merge(folder, [], 0, place / "model-alone"))
        speed = _speeds(bench, {way: path for way, path in ways.items() if path}, every, english)
        print(f"\n{name}, {LEARNED:,} tokens; speed per byte against the base, interleaved, median of rounds:\n")
        head("way", "new tokens", *bench.registers, "all, × base", *speed, "changed")
        lines = bench.other_lines(bench.options.table_lines)
        for way, tokenizer in tokenizers.items():
            _, wrong = count_changed(old[way], tokenizer, iter(lines))
            row(
                way,
                f"{tokenizer.get_vocab_size() - tokenizers['base'].get_vocab_size():,}",
                *(f"{fertility(tokenizer, texts):.3f}" for texts in bench.registers.values()),
                f"{num_tokens(tokenizer, every) / num_tokens(tokenizers['base'], every):.3f}",
                *(f"{found[way]:.2f}" for found in speed.values()),
                f"{len(wrong):,} of {len(lines):,}",
            )
        if "ours" not in tokenizers:
            print(f"\nours: {ours}")
            continue
        print()
        for what, bar in (("Korean, transformers", 1.3), ("English, transformers", 0.9)):
            found = speed[what]["ours"]
            holds = bench.judge(f"{name}, speed {what}: {found:.2f}", found >= bar, f"≥ {bar}")
            print(f"ours, speed {what}: {found:.2f} | {holds}")


def _speeds(bench: Bench, ways: dict[str, Path], korean: list[str], english: list[str]) -> dict[str, dict[str, float]]:
    opened = {way: compare.load(path) for way, path in ways.items()}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    found = {}
    for language, texts in (("Korean", korean), ("English", english)):
        for library, through in (("transformers", through_transformers), ("tokenizers", through_tokenizers)):
            encoders = {way: through(tokenizer) for way, tokenizer in opened.items()}
            found[f"{language}, {library}"] = speeds(encoders, texts, bench.options.rounds)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    return found


def speeds(tokenizers: dict[str, Encode], texts: list[str], rounds: int) -> dict[str, float]:
    """Speed of each against "base" on one thread: the ways take turns, and the median of the ratios of turns counts."""
    times: dict[str, list[float]] = {way: [] for way in tokenizers}
    for _ in range(rounds + 1):
        for way, encode in tokenizers.items():
            start = time.process_time()
            encode(texts)
            times[way].append(time.process_time() - start)
    # The first turn fills caches of words.
    return {
        way: statistics.median(base / own for base, own in zip(times["base"][1:], found[1:], strict=True))
        for way, found in times.items()
    }


def through_transformers(tokenizer: PreTrainedTokenizerBase) -> Encode:
    """Document by document, as training and serving do."""
    return lambda texts: [tokenizer(text)["input_ids"] for text in texts]


def through_tokenizers(tokenizer: PreTrainedTokenizerBase) -> Encode:
    return lambda texts: compare.ids(tokenizer.backend_tokenizer, texts)


def learning(bench: Bench) -> None:
    """Time and memory of learning, each way in a process of its own, in turn."""
    lines = bench.scratch / "lines.txt"
    lines.write_text("\n".join(bench.learning_texts()), encoding="utf-8")
    turns: dict[str, list[training.Cost]] = {}
    for turn in range(bench.options.rounds):
        for way, source in training.WAYS.items():
            for name in ("SmolLM2", "Llama-2") if way.startswith("ours") else ("",):
                place = {"lines": lines, "base": bench.base(name) if name else ""}
                out = bench.scratch / f"learned-{turn}-{name}-{len(turns)}"
                cost = training.in_a_process(source, size=LEARNED, out=out, **place)
                turns.setdefault(f"{way} {name}".strip(), []).append(cost)
    print(
        f"\nLearning {LEARNED:,} tokens from {lines.stat().st_size / 1e6:.1f} MB, median of {bench.options.rounds}:\n"
    )
    head(
        "way", "process s", "CPU s after imports", "peak MiB", "less imports MiB", "× sentencepiece", "× BpeTrainer", ""
    )
    middle = {way: training.median(costs) for way, costs in turns.items()}
    for way, cost in middle.items():
        wall = cost.learning_s / middle["sentencepiece"].learning_s
        trainer = middle["tokenizers BpeTrainer"]
        peak, growth = cost.peak_mib / trainer.peak_mib, cost.growth_mib / trainer.growth_mib
        holds = ""
        if way.startswith("ours"):
            first = bench.judge(f"{way}: {wall:.2f} × sentencepiece's time", wall <= 1.5, "≤ 1.5")
            second = bench.judge(f"{way}: {peak:.2f} × BpeTrainer's memory", peak <= 0.5, "≤ 0.5")
            holds = f"{first}, {second}".replace(" |", "")
        figures = f"{cost.process_s:.2f}", f"{cost.learning_s:.2f}", f"{cost.peak_mib:.0f}", f"{cost.growth_mib:.0f}"
        row(way, *figures, f"{wall:.2f}", f"{peak:.2f}, less imports {growth:.2f}", holds)


PARTS: dict[str, Callable[[Bench], None]] = {
    "table": table,
    "bars": bars,
    "compression": compression,
    "peers": compare_peers,
    "learning": learning,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="one of the above; all without a name")
    parser.add_argument("--models", nargs="+", choices=PROVED, default=PROVED, help="for `bars`")
    parser.add_argument("--bytes", type=int, default=16_000_000, help="Korean text to learn from")
    parser.add_argument("--held-out-bytes", type=int, default=4_000_000, help="of each register, at most")
    parser.add_argument("--lines", type=int, default=1_050_000, help="lines without Hangul for `bars`")
    parser.add_argument("--korean-lines", type=int, default=205_000, help="Korean lines for `bars`")
    parser.add_argument("--table-lines", type=int, default=100_000, help="lines without Hangul for `table`, `peers`")
    parser.add_argument("--rounds", type=int, default=5, help="turns of a timing")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"unknown {', '.join(sorted(unknown))}; expected {', '.join(PARTS)}")
    if not real_texts.DATA.is_dir():
        print(f"skipped: {real_texts.DATA} is not there")
        return
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.processor() or platform.machine()},", end=" ")
    print(f"{os.cpu_count()} cores: python tests/benchmarks/vocabulary.py {' '.join(sys.argv[1:])}")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(options, scratch)
        for part in options.parts or PARTS:
            PARTS[part](bench)
    for failed in bench.failed:
        print(f"bar not held: {failed}", file=sys.stderr)


if __name__ == "__main__":
    main()
