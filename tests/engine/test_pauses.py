"""Pauses that end by themselves, by the wall clock, whatever happens to it and to the daemon."""

from __future__ import annotations

import anyio
import pytest

from tests.engine.harness import House, record, running, wall
from wa_supervisor.domain.integration import Defaults
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import SessionMoved

pytestmark = pytest.mark.anyio


def paused(seconds: float, reason: str = "") -> dict[str, bytes]:
    """Give the wish of one integration that is paused for so long from now."""
    return {"a": record("a", paused=True, paused_until=wall() + seconds, pause_reason=reason)}


def connected(house: House) -> None:
    """Let the session be open from before."""
    house.gateway.session("a-number").connect()


async def test_a_pause_with_an_end_says_until_when_and_ends_by_itself() -> None:
    until = wall() + 1800
    async with running(paused(1800, "lunch"), prepare=connected) as house:
        status = await house.until_state("a", State.PAUSED)
        assert status.message.startswith("lunch, until 2026-")
        assert [(each.name, each.until) for each in status.blockers] == [("operator", until)]
        assert status.next_attempt_at == pytest.approx(until)
        await house.gateway.until(lambda: house.gateway.session("a-number").closes == 1)
        await anyio.sleep(1700)
        assert house.states()["a"] is State.PAUSED
        status = await house.until_state("a", State.RUNNING)
        assert status.since == pytest.approx(until, abs=5)
        assert not status.blockers


async def test_a_session_is_closed_for_a_pause_and_started_at_its_end_without_another_word() -> None:
    async with running({"a": record("a")}) as house:
        await house.until_state("a", State.RUNNING)
        house.wish.records = paused(600)
        house.wish.ring()
        await house.until_state("a", State.PAUSED)
        assert house.gateway.session("a-number").closes == 1
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").starts == 2


async def test_a_pause_that_was_over_before_the_daemon_began_is_none() -> None:
    async with running(paused(-1)) as house:
        await house.until_state("a", State.RUNNING)
        targets = [each.transition.target for each in house.all_told(SessionMoved)]
        assert State.PAUSED not in targets


async def test_a_clock_that_is_set_forward_ends_the_pause_soon() -> None:
    async with running(paused(3600)) as house:
        await house.until_state("a", State.PAUSED)
        began = anyio.current_time()
        house.clock_ahead = 3600
        await house.until_state("a", State.RUNNING)
        assert anyio.current_time() - began < 35


async def test_a_clock_that_is_set_back_prolongs_the_pause() -> None:
    async with running(paused(600)) as house:
        await house.until_state("a", State.PAUSED)
        house.clock_ahead = -3600
        await anyio.sleep(3600)
        assert house.states()["a"] is State.PAUSED
        await house.until_state("a", State.RUNNING)


async def test_a_pause_that_is_over_stays_over_when_the_clock_is_set_back() -> None:
    async with running(paused(60)) as house:
        await house.until_state("a", State.RUNNING)
        house.clock_ahead = -3600
        for _ in range(10):
            house.wish.ring()
            await anyio.sleep(60)
        assert house.states()["a"] is State.RUNNING


async def test_a_pause_is_ended_and_prolonged_by_the_record() -> None:
    async with running(paused(60)) as house:
        await house.until_state("a", State.PAUSED)
        house.wish.records = paused(1200)
        house.wish.ring()
        await anyio.sleep(600)
        assert house.states()["a"] is State.PAUSED
        house.wish.put("a", record("a"))
        await anyio.sleep(30)
        assert house.states()["a"] is State.RUNNING


async def test_a_pause_at_a_gateway_that_is_taken_out_ends_as_an_invalid_record() -> None:
    async with running({"a": record("a", gateway="one", paused=True)}, gateways=("one", "two")) as house:
        await house.until_state("a", State.PAUSED)
        house.wish.hold("read")
        two = GatewayName("two")
        house.supervisor.replace_gateways((house.rooms[two],), Defaults(gateways=frozenset({two})))
        await anyio.sleep(60)
        assert house.states()["a"] is State.PAUSED
        house.wish.release("read")
        await house.until_state("a", State.INVALID)


async def test_an_end_beyond_any_calendar_is_said_all_the_same() -> None:
    async with running({"a": record("a", paused=True, paused_until=253_402_300_799.0)}) as house:
        status = await house.until_state("a", State.PAUSED)
        assert "until 9999-12-31 23:59:59 UTC" in status.message
