"""Stage `rejection_sampling`: best of n. The best-scored answer to each prompt becomes an instruction corpus.

Answers are appended to a file prompt by prompt, so a killed run goes on with the next prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korean_llm import console
from korean_llm.artifact import hash_file
from korean_llm.chat import Chat
from korean_llm.corpus.card import CARD
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.recipe import RejectionSamplingSettings
from korean_llm.training import tuning
from korean_llm.training.examples import Prompt, read_prompts
from korean_llm.training.judge import Judge
from korean_llm.training.sampling import answered, draw, open_tuned
from korean_llm.training.split import fits

CORPUS = "corpus"
_ROWS = "instructions.jsonl"
_ANSWERS = "answers.jsonl"


def run(
    settings: RejectionSamplingSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int
) -> dict[str, Any]:
    """Write out/corpus: a card and one row a prompt, which `load_card` and an `instruction` section read.

    inputs: "model" and, where it was tuned with one, "adapter" draw the answers; "reward" scores them.
    An answer that was cut, or is empty, is not kept. Raises KoreanLLMError where a row does not fit, or no answer ends.
    """
    section = "rejection_sampling"
    prompts = read_prompts(settings.data, settings.max_prompts, section)
    chat = tuning.open_tokenizer(inputs)
    fitting, too_long = fits(prompts, chat, settings.max_prompt_tokens, section)
    checkpoints = out / tuning.CHECKPOINTS
    checkpoints.mkdir(exist_ok=True)
    path = checkpoints / _ANSWERS
    known = whole_rows(path)
    if missing := [prompt for prompt in fitting if prompt.place not in known]:
        _answer_all(missing, len(known), path, settings, inputs, chat, machine, seed)
        known = whole_rows(path)
    rows = [(prompt, known[prompt.place]) for prompt in fitting]
    kept = [(prompt, row) for prompt, row in rows if row["answers"]]
    if not kept:
        raise KoreanLLMError(
            f"the model ended no answer to any of {len(rows)} prompts; tune it on instructions first, or raise"
            " rejection_sampling.max_answer_tokens."
        )
    write_corpus(out / CORPUS, kept)
    tuning.finish(out, too_long)
    return {
        "counts": {
            "prompts": len(fitting),
            "rows": len(kept),
            "unanswered": len(rows) - len(kept),
            "too_long": len(too_long),
        },
        "metrics": {
            "mean_score_of_all": _mean([score for _, row in kept for score in row["scores"]]),
            "mean_score_of_best": _mean([max(row["scores"]) for _, row in kept]),
        },
    }


def _answer_all(
    prompts: list[Prompt],
    num_known: int,
    path: Path,
    settings: RejectionSamplingSettings,
    inputs: dict[str, Path],
    chat: Chat,
    machine: Machine,
    seed: int,
) -> None:
    """Draw and score the answers to every prompt, and append them to the file as they come."""
    model = open_tuned(inputs["model"] / "model", tuning.adapter_of(inputs), machine)
    judge = Judge.open(inputs["model"] / "model", inputs["reward"] / "adapter", machine)
    if num_known:
        console.note(f"rejection_sampling: {num_known:,} prompts are answered already, {len(prompts):,} are left")
    with path.open("a", encoding="utf-8") as file:
        for prompt in console.progress(prompts, "rejection_sampling: answers", len(prompts)):
            drawn = draw(model, chat, prompt, settings, seed)
            said = list(dict.fromkeys(answer.text for answer in drawn if answer.text and answer.ended))
            scores = judge.score([answered(prompt.messages, answer) for answer in said])
            row = {"place": prompt.place, "answers": said, "scores": scores}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()


def whole_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Place → row of every whole line; a line that a kill tore is cut off."""
    if not path.exists():
        return {}
    whole, _, torn = path.read_bytes().rpartition(b"\n")
    if torn:
        path.write_bytes(whole + b"\n" if whole else b"")
    rows = [json.loads(line) for line in whole.decode().split("\n") if line]
    return {row["place"]: row for row in rows}


def write_corpus(folder: Path, kept: list[tuple[Prompt, dict[str, Any]]]) -> None:
    """The corpus: each prompt with its best answer, the score beside it."""
    folder.mkdir(exist_ok=True)
    (folder / _ROWS).write_text("".join(_lines(kept)), encoding="utf-8")
    (folder / CARD).write_text(
        "title: best of several answers of a tuned model, by a reward model's score\n"
        "kind: instructions\nlanguage: ko\nlicence: that of the prompts and of the model that answered\n"
        f"source: written by the stage rejection_sampling\nfiles: {{{_ROWS}: {hash_file(folder / _ROWS)}}}\n"
        f"counts: {{rows: {len(kept)}, bytes: {(folder / _ROWS).stat().st_size}}}\n",
        encoding="utf-8",
    )


def _lines(kept: list[tuple[Prompt, dict[str, Any]]]) -> Iterator[str]:
    for number, (prompt, row) in enumerate(kept):
        score, answer = max(zip(row["scores"], row["answers"], strict=True))
        messages = answered(prompt.messages, answer)
        # Numbered: prompts of two corpora may bear the same id.
        yield (
            json.dumps(
                {"id": f"{number}-{prompt.id}", "messages": messages, "score": round(score, 4)}, ensure_ascii=False
            )
            + "\n"
        )


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)
