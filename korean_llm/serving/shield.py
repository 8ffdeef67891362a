"""What stands before every request: its id, its host, its key, its rate, and one line of log without its content."""

from __future__ import annotations

import logging
import time
import traceback
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from korean_llm.serving.guard import Keys, is_own_host
from korean_llm.serving.limits import Rates, client_network
from korean_llm.serving.refusal import RefusedError

LOG = logging.getLogger("korean_llm.serving")

HEALTH = "/healthz"
_KNOWN = {HEALTH, "/v1/models", "/v1/chat/completions", "/v1/embeddings", "/v1/feedback"}
_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


class Shield:
    """Wraps the application. Health is open to whoever reaches the server; all else needs a key where there is one."""

    def __init__(self, app: ASGIApp, keys: Keys, rates: Rates, loopback: bool) -> None:
        """loopback: the server can be reached from this machine alone, so Host headers are checked."""
        self._app, self._keys, self._rates, self._loopback = app, keys, rates, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":  # lifespan; there are no websockets
            await self._app(scope, receive, send)
            return
        request = _Logged(scope, send)
        try:
            self._admit(scope)
            await self._app(scope, receive, request.send)
        except RefusedError as refusal:
            await request.refuse(refusal, receive)
        except Exception as error:  # the client has been told; no content goes to the log
            where = traceback.extract_tb(error.__traceback__)[-1]
            LOG.error("%s failed: %s in %s:%s", request.id, type(error).__name__, where.filename, where.lineno)
        finally:
            request.log()

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._loopback and not is_own_host(headers.get("host")):
            raise RefusedError(403, "wrong_host", "this server answers to localhost alone; call it by that name")
        if scope["path"] == HEALTH:
            return
        owner = self._keys.owner(headers.get("authorization")) if self._keys else None
        wait_s = self._rates.wait_s(owner or client_network(_address(scope)))
        if wait_s:
            raise RefusedError(429, "rate_limit_exceeded", "too many requests; slow down", retry_after_s=wait_s)
        if self._keys and owner is None:
            LOG.warning("a request from %s came with a wrong key or none", _address(scope))
            raise RefusedError(401, "invalid_api_key", "a valid key is needed: `Authorization: Bearer KEY`")


class _Logged:
    """A request's id, status and time."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = scope["request_id"] = uuid4().hex[:16]
        self._scope, self._send, self._status, self._start = scope, send, 0, time.perf_counter()

    async def send(self, message: Message) -> None:
        """Pass a message of the response on, with our headers."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update({"x-request-id": self.id, **_HEADERS})
        await self._send(message)

    async def refuse(self, refusal: RefusedError, receive: Receive) -> None:
        """Answer with an error object, unless an answer has begun."""
        if not self._status:
            await refusal.response()(self._scope, receive, self.send)

    def log(self) -> None:
        """One line: id, client, method, path, status, milliseconds. Never a query, a header or a body."""
        path = self._scope["path"] if self._scope["path"] in _KNOWN else "(other path)"
        took = 1000 * (time.perf_counter() - self._start)
        method = self._scope["method"] if self._scope["method"] in ("GET", "POST") else "(other method)"
        LOG.info("%s %s %s %s %s %.0f ms", self.id, _address(self._scope), method, path, self._status or "-", took)


def _address(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else "?"
