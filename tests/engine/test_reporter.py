"""The status board is kept true: what changed soon, everything before its ttl ends, and after an outage what is due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.engine.harness import House, agent, record, records, running
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.observations import Trouble
from wa_supervisor.domain.status import DaemonStatus, SessionStatus, is_stale
from wa_supervisor.engine.reporter import Reporter

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def reporting(house: House) -> AsyncIterator[Reporter]:
    """Run a reporter on what `house` has."""

    def describe(statuses: list[SessionStatus] | tuple[SessionStatus, ...]) -> DaemonStatus:
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

    reporter = Reporter(
        board=house.board,
        statuses=house.supervisor.statuses,
        describe=lambda statuses: describe(tuple(statuses)),
        daemon="d",
        pid=7,
        policy=house.policies.supervisor,
        observe=house.observe,
    )
    inner = house.supervisor.changed

    def changed(name: IntegrationId) -> None:
        inner(name)
        reporter.note(name)

    house.supervisor.changed = changed
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reporter.run)
        yield reporter
        tasks.cancel_scope.cancel()


async def test_a_change_is_on_the_board_within_a_second() -> None:
    async with running(records("a")) as house, reporting(house):
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(1)
        status = house.board.statuses[IntegrationId("a")]
        assert (status.state, status.daemon, status.pid) == (State.RUNNING, "d", 7)
        assert house.board.hub[agent("a")]["status"] == "running"


async def test_nothing_on_the_board_ever_gets_older_than_its_ttl() -> None:
    async with running(records("a", "b")) as house, reporting(house):
        await house.until_state("a", State.RUNNING)
        for _ in range(100):
            await anyio.sleep(7)
            now = house.supervisor.statuses()[0].observed_at
            assert not any(is_stale(status, now) for status in house.board.statuses.values())
        assert house.board.announced_for["d"] == house.policies.supervisor.status_ttl


async def test_a_removed_integration_leaves_the_board() -> None:
    async with running(records("a", "b")) as house, reporting(house):
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(1)
        house.wish.remove("a")
        await house.until(lambda: "a" not in house.states())
        await anyio.sleep(1)
        assert set(house.board.statuses) == {"b"}
        assert set(house.board.hub) == {agent("b")}


async def test_the_best_session_of_an_agent_speaks_to_the_hub() -> None:
    wish = {"a": record("a", agent="one"), "b": record("b", agent="one", paused=True)}
    async with running(wish) as house, reporting(house):
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(1)
        assert [fields["status"] for fields in house.board.hub.values()] == ["running"]


async def test_what_could_not_be_written_is_written_when_the_board_is_back() -> None:
    async with running(records("a")) as house, reporting(house):
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(1)
        house.board.fail_next("publish", StoreUnavailableError("away"), times=3)
        house.wish.put("a", record("a", paused=True))
        await house.until_state("a", State.PAUSED)
        await house.until(lambda: sum(each.where == "status" for each in house.all_told(Trouble)) == 3)
        await house.board.until(lambda: house.board.statuses[IntegrationId("a")].state is State.PAUSED)
