"""A server on loopback that speaks the OpenAI chat protocol and says what it is told to."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Speaks the chat completions protocol and says what it is told to, a few characters at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Speaker)
        self.says = ""
        self.status = 200
        self.pause_s = 0.0
        self.asked: list[dict] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Speaker(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._json({"object": "list", "data": [{"id": "first", "object": "model"}, {"id": "second"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(json.loads(body))
        if self.server.status != 200:
            self._json({"error": {"message": "no"}}, self.server.status)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for at in range(0, len(self.server.says), 3):
            self._event({"content": self.server.says[at : at + 3]})
            time.sleep(self.server.pause_s)
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, delta: dict) -> None:
        chunk = {"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()
        self.server.sent += 1

    def _json(self, value: dict, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())
