"""Sessions that crash or do not stop: the others do not notice, and there never are two that can act."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.engine.harness import LONGEST, House, Policies, agent, message, record, records, reply, running
from tests.fakes.gateway import FakeGateway
from tests.fakes.leases import FakeLeases
from wa_supervisor.domain.errors import LoginGivenUpError
from wa_supervisor.domain.gateway import SessionAccess, SessionReport
from wa_supervisor.domain.lifecycle import IllegalTransitionError, State
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.observations import Abandoned, CommandAnswered, SessionMoved, Trouble
from wa_supervisor.engine.policies import SessionPolicy
from wa_supervisor.engine.room import GatewayRoom

pytestmark = pytest.mark.anyio

A = IntegrationId("a")


class StubbornGateway(FakeGateway):
    """Whose calls about one session cannot be cancelled as long as they hang."""

    hanging: anyio.Event | None = None

    def __init__(self, name: GatewayName) -> None:
        super().__init__(name)
        self.hangs = anyio.Event()

    async def report(self, access: SessionAccess) -> SessionReport:
        """Hang, if it is to, behind a shield."""
        if self.hanging is not None and access.session == "a-number":
            self.hangs.set()
            with anyio.CancelScope(shield=True):
                await self.hanging.wait()
        return await super().report(access)


@asynccontextmanager
async def stuck(
    wish: Mapping[str, bytes], *, leases: FakeLeases | None = None, quarantine_probe: float = 1800.0
) -> AsyncIterator[tuple[House, anyio.Event]]:
    """Run sessions of which `a` hangs in a call that nobody can cancel; the event lets it go on."""
    let_go = anyio.Event()
    policies = Policies(sessions=SessionPolicy(quarantine_probe=quarantine_probe))
    async with running(wish, gateway_of=StubbornGateway, leases=leases, policies=policies) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        gateway = house.gateway
        assert isinstance(gateway, StubbornGateway)
        gateway.hanging = let_go
        await house.events.emit("session-logged", {"session": "a-number", "status": True})
        with anyio.fail_after(LONGEST):
            await gateway.hangs.wait()
        try:
            yield house, let_go
        finally:
            let_go.set()


async def test_a_session_that_does_not_stop_is_named_and_its_integration_goes_on_without_it() -> None:
    async with stuck(records("a", "b")) as (house, let_go):
        gateway = house.gateway
        assert isinstance(gateway, StubbornGateway)
        house.wish.put("a", record("a", agent="other"))
        (told,) = await house.until_told(Abandoned)
        assert (told.integration, told.what, told.count) == ("a", "session: life", 1)
        gateway.hanging = None
        await house.until_state("a", State.RUNNING)
        assert house.status("a").agent_id == "other"
        assert house.status("b").state is State.RUNNING
        moves = len(house.all_told(SessionMoved))
        let_go.set()
        await anyio.sleep(600)
        assert len(house.all_told(SessionMoved)) == moves
        assert house.states() == {"a": State.RUNNING, "b": State.RUNNING}


async def test_a_removed_session_that_does_not_stop_is_closed_and_gone() -> None:
    async with stuck(records("a", "b")) as (house, _):
        house.wish.remove("a")
        await house.until(lambda: "a" not in house.states())
        assert house.gateway.session("a-number").closes == 1


async def test_a_stop_names_what_does_not_stop_and_does_not_wait_for_it() -> None:
    leases = FakeLeases()
    async with stuck(records("a", "b"), leases=leases) as (house, _):
        began = anyio.current_time()
        assert await house.supervisor.drain(100.0) == ("session a: life",)
        assert anyio.current_time() - began < 40
        assert house.states() == {"a": State.STOPPED, "b": State.STOPPED}
        await house.supervisor.give_leases_back()
        assert not leases.table.kept


async def test_a_stop_whose_deadline_comes_first_names_and_cuts_off_what_is_left() -> None:
    async with stuck(records("a", "b")) as (house, let_go):
        assert await house.supervisor.drain(2.0) == ("session a: life",)
        (told,) = house.all_told(Abandoned)
        assert told.what == "session: life"
        calls = house.gateway.calls.total()
        await anyio.sleep(10)
        let_go.set()
        await anyio.sleep(100)
        assert house.gateway.calls.total() == calls + 1
        assert len(house.all_told(Abandoned)) == 1
        assert house.states() == {"a": State.STOPPED, "b": State.STOPPED}


async def test_a_stop_names_a_close_that_cannot_be_cancelled() -> None:
    async with running({"a": record("a", paused=True)}, gateway_of=StubbornGateway, prepare=_hang) as house:
        gateway = house.gateway
        assert isinstance(gateway, StubbornGateway)
        assert gateway.hanging is not None
        with anyio.fail_after(LONGEST):
            await gateway.hangs.wait()
        assert await house.supervisor.drain(2.0) == ("closing a",)
        assert [each.what for each in house.all_told(Abandoned)] == ["closing"]
        gateway.hanging.set()


def _hang(house: House) -> None:
    assert isinstance(house.gateway, StubbornGateway)
    house.gateway.hanging = anyio.Event()


def crash(house: House, error: Exception | None = None) -> None:
    """Let the session of `a` end although nobody asked it to."""
    incarnation = house.supervisor._keepers[A]._serving.incarnation
    assert incarnation is not None
    incarnation._stay.error = error
    incarnation._stay.stop()


async def test_a_session_that_ended_by_itself_is_begun_anew_and_nobody_else_notices() -> None:
    async with running(records("a", "b")) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        moves = [each for each in house.all_told(SessionMoved) if each.integration == "b"]
        crash(house)
        await house.until(lambda: house.states()["a"] is not State.RUNNING)
        assert house.status("a").transitions[-1].cause == "crashed"
        assert "nobody had asked it to" in house.status("a").message
        await house.until_state("a", State.RUNNING)
        assert [each for each in house.all_told(SessionMoved) if each.integration == "b"] == moves
        assert house.gateway.session("a-number").starts == 1


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), LoginGivenUpError("permanent"), ExceptionGroup("g", [OSError()])]
)
async def test_whatever_a_session_ends_with_it_is_begun_anew(error: Exception) -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        crash(house, error)
        (trouble,) = await house.until_told(Trouble)
        assert trouble.error is error
        await house.until_state("a", State.RUNNING)
        assert house.status("a").restarts == 1


async def crash_until_quarantined(house: House) -> None:
    """Let `a` crash again and again."""
    while house.states()["a"] is not State.QUARANTINED:
        await house.until_state("a", State.RUNNING, State.QUARANTINED)
        if house.states()["a"] is State.RUNNING:
            crash(house, ValueError("a bug"))
            await house.until(lambda: house.states()["a"] is not State.RUNNING)
            await anyio.sleep(0.01)


async def test_a_session_that_crashes_too_often_is_quarantined_and_tried_now_and_then() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await crash_until_quarantined(house)
        status = house.status("a")
        assert status.reason == "InternalError"
        assert "wa-supervisor release a" in status.message
        began = anyio.current_time()
        await house.until_state("a", State.RUNNING)
        assert anyio.current_time() - began > 1000
        assert house.status("a").failures > 0


async def test_a_quarantine_after_crashes_is_ended_by_release() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await crash_until_quarantined(house)
        await house.commands.until(lambda: house.commands.listening("listen") == 1)
        house.commands.issue("release", A)
        (answer,) = await house.until_told(CommandAnswered)
        assert answer.is_accepted
        began = anyio.current_time()
        status = await house.until_state("a", State.RUNNING)
        assert anyio.current_time() - began < 60
        assert status.failures == 0


@pytest.mark.parametrize(
    ("now", "then"),
    [(record("a", typing=False), State.RUNNING), (record("a", paused=True), State.PAUSED), (b"{", State.INVALID)],
)
async def test_a_quarantine_after_crashes_is_ended_by_a_changed_record(now: bytes, then: State) -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await crash_until_quarantined(house)
        house.wish.put("a", now)
        began = anyio.current_time()
        await house.until_state("a", then)
        assert anyio.current_time() - began < 60
        assert house.gateway.session("a-number").closes == (then is State.PAUSED)


async def test_a_session_that_crashed_is_closed_all_the_same_when_it_is_removed() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await crash_until_quarantined(house)
        house.wish.remove("a")
        await house.until(lambda: not house.states())
        assert house.gateway.session("a-number").closes == 1


async def test_a_lease_that_is_lost_after_a_crash_is_waited_for() -> None:
    leases = FakeLeases()
    async with running(records("a"), leases=leases) as house:
        await house.until_state("a", State.RUNNING)
        await crash_until_quarantined(house)
        leases.table.kept.clear()
        other = leases.beside("two")
        await other.hold([A], 1e6)
        await house.until(lambda: house.status("a").reason == "LeasedElsewhere")
        await other.release([A])
        await house.until_state("a", State.RUNNING)


async def test_an_error_while_a_session_ends_is_told_and_keeps_nobody() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.inbox.hold("hand_over")
        await house.events.emit("received-message", message("a-number", "hello"))
        await house.inbox.until(lambda: house.inbox.calls["hand_over"] == 1)
        house.wish.remove("a")
        await house.until_state("a", State.DRAINING)
        crash(house, ValueError("a bug"))
        began = anyio.current_time()
        await house.until(lambda: not house.states())
        assert anyio.current_time() - began < 5
        assert ["ending" in each.message for each in house.all_told(Trouble)] == [True]


async def test_a_crashed_session_loses_no_reply() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        crash(house)
        await house.until(lambda: house.states()["a"] is not State.RUNNING)
        await house.until_state("a", State.RUNNING)
        await house.outbox.say(agent("a"), reply())
        await house.until(lambda: house.status("a").traffic.messages_out == 1)


async def test_a_keeper_that_fails_as_it_never_should_begins_again() -> None:
    async with running({"a": record("a", paused=True), "b": record("b")}) as house:
        await house.until_state("b", State.RUNNING)
        await house.until_state("a", State.PAUSED)
        house.supervisor._keepers[A].record._state = State.RUNNING  # where no pause is ever left for another record
        house.wish.put("a", b"{")
        (trouble,) = await house.until_told(Trouble)
        assert isinstance(trouble.error, IllegalTransitionError)
        await house.until_state("a", State.INVALID)
        assert house.states()["b"] is State.RUNNING


class BrokenRooms(dict[GatewayName, GatewayRoom]):
    """Rooms that cannot be looked up the next time."""

    is_broken = True

    def get(self, name: GatewayName, default: object = None) -> Any:  # noqa: ANN401  # as a dictionary has it
        """Fail once."""
        if self.is_broken:
            self.is_broken = False
            raise KeyError(name)
        return super().get(name, default)


async def test_a_keeper_that_fails_while_nothing_runs_begins_again() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.wish.put("a", b"{")
        await house.until_state("a", State.INVALID)
        house.supervisor._keepers[A]._standing.rooms = BrokenRooms(house.rooms)
        house.wish.put("a", record("a", paused=True))
        (trouble,) = await house.until_told(Trouble)
        assert isinstance(trouble.error, KeyError)
        await house.gateway.until(lambda: house.gateway.session("a-number").closes == 1)
        assert house.states()["a"] is State.PAUSED
