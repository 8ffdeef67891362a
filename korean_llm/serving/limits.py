"""How much a server takes on: requests per second of one client, and answers made at a time with a line before them."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from korean_llm.serving.refusal import busy

MAX_CLIENTS = 10_000


class Rates:
    """A token bucket per client (Turner 1986): `burst` requests at once, then `per_s` a second.

    The clients longest unheard of are forgotten past MAX_CLIENTS, so that memory is bounded.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        """per_s: 0 lets everything through."""
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client → (tokens, when)

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, client: str) -> float:
        """Takes one token of the client and returns 0, or the seconds until there is one."""
        if not self._per_s:
            return 0.0
        now = self._clock()
        tokens, then = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_s)
        missing = max(0.0, 1.0 - tokens)
        self._buckets[client] = (tokens if missing else tokens - 1.0, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return missing / self._per_s


def client_network(address: str) -> str:
    """The address, or for IPv6 its /64, which one client has whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if found.version == 6 else address


class Gate:
    """At most `slots` inside, at most `line` waiting before it, first come first served; for one event loop."""

    def __init__(self, slots: int, line: int) -> None:
        self.slots = slots
        self._free, self._line = slots, line
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def enter(self, limit_s: float) -> None:
        """Take a slot; `leave` gives it back. Raises RefusedError where the line is full, or the wait too long."""
        if self._closed:
            raise busy("the server is stopping")
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= self._line:
            raise busy("the server is busy: its line is full; try again in a moment")
        await self._wait(limit_s)

    async def _wait(self, limit_s: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(asyncio.shield(turn), limit_s)
        except (TimeoutError, asyncio.CancelledError) as error:
            if not turn.done():
                self._waiting.remove(turn)
            elif turn.exception() is None:
                self.leave()  # the slot came in the very moment that the wait ended
            if isinstance(error, asyncio.CancelledError):
                raise
            raise busy("the server is busy: the wait was too long; try again in a moment") from None

    def leave(self) -> None:
        """Give a slot back; the next in line takes it."""
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._free += 1

    def close(self) -> None:
        """Send the line away; who is inside may finish."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft().set_exception(busy("the server is stopping"))
