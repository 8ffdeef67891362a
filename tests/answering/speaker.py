"""A server on loopback that speaks the OpenAI chat protocol and says what it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Speaks the chat completions protocol and says what it is told to, a few characters at a time.

    Attributes:
        says: every answer; where `replies` holds any, the next of them is said and taken out.
        status: of every answer; where `statuses` holds any, the next of them.
        headers_more: headers of answers with another status than 200.
        silent_s: pause before the first word. pause_s: after every three characters.
        breaks_after: chunks after which the connection breaks; None: never.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Speaker)
        self.says = ""
        self.replies: list[str] = []
        self.status = 200
        self.statuses: list[int] = []
        self.headers_more: dict[str, str] = {}
        self.silent_s = self.pause_s = 0.0
        self.breaks_after: int | None = None
        self.models: list[dict] = [{"id": "first", "object": "model"}, {"id": "second"}]
        self.asked: list[dict] = []
        self.headers_seen: list[dict[str, str]] = []
        self.sent = 0

    def serve_forever(self, poll_interval: float = 0.02) -> None:
        """Looks often whether it is to shut down, so that tests end soon."""
        super().serve_forever(poll_interval)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Speaker(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._json({"object": "list", "data": self.server.models})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(json.loads(body))
        self.server.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
        status = self.server.statuses.pop(0) if self.server.statuses else self.server.status
        if status == 0:
            return  # hangs up without a word
        if status != 200:
            self._json({"error": {"message": f"no: {self.headers['authorization']}"}}, status)
            return
        self._speak(self.server.replies.pop(0) if self.server.replies else self.server.says)

    def _speak(self, says: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        if self.server.breaks_after is not None:
            self.send_header("content-length", "1000000")
        self.end_headers()
        time.sleep(self.server.silent_s)
        for number, at in enumerate(range(0, len(says), 3)):
            if number == self.server.breaks_after:
                return
            try:
                self._event({"content": says[at : at + 3]})
            except OSError:
                return  # the reader has left
            time.sleep(self.server.pause_s)
        with suppress(OSError):
            self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, delta: dict) -> None:
        chunk = {"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()
        self.server.sent += 1

    def _json(self, value: dict, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        for name, text in self.server.headers_more.items() if status != 200 else ():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())


@contextmanager
def speaking() -> Iterator[Server]:
    """A running server."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
