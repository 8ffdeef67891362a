"""Who may open the page: anyone on this machine; from elsewhere only with a key, asked for by the browser itself."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from korean_llm.errors import KoreanLLMError

KEY_VARIABLE = "KOREAN_LLM_KEY"
MIN_KEY_CHARS = 16

_ASK = {"WWW-Authenticate": 'Basic realm="korean-llm", charset="UTF-8"'}
_log = logging.getLogger(__name__)


def read_keys(file: Path | None, host: str) -> list[str]:
    """The keys of a file, one a line, else the one in KOREAN_LLM_KEY, else none.

    Raises KoreanLLMError where the file cannot be read, a key is too short, or other machines could reach the page
    and there is no key.
    """
    try:
        text = file.read_text(encoding="utf-8") if file else os.environ.get(KEY_VARIABLE, "")
    except (OSError, UnicodeDecodeError):
        raise KoreanLLMError(f"--key-file {file} cannot be read; give a text file with one key a line.") from None
    keys = [line.strip() for line in text.splitlines() if line.strip()]
    if any(len(key) < MIN_KEY_CHARS for key in keys):
        raise KoreanLLMError(f"a key has fewer than {MIN_KEY_CHARS} characters; make one with `openssl rand -hex 24`.")
    if not keys and not is_loopback(host):
        raise KoreanLLMError(
            f"--host {host} can be reached from other machines, so a key is needed; give --key-file FILE, or set"
            f" {KEY_VARIABLE}."
        )
    return keys


def is_loopback(host: str | None) -> bool:
    """Whether a host names this machine and can be reached from it alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class Lock:
    """HTTP Basic authentication (RFC 7617) in front of the page: any name, and a key as password.

    Without keys it answers only to loopback's own names, so that no page elsewhere can point its name at this machine.
    """

    def __init__(self, app: ASGIApp, keys: list[str]) -> None:
        self._app, self._keys = app, [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._open_to(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        _log.warning("refused %s to %s", scope.get("path"), (scope.get("client") or ("?",))[0])
        refusal = PlainTextResponse("401", 401, _ASK) if self._keys else PlainTextResponse("403", 403)
        await refusal(scope, receive, send)

    def _open_to(self, headers: Headers) -> bool:
        if not self._keys:
            return is_loopback(urlsplit(f"//{headers.get('host', '')}").hostname)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        try:
            _, _, password = base64.b64decode(given, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        same = [hmac.compare_digest(password, key) for key in self._keys]
        return scheme.lower() == "basic" and any(same)
