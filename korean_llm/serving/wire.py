"""Bodies in, within bounds; streams of events out; and word of clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from threading import Event

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from korean_llm.serving.refusal import RefusedError
from korean_llm.serving.schema import BodyT, parse

MAX_BODY_BYTES = 1_000_000
BODY_S = 20.0
"""A body that takes longer to arrive is not waited for."""

GONE = 499
"""Status for the log where the client left before its answer; nobody reads it."""


async def read_body(request: Request, body: type[BodyT]) -> BodyT:
    """The body, read whole within bounds of size and time, and checked."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # what a web page elsewhere may send unasked is of other types
        raise RefusedError(415, "wrong_content_type", "the body must be application/json")
    try:
        async with asyncio.timeout(BODY_S):
            return parse(await _read(request), body)
    except TimeoutError:
        raise RefusedError(408, "timeout", "the body took too long to arrive") from None


async def _read(request: Request) -> bytes:
    too_large = RefusedError(413, "too_large", f"the body may have {MAX_BODY_BYTES:,} bytes")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise too_large
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BODY_BYTES:
                raise too_large
    except ClientDisconnect:
        raise RefusedError(GONE, "gone", "the client left") from None
    return bytes(raw)


_WATCHES: set[asyncio.Task[None]] = set()
"""The event loop itself keeps no hold of its tasks."""


def watch_client(request: Request, stop: Event) -> None:
    """Set `stop` when the client goes; ends with the request."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        stop.set()

    task = asyncio.create_task(watch())
    _WATCHES.add(task)
    task.add_done_callback(_WATCHES.discard)


class Events(Response):
    """A stream of server-sent events. It runs to its end also where the client has gone, for its work ends then."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as they come."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._events:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
