"""The fault matrix, gateways: one is away, slow, coming and going, or answers nonsense; the other one is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.fault_room import AT_ILL, SETTINGS, Room, fault_room
from wa_supervisor.domain.status import SessionStatus
from wa_supervisor.simulator import Fault, SimulatedGateway

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]

SHORTEST_HOLD = float(str(SETTINGS["gateways"]["hold_initial"]))
"""Seconds for which a gateway is held that falls for the second time."""

LONG = 3600.0
"""Seconds that a gateway has been up for before it falls ill."""

LOOK_AT_PAGE = "check-connection-session"

SETTLED = 8
"""Looks at a session, one a second, after which a younger gateway was restarted, and it is not two clocks."""


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


def befores(room: Room) -> dict[str, SessionStatus]:
    return {name: room.status(name) for name in AT_ILL}


def assert_held_at_no_cost(room: Room, before: dict[str, SessionStatus]) -> None:
    """See that sessions are back after having been held, and that it cost them nothing."""
    for name, old in before.items():
        status = room.status(name)
        assert status.state == "running"
        assert status.attempt == 0
        assert status.failures == pytest.approx(old.failures)
        assert not status.blockers
        states = [state for state, _ in room.path(name, old)]
        assert "held" in states, states
        assert "quarantined" not in states, states


def assert_no_restart_was_counted(room: Room, before: dict[str, SessionStatus]) -> None:
    """See that they were held at once, without a failed attempt of their own."""
    for name, old in before.items():
        assert room.status(name).restarts == old.restarts
        assert "backoff" not in [state for state, _ in room.path(name, old)]


async def test_sessions_of_a_killed_gateway_are_held_at_no_cost_and_return_with_it(
    tmp_path: Path, redis_url: str
) -> None:
    async with fault_room(tmp_path, redis_url, affected=AT_ILL) as room:
        before = befores(room)
        await room.ill.go_down()
        await room.until_state(AT_ILL, "held", "GatewayAway")
        for name in AT_ILL:
            status = room.status(name)
            assert [each.name for each in status.blockers] == ["gate"]
            assert "ill" in status.message
        await room.ill.come_back()
        await room.until_state(AT_ILL, "running")
        await room.carries(*AT_ILL)
        assert_held_at_no_cost(room, before)
        assert_no_restart_was_counted(room, before)


async def test_sessions_of_a_restarted_gateway_begin_anew_at_no_cost(tmp_path: Path, redis_url: str) -> None:
    def prepare(ill: SimulatedGateway) -> None:
        ill.age(LONG)

    async with fault_room(tmp_path, redis_url, affected=AT_ILL, prepare=prepare) as room:
        looks = room.ill.ledger.calls_of
        await room.until(lambda: all(looks[f"{name}-number", LOOK_AT_PAGE] > SETTLED for name in AT_ILL))
        before = befores(room)
        await room.ill.restart(start_stored=False)
        for name in AT_ILL:
            path = await room.until_passed(name, before[name], ("running", "Connected"))
            assert {("pending", "GatewayRestarted"), ("held", "GatewayAway")} & set(path), path
            assert not {"backoff", "quarantined"} & {state for state, _ in path}, path
        await room.carries(*AT_ILL)
        for name in AT_ILL:
            status = room.status(name)
            assert (status.attempt, status.failures) == (0, 0.0)
            assert room.ill.ledger.starts[f"{name}-number"] == 2  # one before the restart, one after it


async def test_a_gateway_that_answers_slowly_keeps_its_sessions_and_is_asked_less(
    tmp_path: Path, redis_url: str
) -> None:
    async with fault_room(tmp_path, redis_url, affected=AT_ILL) as room:
        before = befores(room)
        room.ill.script(Fault(delay=0.3))
        asked = room.ill.ledger.calls[LOOK_AT_PAGE]
        await room.until(lambda: room.ill.ledger.calls[LOOK_AT_PAGE] >= asked + len(AT_ILL))
        await room.carries(*AT_ILL)
        room.ill.mend()
        for name in AT_ILL:
            assert room.path(name, before[name]) == []


async def test_a_gateway_whose_calls_hang_is_blamed_and_not_its_sessions(tmp_path: Path, redis_url: str) -> None:
    async with fault_room(tmp_path, redis_url, affected=AT_ILL) as room:
        before = befores(room)
        room.ill.script(Fault(route="status-session", answer="nothing"))
        await room.until_state(AT_ILL, "held", "GatewayAway")
        room.ill.mend()
        await room.until_state(AT_ILL, "running")
        await room.carries(*AT_ILL)
        assert_held_at_no_cost(room, before)
        assert dict(room.ill.ledger.closes) == {}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(Fault(answer="error"), "GatewayError", id="500"),
        pytest.param(Fault(answer="html", status=502), "GatewayGarbled", id="html"),
    ],
)
async def test_a_gateway_that_answers_nonsense_to_all_is_blamed_and_not_its_sessions(
    tmp_path: Path, redis_url: str, fault: Fault, reason: str
) -> None:
    async with fault_room(tmp_path, redis_url, affected=AT_ILL) as room:
        before = befores(room)
        room.ill.script(fault)
        await room.until_state(AT_ILL, "held", "GatewayAway")
        for name in AT_ILL:
            assert ("degraded", reason) in room.path(name, before[name])
        room.ill.mend()
        await room.until_state(AT_ILL, "running")
        await room.carries(*AT_ILL)
        assert_held_at_no_cost(room, before)
        assert room.ill.ledger.starts == {f"{name}-number": 1 for name in AT_ILL}  # adopted, not started anew
        assert dict(room.ill.ledger.closes) == {}


async def test_a_gateway_that_flaps_is_held_longer_each_time(tmp_path: Path, redis_url: str) -> None:
    async with fault_room(tmp_path, redis_url, affected=AT_ILL) as room:
        holds: list[float] = []
        for _ in range(3):
            before = befores(room)
            await room.ill.go_down()
            await room.until_state(AT_ILL, "held", "GatewayAway")
            await room.ill.come_back()
            await room.until_state(AT_ILL, "running")
            holds.append(held_for(room, "i0", before["i0"]))
            assert_held_at_no_cost(room, before)
            assert_no_restart_was_counted(room, before)
        await room.carries(*AT_ILL)
        # By the daemon's own clock, and from when the session noticed, which is a moment after its gate closed.
        assert holds[1] >= 0.5 * SHORTEST_HOLD
        assert holds[2] >= 1.5 * SHORTEST_HOLD


def held_for(room: Room, name: str, since: SessionStatus) -> float:
    """Give the seconds that a session was held, as the daemon tells them."""
    steps = room.status(name).transitions
    return sum(step.lasted for step in steps if step.source == "held" and step.at > since.transitions[-1].at)
