"""Token buckets and gates: what is let in, what waits, what is sent away."""

from __future__ import annotations

import asyncio

import pytest

from korean_llm.serving import limits
from korean_llm.serving.limits import Gate, Rates, client_network
from korean_llm.serving.refusal import RefusedError


def test_a_burst_then_a_rate() -> None:
    now = 0.0
    rates = Rates(per_s=2, burst=3, clock=lambda: now)
    assert [rates.wait_s("a") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert rates.wait_s("b") == 0
    now = 0.4
    assert rates.wait_s("a") == pytest.approx(0.1)
    now = 0.5
    assert rates.wait_s("a") == 0 and rates.wait_s("a") == pytest.approx(0.5)
    now = 1_000.0
    assert [rates.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert Rates(0, 0).wait_s("a") == 0


def test_clients_are_forgotten_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CLIENTS", 100)
    rates = Rates(per_s=1, burst=1, clock=lambda: 0.0)
    assert rates.wait_s("first") == 0 < rates.wait_s("first")
    for number in range(99):
        rates.wait_s(str(number))
    assert len(rates) == 100 and rates.wait_s("first") > 0
    for number in range(100, 250):
        rates.wait_s(str(number))
    assert len(rates) == 100 and rates.wait_s("first") == 0


def test_a_client_has_its_whole_ipv6_network() -> None:
    assert client_network("2001:db8::1") == client_network("2001:db8::ffff:2") != client_network("2001:db8:0:1::1")
    assert client_network("10.0.0.1") != client_network("10.0.0.2")


def test_first_come_first_served_and_the_rest_is_told_to_come_back() -> None:
    async def scene() -> list[str]:
        gate, order = Gate(slots=1, line=2), []

        async def visit(name: str) -> None:
            try:
                await gate.enter(5)
            except RefusedError as refusal:
                assert (refusal.status, refusal.code) == (503, "busy") and refusal.retry_after_s
                order.append(f"{name} refused")
                return
            order.append(name)
            await asyncio.sleep(0.01)
            gate.leave()

        await asyncio.gather(*(visit(name) for name in "abcd"))
        await visit("e")
        return order

    assert asyncio.run(scene()) == ["a", "d refused", "b", "c", "e"]


def test_no_slot_is_lost_by_those_who_give_up() -> None:
    async def scene() -> None:
        gate = Gate(slots=2, line=10)
        await gate.enter(1)
        await gate.enter(1)
        with pytest.raises(RefusedError, match="the wait was too long"):
            await gate.enter(0.01)
        leaving = [asyncio.create_task(gate.enter(5)) for _ in range(3)]
        await asyncio.sleep(0)
        leaving[0].cancel()
        gate.leave()  # the second in line takes it
        leaving[1].cancel()  # in the very moment that its slot came
        await asyncio.gather(*leaving[:2], return_exceptions=True)
        await asyncio.wait_for(leaving[2], 1)
        gate.leave()
        gate.leave()
        await asyncio.wait_for(asyncio.gather(gate.enter(1), gate.enter(1)), 1)

    asyncio.run(scene())


def test_a_closed_gate_sends_the_line_away() -> None:
    async def scene() -> list[BaseException | None]:
        gate = Gate(slots=1, line=10)
        await gate.enter(1)
        waiting = [asyncio.create_task(gate.enter(5)) for _ in range(2)]
        await asyncio.sleep(0)
        gate.close()
        late = asyncio.create_task(gate.enter(5))
        return await asyncio.gather(*waiting, late, return_exceptions=True)

    assert ["stopping" in str(error) for error in asyncio.run(scene())] == [True] * 3
