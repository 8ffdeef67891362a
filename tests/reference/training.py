"""Learning tokens in processes of their own, to compare their time and memory: ours, `sentencepiece`, `tokenizers`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass

_START = """
import resource
imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
"""
_END = """
print(time.perf_counter() - start, imported)"""
_LEARN = (
    """import time
from pathlib import Path
from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.families import family_of
from korean_llm.vocabulary.learned import learn
from korean_llm.vocabulary.worth import TYPICAL"""
    + _START
    + """with open({lines!r}, encoding="utf-8") as lines:
    settings = VocabularySettings(new_tokens={size}, kiwi_weight=KIWI)
    learn(family_of(Path({base!r})), lines, settings, TYPICAL)"""
    + _END
)

WAYS = {
    "sentencepiece": """import time, sentencepiece"""
    + _START
    + """sentencepiece.SentencePieceTrainer.train(
    input={lines!r}, model_prefix={out!r}, vocab_size={size}, model_type="bpe", minloglevel=2)"""
    + _END,
    "tokenizers BpeTrainer": """import time
from tokenizers import Tokenizer, models, pre_tokenizers, trainers"""
    + _START
    + """tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.train([{lines!r}], trainers.BpeTrainer(
    vocab_size=256 + {size}, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
tokenizer.save({out!r})"""
    + _END,
    "ours": _LEARN.replace("KIWI", "0"),
    "ours, scored by Kiwi": _LEARN.replace("KIWI", "0.5"),
}
"""Python programs that print seconds after their imports and peak KiB before; `str.format` fills in the places."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a whole process, seconds after its imports, its peak resident memory in MiB, and this less imports."""

    process_s: float
    learning_s: float
    peak_mib: float
    growth_mib: float


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*map(astuple, costs), strict=True)))


def in_a_process(source: str, **places: object) -> Cost:
    """Run one of WAYS. Raises RuntimeError where it fails."""
    program = source.format(**{key: value if key == "size" else str(value) for key, value in places.items()})
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        # Popen would wait without asking for the memory used.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"a way of learning ended with {process.returncode}")
    wall, (seconds, imported) = time.perf_counter() - start, map(float, output.split()[-2:])
    return Cost(wall, seconds, usage.ru_maxrss / 1024, (usage.ru_maxrss - imported) / 1024)
