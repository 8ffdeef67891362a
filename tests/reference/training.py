"""Learning tokens in processes of their own, to compare their time and memory: ours, `sentencepiece`, `tokenizers`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass

_OURS = """import sys, time
from pathlib import Path
{imports}
with open({documents!r}, encoding="utf-8") as file:
    start = time.perf_counter()
    texts = file.read().split("\\0")
{learn}
print(time.perf_counter() - start)"""

WAYS = {
    "sentencepiece": """import time, sentencepiece
start = time.perf_counter()
sentencepiece.SentencePieceTrainer.train(
    input={lines!r}, model_prefix={out!r}, vocab_size={size}, model_type="bpe", minloglevel=2)
print(time.perf_counter() - start)""",
    "tokenizers BpeTrainer": """import time
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
start = time.perf_counter()
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.train([{lines!r}], trainers.BpeTrainer(
    vocab_size=256 + {size}, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
tokenizer.save({out!r})
print(time.perf_counter() - start)""",
    "ours, learning": _OURS.replace(
        "{imports}",
        """from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.learned import learn
from korean_llm.vocabulary.families import family_of
from korean_llm.vocabulary.worth import TYPICAL""",
    ).replace(
        "{learn}",
        "learn(family_of(Path({base!r})), texts, VocabularySettings(new_tokens={size}), TYPICAL)",
    ),
    "ours, learning, writing and proving": _OURS.replace(
        "{imports}", "from korean_llm.vocabulary import extend\nextend.__doc__"
    ).replace("{learn}", "extend(Path({base!r}), texts, {size}, Path({out!r}))"),
}
"""Python programs that print the seconds they took after their imports; `str.format` fills in the places."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a whole process, seconds after its imports, and its peak resident memory in MiB."""

    process_s: float
    learning_s: float
    peak_mib: float


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
    return Cost(time.perf_counter() - start, float(output.split()[-1]), usage.ru_maxrss / 1024)
