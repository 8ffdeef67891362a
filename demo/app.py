"""Serves the page: one address a language, a password where others may come, and nothing fetched from outside."""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import; without it the server looks up two hosts

import signal
import socket
import sys
import tempfile
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from demo.lock import Lock, read_keys
from demo.page import build
from demo.parts import Demo
from demo.report import ADDRESS, REPORT
from demo.style import STYLE_SHEETS, head, theme
from demo.words import LANGUAGES, Words, preferred
from korean_llm import console
from korean_llm.answering.library import Library
from korean_llm.answering.session import Sessions
from korean_llm.answering.uploads import MAX_FILE_BYTES
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.serving.guard import Keys, is_loopback

GRACE_S = 1
"""How long answers may go on once the server is told to stop."""

MAX_WAITING = 64
"""Questions that wait in line; past them a reader is told that the page is busy."""


def application(library: Library, sessions: Sessions, keys: Keys, *, far: bool = False) -> FastAPI:
    """The web application: /ko/ and /en/, and / that leads to the reader's own.

    far: whether it can be reached from other machines, which then need one of the keys.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Lock, keys=keys)

    @app.get("/")
    def choose(request: Request) -> RedirectResponse:
        return RedirectResponse(f"/{preferred(request.headers.get('accept-language', ''))}/")

    @app.get(f"/{ADDRESS}")
    def report() -> Response:
        path = library.folder / REPORT
        if not path.is_file():
            return Response(status_code=404)
        return FileResponse(path, filename=path.name, headers={"Content-Security-Policy": "sandbox"})

    for language in LANGUAGES:
        _mount(app, build(Demo(library, sessions, Words(language), far)), language)
    return app


def _mount(app: FastAPI, page: gr.Blocks, language: str) -> None:
    page.queue(max_size=MAX_WAITING)
    gr.mount_gradio_app(
        app,
        page,
        f"/{language}",
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        show_error=False,
        footer_links=[],
        allowed_paths=[],
        max_file_size=MAX_FILE_BYTES,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        theme=theme(),
        css_paths=STYLE_SHEETS,
        head=head(language),
    )


def launch(
    folder: Path,
    *,
    host: str,
    port: int,
    machine: Machine,
    endpoint: str | None = None,
    model: str | None = None,
    cache: bool = False,
    key_file: Path | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Raises KoreanLLMError where the run has no index, the address cannot be had, or other machines could reach the
    page and no key keeps them out.
    """
    keys = read_keys(key_file, host)
    port = free_port(host, port)
    library = Library(folder, machine, endpoint, model, cache=cache)
    library.answerer("extractive").answer("준비")  # so that the first reader does not wait for Kiwi and the encoder
    sessions = Sessions(folder, machine)
    with tempfile.TemporaryDirectory(prefix="korean-llm-uploads-", ignore_cleanup_errors=True) as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        app = application(library, sessions, keys, far=not is_loopback(host))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn sends it on once it has closed
        config = uvicorn.Config(app, host, port, log_level="warning", timeout_graceful_shutdown=GRACE_S)
        try:
            Announced(config, f"the demo of {folder} is open at http://{host}:{port}/ (Ctrl-C ends it)").run()
        finally:
            sessions.close()
    console.note("the demo is closed.")


class Announced(uvicorn.Server):
    """A server that says where it is once it listens."""

    def __init__(self, config: uvicorn.Config, message: str) -> None:
        super().__init__(config)
        self._message = message

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            console.note(self._message)


def free_port(host: str, port: int) -> int:
    """The port, or a free one for 0. Raises KoreanLLMError where it is taken or the address is not this machine's."""
    try:
        family = socket.getaddrinfo(host, port)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise KoreanLLMError(
            f"the demo cannot listen on {host}:{port} ({error.strerror}); choose another --port, or --port 0 for a"
            " free one."
        ) from None
