"""The server from start to graceful stop: bind, open the run, listen; on SIGTERM finish what runs and exit with 0."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.serving.app import Service, application
from korean_llm.serving.guard import Keys, check_bind, is_loopback
from korean_llm.serving.limits import Rates
from korean_llm.serving.offer import Settings, opened
from korean_llm.serving.shield import LOG, Shield
from korean_llm.serving.work import LAST_STEP_S

KEEP_ALIVE_S = 75
"""Longer than clients usually pause: one that asks again as its connection is closed sees an error."""

MAX_CONNECTIONS = 800
"""Below the 1,024 open files that a process usually may have."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises KoreanLLMError where the address is open to others and there is no key, the port is taken, the run has no
    index, or its engine cannot be started.
    """
    keys = Keys.read(settings.key_file)
    check_bind(settings.host, bool(keys), "give a key with --key-file FILE or in KOREAN_LLM_KEY")
    with contextlib.closing(_bound(settings.host, settings.port)) as listener, opened(settings) as service:
        rates = Rates(settings.rate, 2 * settings.rate)
        app = Shield(application(service), keys, rates, is_loopback(settings.host))
        _log_to_stderr()
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        told = f"{settings.run} is served at {address}/v1 as {', '.join(service.ids)} (Ctrl-C ends it)"
        _Server(app, service, settings.stop_s, told).run([listener])
        console.note("the server has stopped.")


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises KoreanLLMError where the port is taken or the address is not this machine's."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
        except OSError:
            listener.close()
            raise
        return listener
    except OSError as error:
        raise KoreanLLMError(
            f"the server cannot listen on {host}:{port} ({error.strerror}); choose another --port, or --port 0 for a"
            " free one."
        ) from None


def _log_to_stderr() -> None:
    """One line a request, without its content."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    LOG.handlers, LOG.propagate = [handler], False
    LOG.setLevel(logging.INFO)


class _Server(uvicorn.Server):
    """uvicorn, stopped our way: the line is sent away, what runs may end, then is ended; the exit status is 0."""

    def __init__(self, app: Shield, service: Service, stop_s: float, told: str) -> None:
        """told: to the user, once the server listens."""
        self._service, self._stop_s, self._told = service, stop_s, told
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,  # or a client could choose the address that its rate is counted by
            server_header=False,
            lifespan="off",
            ws="none",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(stop_s + LAST_STEP_S),
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        console.note(self._told)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and Ctrl-C; asked a second time, at once."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._asked_to_stop)
        yield

    def _asked_to_stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self._service.stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what runs go on for a while, then end it."""
        timer = asyncio.get_running_loop().call_later(self._stop_s, self._service.work.end_all)
        await super().shutdown(sockets)
        timer.cancel()
