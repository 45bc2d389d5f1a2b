"""The status board is kept true: what changed soon, everything before its ttl ends, and after an outage what is due."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from tests.engine.harness import LONGEST, Witness, wall
from tests.fakes.board import FakeStatusBoard
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.observations import Trouble
from wa_supervisor.domain.status import Blocker, DaemonStatus, SessionStatus, is_stale
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.reporter import LEASED_ELSEWHERE, Reporter

pytestmark = pytest.mark.anyio

POLICY = SupervisorPolicy()
AWAY = StoreUnavailableError("Redis is away")


class Desk(Witness):
    """Statuses that a test changes, a board, and the reporter between the two."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.board = FakeStatusBoard()
        self.there: dict[str, SessionStatus] = {}
        self.reporter = Reporter(
            board=self.board,
            statuses=self.statuses,
            describe=self.describe,
            daemon="d",
            pid=7,
            policy=POLICY,
            observe=self.observe,
        )
        for name in names:
            self.put(name)

    def put(self, name: str, **fields: object) -> None:
        """Change the status of an integration, and say so."""
        given: dict[str, object] = {
            "id": IntegrationId(name),
            "agent_id": AgentId(f"agent-{name}"),
            "session": SessionName(name),
            "gateway": GatewayName("main"),
            "state": State.RUNNING,
            "reason": "Connected",
            "message": "m",
            "since": 0.0,
        }
        self.there[name] = SessionStatus(**{**given, **fields})  # type: ignore[arg-type]  # a table of fields has one type
        self.reporter.note(IntegrationId(name))

    def remove(self, name: str) -> None:
        del self.there[name]
        self.reporter.note(IntegrationId(name))

    def statuses(self) -> list[SessionStatus]:
        now = wall()
        return [msgspec.structs.replace(each, observed_at=now) for each in self.there.values()]

    def shown(self) -> dict[str, State]:
        """Give what the board shows."""
        return {str(name): status.state for name, status in self.board.statuses.items()}

    async def until_shown(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(LONGEST):
            await self.board.until(holds)

    @staticmethod
    def describe(statuses: Sequence[SessionStatus]) -> DaemonStatus:
        return DaemonStatus(
            id="d",
            host="h",
            pid=7,
            version="1",
            started_at=0.0,
            observed_at=0.0,
            ready=True,
            sessions=len(statuses),
            by_state={},
        )


@asynccontextmanager
async def reporting(desk: Desk) -> AsyncIterator[None]:
    """Let the reporter write for the length of the block."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.reporter.run)
        yield
        tasks.cancel_scope.cancel()


async def test_a_change_is_on_the_board_within_a_second() -> None:
    desk = Desk("a")
    async with reporting(desk):
        await anyio.sleep(1)
        desk.put("a", state=State.BACKOFF)
        await anyio.sleep(1)
        status = desk.board.statuses[IntegrationId("a")]
        assert (status.state, status.daemon, status.pid, status.ttl) == (State.BACKOFF, "d", 7, POLICY.status_ttl)
        assert desk.board.hub[AgentId("agent-a")]["status"] == "error"


async def test_nothing_on_the_board_ever_gets_older_than_its_ttl() -> None:
    desk = Desk("a", "b")
    async with reporting(desk):
        for _ in range(100):
            await anyio.sleep(7)
            assert len(desk.board.statuses) == 2
            assert not any(is_stale(status, wall()) for status in desk.board.statuses.values())
        assert desk.board.announced_for["d"] == POLICY.status_ttl


async def test_a_removed_integration_leaves_the_board() -> None:
    desk = Desk("a", "b")
    async with reporting(desk):
        await anyio.sleep(1)
        desk.remove("a")
        await anyio.sleep(1)
        assert set(desk.board.statuses) == {"b"}
        assert set(desk.board.hub) == {"agent-b"}


async def test_the_best_session_of_an_agent_speaks_to_the_hub() -> None:
    desk = Desk()
    desk.put("a", agent_id=AgentId("one"))
    desk.put("b", agent_id=AgentId("one"), state=State.PAUSED)
    async with reporting(desk):
        await anyio.sleep(1)
        assert [fields["status"] for fields in desk.board.hub.values()] == ["running"]


# Redis away


async def test_what_changed_while_redis_was_away_is_written_as_it_is_when_it_is_back() -> None:
    desk = Desk("a", "b")
    async with reporting(desk):
        await anyio.sleep(1)
        desk.board.fail_next("publish", AWAY, times=3)
        for state in (State.BACKOFF, State.HELD, State.PAUSED):
            desk.put("a", state=state)
        desk.remove("b")
        await desk.until_shown(lambda: desk.shown() == {"a": State.PAUSED})
    assert State.HELD not in {each.state for each in desk.board.published}
    assert sum(each.where == "status" for each in desk.all_told(Trouble)) == 3


async def test_on_return_everything_is_confirmed_at_once_for_what_was_there_may_be_gone() -> None:
    desk = Desk("a", "b")
    async with reporting(desk):
        await anyio.sleep(1)
        desk.board.fail_next("publish", AWAY, times=1)
        desk.put("a", state=State.BACKOFF)
        await desk.until_told(Trouble)
        desk.board.statuses.clear()
        desk.board.daemons.clear()
        await anyio.sleep(POLICY.retry_initial + 1)
        assert desk.shown() == {"a": State.BACKOFF, "b": State.RUNNING}
        assert set(desk.board.daemons) == {"d"}


@pytest.mark.parametrize("method", ["publish", "keep_only", "announce"])
async def test_whatever_fails_of_the_first_confirmation_is_made_up_for(method: str) -> None:
    desk = Desk("a")
    desk.board.statuses[IntegrationId("old")] = SessionStatus(
        id=IntegrationId("old"),
        agent_id=None,
        session=None,
        gateway=None,
        state=State.RUNNING,
        reason="R",
        message="m",
        since=0.0,
    )
    desk.board.fail_next(method, AWAY, times=5)
    async with reporting(desk):
        await desk.until_shown(lambda: desk.shown() == {"a": State.RUNNING} and bool(desk.board.daemons))


async def test_the_trouble_says_which_try_it_was_and_what_is_wrong() -> None:
    desk = Desk("a")
    desk.board.fail_next("publish", AWAY, times=1)
    async with reporting(desk):
        await desk.until_told(Trouble)
    (told,) = desk.all_told(Trouble)
    assert told.message.startswith("the status board cannot be written (try 1, next in ")
    assert told.message.endswith("s): Redis is away")


# Beside another daemon

ELSEWHERE = {"state": State.HELD, "reason": LEASED_ELSEWHERE}
BLOCKED = {"state": State.PENDING, "reason": "New", "blockers": [Blocker(name="lease", since=0.0, message="m")]}


@pytest.mark.parametrize("fields", [ELSEWHERE, BLOCKED])
async def test_what_another_daemon_runs_is_its_to_report_and_stays_on_the_board(fields: dict[str, object]) -> None:
    desk = Desk("ours")
    desk.put("theirs")
    their_word = desk.there["theirs"]
    desk.board.statuses[IntegrationId("theirs")] = their_word
    desk.board.hub[AgentId("agent-theirs")] = {"status": "running"}
    desk.put("theirs", **fields)
    async with reporting(desk):
        await anyio.sleep(10 * POLICY.status_refresh)
    assert desk.board.statuses[IntegrationId("theirs")] is their_word
    assert desk.board.hub[AgentId("agent-theirs")] == {"status": "running"}
    assert {each.id for each in desk.board.published} == {"ours"}


async def test_what_comes_over_from_another_daemon_is_reported_from_then_on() -> None:
    desk = Desk()
    desk.put("a", **ELSEWHERE)
    async with reporting(desk):
        await anyio.sleep(1)
        assert desk.shown() == {}
        desk.put("a", state=State.STARTING)
        await anyio.sleep(1)
        assert desk.shown() == {"a": State.STARTING}


async def test_a_daemon_that_stops_says_so_of_its_own_sessions_alone() -> None:
    desk = Desk("ours")
    desk.put("theirs", **ELSEWHERE)
    desk.reporter.leave_to_others()
    for name in ("ours", "theirs"):
        desk.put(name, state=State.STOPPED, reason="DaemonStopped")
    await desk.reporter.write(everything=True)
    assert desk.shown() == {"ours": State.STOPPED}


async def test_the_last_statuses_are_no_sign_of_life() -> None:
    desk = Desk("a")
    await desk.reporter.write(everything=True)
    assert desk.board.daemons == {}
    async with reporting(desk):
        await anyio.sleep(1)
    assert set(desk.board.daemons) == {"d"}
    await desk.reporter.farewell()
    assert desk.board.daemons == {}
