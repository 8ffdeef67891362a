"""The verb `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from korean_llm.cli_options import DeviceOption, EndpointModelOption
from korean_llm.machine import Machine

EngineName = Literal["auto", "vllm", "llama.cpp", "transformers", "none"]


def add_verbs(app: typer.Typer) -> None:
    """Give the command line its verb of serving."""
    app.command()(serve)


def serve(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, for instance runs/quickstart.")],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; any but loopback needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="Keys that open the server, one a line; or KOREAN_LLM_KEY."),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(
            "--engine", help="What runs the model: auto takes vLLM on a GPU, llama.cpp on a CPU; none: extracts only."
        ),
    ] = "auto",
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="OpenAI-compatible base URL of a model that is served already.")
    ] = None,
    model: EndpointModelOption = None,
    device: DeviceOption = "auto",
    cache: Annotated[bool, typer.Option("--cache", help="Keep answers and give them again.")] = False,
    feedback: Annotated[
        bool, typer.Option("--feedback/--no-feedback", help="Keep answers, so that feedback on them can be sent.")
    ] = True,
    line: Annotated[
        int, typer.Option("--line", min=0, help="Requests that may wait; more are told to come back.")
    ] = 64,
    rate: Annotated[
        float, typer.Option("--rate", min=0, help="Requests a second of one key or address; 0: no limit.")
    ] = 20,
    time_limit: Annotated[float, typer.Option("--time-limit", min=1, help="Seconds that one request may take.")] = 120,
) -> None:
    """Serve a run over the OpenAI interface: chat answers with citations, embeddings, health, feedback.

    Models: RUN-extractive, RUN-generative, RUN (the language model alone), RUN-embedding; GET /v1/models lists them.

    Examples: `korean-llm serve runs/quickstart`, `korean-llm serve runs/law --host 0.0.0.0 --key-file keys`,
    `korean-llm serve runs/law --endpoint http://127.0.0.1:11434/v1 --model exaone3.5`

    Ask it: `curl --no-buffer http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' -d
    '{"model": "quickstart-extractive", "stream": true, "messages": [{"role": "user", "content": "질문"}]}'`
    """
    from korean_llm.serving.offer import Settings
    from korean_llm.serving.server import serve as serve_run

    serve_run(
        Settings(
            run=folder,
            host=host,
            port=port,
            key_file=key_file,
            engine=engine,
            endpoint=endpoint,
            model=model,
            machine=Machine(device),
            cache=cache,
            feedback=feedback,
            line=line,
            rate=rate,
            time_limit_s=time_limit,
        )
    )
