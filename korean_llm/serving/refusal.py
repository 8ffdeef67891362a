"""What a server says no with: an OpenAI error object, a status, and when to come back."""

from __future__ import annotations

import math
from itertools import takewhile
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class RefusedError(Exception):
    """A request that is refused; its message is shown to the client and holds nothing that the client did not send.

    Attributes:
        status: of HTTP. code: a word for programs. param: the field of the request that is wrong, or None.
        retry_after_s: when to come back; None where coming back is of no use.
    """

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after_s = status, code, param, retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        """The error object."""
        kind = _KINDS.get(self.status) or ("invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The whole response. The connection is closed where the client may still be sending."""
        headers = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.status in (408, 413):
            headers["connection"] = "close"
        return JSONResponse(self.body, self.status, headers)


def busy(message: str, retry_after_s: float = 2.0) -> RefusedError:
    """503: more is asked than can be answered now."""
    return RefusedError(503, "busy", message, retry_after_s=retry_after_s)


def invalid(error: ValidationError) -> RefusedError:
    """400: the first thing wrong with a request, named by its place; its value is not repeated."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # The types that a field may have stand in a place too, such as "input.list[str]"; they say nothing to a client.
    named = takewhile(lambda part: isinstance(part, int) or (part.isidentifier() and part != "str"), first["loc"])
    place = ".".join(map(str, named)) or None
    message = f"{place}: {first['msg']}" if place else str(first["msg"])
    return RefusedError(400, "invalid_request", message, param=place)
