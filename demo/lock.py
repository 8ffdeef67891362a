"""Who may open the page: anyone on this machine; from elsewhere only with a key, asked for by the browser itself."""

from __future__ import annotations

import base64
import binascii
import logging
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from korean_llm.serving.guard import KEY_VARIABLE, Keys, check_bind, is_own_host

_ASK = {"WWW-Authenticate": 'Basic realm="korean-llm", charset="UTF-8"'}
_log = logging.getLogger(__name__)


def read_keys(file: Path | None, host: str) -> Keys:
    """The keys of a file, one a line, else the one in KOREAN_LLM_KEY, else none.

    Raises KoreanLLMError where the file cannot be read, a key is too short, or other machines could reach the page
    and there is no key.
    """
    keys = Keys.read(file)
    check_bind(host, bool(keys), f"give --key-file FILE, or set {KEY_VARIABLE}")
    return keys


class Lock:
    """HTTP Basic authentication (RFC 7617) in front of the page: any name, and a key as password.

    Without keys it answers only to loopback's own names, so that no page elsewhere can point its name at this machine.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._open_to(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        _log.warning("refused %s to %s", scope.get("path"), (scope.get("client") or ("?",))[0])
        refusal = PlainTextResponse("401", 401, _ASK) if self._keys else PlainTextResponse("403", 403)
        await refusal(scope, receive, send)

    def _open_to(self, headers: Headers) -> bool:
        if not self._keys:
            return is_own_host(headers.get("host"))
        scheme, _, given = headers.get("authorization", "").partition(" ")
        try:
            _, _, password = base64.b64decode(given, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        known = self._keys.name(password.decode("utf-8", "surrogateescape"))
        return scheme.lower() == "basic" and known is not None
