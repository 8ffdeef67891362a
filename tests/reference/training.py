"""Learning tokens in processes of their own, to compare their time and memory: ours, `sentencepiece`, `tokenizers`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass

# Not getrusage's ru_maxrss: Linux hands that of the parent on to the process it starts.
_START = """
def peak():
    with open("/proc/self/status") as status:
        return next(line.split()[1] for line in status if line.startswith("VmHWM"))
imported, start = peak(), time.process_time()
"""
_END = """
print(time.process_time() - start, imported, peak())"""
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
    input={lines!r}, model_prefix={out!r}, vocab_size={size}, model_type="bpe", num_threads=1, minloglevel=2)"""
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
"""Python programs that print CPU seconds after their imports, peak KiB before and at the end; to be formatted."""


@dataclass(frozen=True)
class Cost:
    """Wall seconds of a whole process, CPU seconds after its imports, its peak resident MiB, and this less imports."""

    process_s: float
    learning_s: float
    peak_mib: float
    growth_mib: float


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*map(astuple, costs), strict=True)))


def in_a_process(source: str, **places: object) -> Cost:
    """Run one of WAYS. Raises CalledProcessError where it fails."""
    program = source.format(**{key: value if key == "size" else str(value) for key, value in places.items()})
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    wall, (seconds, imported, peak) = time.perf_counter() - start, map(float, done.stdout.split()[-3:])
    return Cost(wall, seconds, peak / 1024, (peak - imported) / 1024)
