"""The verb `ask`: a question, or the next one of a conversation, answered from a run's documents."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from korean_llm import console
from korean_llm.cli_options import DeviceOption, EndpointModelOption, JsonOption, print_json
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine

if TYPE_CHECKING:
    from korean_llm.answering.answer import Answer, Answerer, Piece, Request, Step, Turn

STEPS = {"rewrite": "고쳐 읽음", "search": "찾음", "open": "열어 봄", "calculate": "계산함"}


def add_verbs(app: typer.Typer) -> None:
    """Give the command line the verb `ask`."""
    app.command()(ask)


def ask(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, for instance runs/quickstart.")],
    question: Annotated[str, typer.Argument(help="A question, in Korean; - reads it from standard input.")],
    mode: Annotated[
        str, typer.Option("--mode", help="extractive, generative, or auto: what the run's model is good for.")
    ] = "auto",
    agent: Annotated[
        bool, typer.Option("--agent", help="Let the model search again, open documents and calculate; shows its steps.")
    ] = False,
    history: Annotated[
        Path | None, typer.Option("--history", metavar="FILE", help="Conversation (JSON) to go on with; grows.")
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, max=2, help="0 takes the likeliest word each time.")
    ] = 0.0,
    top_p: Annotated[
        float, typer.Option("--top-p", min=0, max=1, help="Draw from the likeliest words that hold this share.")
    ] = 1.0,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Longest answer; by default what the machine bears.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="OpenAI-compatible base URL for the generative mode.")
    ] = None,
    model: EndpointModelOption = None,
    four_bit: Annotated[bool, typer.Option("--four-bit", help="Hold the model in 4-bit NF4; needs a GPU.")] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Answer a question from a run's documents, with numbered citations.

    Examples: `korean-llm ask runs/quickstart "도서관은 몇 시에 닫나요?"`,
    `korean-llm ask runs/quickstart "그럼 일요일은요?" --history talk.json`
    """
    from korean_llm.answering.answer import Request, Sampling
    from korean_llm.answering.writing.generate import checked_sampling

    turns = read_history(history) if history else ()
    sampling = checked_sampling(Sampling(temperature, top_p, max_new_tokens))
    answerer = _open(folder, mode, Machine(device, four_bit=four_bit), endpoint, model, agent=agent)
    asked = Request(_typed(question), turns, sampling)
    answer = _print_json(answerer, asked) if as_json else _print_text(answerer, asked)
    if history:
        _grow(history, turns, answer)


def _open(
    folder: Path, mode: str, machine: Machine, endpoint: str | None, model: str | None, *, agent: bool
) -> Answerer:
    """The answerer of a mode. Raises KoreanLLMError, also where an agent is asked for in the extractive mode."""
    from korean_llm.answering.agent.answerer import AgentAnswerer
    from korean_llm.answering.generative import GenerativeAnswerer
    from korean_llm.answering.library import open_answerer

    if agent and mode == "extractive":
        raise KoreanLLMError("--agent needs a model that writes; leave --mode extractive out.")
    answerer = open_answerer(folder, "generative" if agent else mode, machine, endpoint=endpoint, model=model)
    if agent and isinstance(answerer, GenerativeAnswerer):
        return AgentAnswerer(answerer.index, answerer.generator, answerer.notice)
    return answerer


def _typed(question: str) -> str:
    """The question as given, or read from standard input: a command line holds 128 KB at most."""
    if question != "-":
        return question
    return sys.stdin.buffer.read().decode("utf-8", errors="replace")


def _timed(pieces: Iterator[Piece], seconds: dict[str, float]) -> Iterator[Piece]:
    """The pieces; seconds to the first text and to the end are put down."""
    start = time.perf_counter()
    for piece in pieces:
        if piece.text:
            seconds.setdefault("first_s", round(time.perf_counter() - start, 4))
        yield piece
    seconds["whole_s"] = round(time.perf_counter() - start, 4)


def _print_json(answerer: Answerer, asked: Request) -> Answer:
    seconds: dict[str, float] = {}
    *_, last = _timed(answerer.stream(asked), seconds)
    assert last.answer is not None  # stream promises it
    value: dict[str, Any] = {**last.answer.as_dict(), "first_s": None, **seconds}
    print_json(value)
    return last.answer


def _print_text(answerer: Answerer, asked: Request) -> Answer:
    """Text and sources on standard output as they come; steps and the notice on standard error."""
    answer = None
    for piece in answerer.stream(asked):
        if piece.step:
            console.note(_line(piece.step))
        sys.stdout.write(piece.text)
        sys.stdout.flush()
        answer = piece.answer or answer
    assert answer is not None  # stream promises it
    sys.stdout.write("\n" + "".join(f"    {line}\n" for line in answer.source_lines))
    console.note(answer.notice)
    return answer


def _line(step: Step) -> str:
    return f"{STEPS[step.kind]}: {step.asked} → {step.found}"


def read_history(path: Path) -> tuple[Turn, ...]:
    """The turns of a conversation file, none where it does not exist yet. Raises KoreanLLMError for another file."""
    from korean_llm.answering.answer import Turn

    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return tuple(Turn(str(row["question"]), str(row["answer"])) for row in rows)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError):
        raise KoreanLLMError(
            f'--history {path} is no conversation; expected JSON such as [{{"question": "…", "answer": "…"}}],'
            " or a file that does not exist yet."
        ) from None


def _grow(path: Path, turns: tuple[Turn, ...], answer: Answer) -> None:
    from korean_llm.artifact import write_json

    rows = [{"question": turn.question, "answer": turn.answer} for turn in turns]
    try:
        write_json(path, [*rows, {"question": answer.question, "answer": answer.text}])
    except OSError as error:
        raise KoreanLLMError(f"--history {path} cannot be written: {error.strerror}.") from None
