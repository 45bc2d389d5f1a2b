"""Daemons beside each other on one Redis: what is another's stays as it is, and a namesake is told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import msgspec
import pytest

from tests.adapters.redis_server import own_server
from tests.daemon.daemon_room import declare, page, running, settings_for, until, until_state
from tests.daemon.test_summary import status
from wa_supervisor.adapters.redis.board import RedisStatusBoard
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.adapters.redis.keys import Keys
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.config import DaemonSettings
from wa_supervisor.daemon import Daemon
from wa_supervisor.daemon.neighbours import SharedBoard
from wa_supervisor.daemon.stores import with_redis
from wa_supervisor.daemon.telling import wall
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.status import DaemonStatus, SessionStatus
from wa_supervisor.simulator import FAST, SimulatedGateway, simulated_gateway

pytestmark = pytest.mark.anyio

TTL = 60.0
DEAD = 2**22 + 1
"""A process id that no kernel gives."""


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


@pytest.fixture
async def gateway() -> AsyncIterator[SimulatedGateway]:
    """Give a gateway."""
    async with simulated_gateway(timings=FAST) as made:
        yield made


@contextmanager
def another_process() -> Iterator[int]:
    """Give the id of a process that lives on this host and is not ours."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def announcement(
    name: str = "one", *, pid: int = 0, host: str = "", started_at: float = 1.0, observed_at: float = 0.0
) -> DaemonStatus:
    return DaemonStatus(
        id=name,
        host=host or socket.gethostname(),
        pid=pid or os.getpid(),
        version="1",
        started_at=started_at,
        observed_at=observed_at,
        ready=True,
        sessions=1,
        by_state={},
    )


class Side:
    """One daemon's view of the board, with a wall clock of its own."""

    def __init__(self, store: RedisStore, ours: DaemonStatus) -> None:
        self.ours = ours
        self.now = 1000.0
        self.rivals: list[DaemonStatus | None] = []
        self.plain = RedisStatusBoard(store.client, Keys())
        self.board = SharedBoard(self.plain, store.client, Keys(), wall=lambda: self.now, tell_rival=self.rivals.append)

    async def announce(self) -> DaemonStatus | None:
        """Announce; give the rival that was told."""
        await self.board.announce(self.ours, TTL)
        return self.rivals[-1]

    async def publish(self, name: str, observed_at: float | None = None) -> None:
        """Publish the status of an integration."""
        at = self.now if observed_at is None else observed_at
        word = msgspec.structs.replace(
            status(State.RUNNING),
            id=IntegrationId(name),
            agent_id=AgentId(f"agent-{name}"),
            observed_at=at,
            ttl=TTL,
            daemon=self.ours.id,
            pid=self.ours.pid,
        )
        await self.board.publish([word], {AgentId(f"agent-{name}"): {"status": "running"}})

    async def keep_only(self, *names: str) -> None:
        """Keep these."""
        agents = frozenset(AgentId(f"agent-{name}") for name in names)
        await self.board.keep_only(frozenset(map(IntegrationId, names)), agents)


@asynccontextmanager
async def sides(redis_url: str, *ours: DaemonStatus) -> AsyncIterator[list[Side]]:
    """Give the views of several daemons on one server."""
    async with with_redis(settings_for(redis_url)) as store:
        yield [Side(store, each) for each in ours]


def shown(redis_url: str) -> tuple[set[str], dict[str, int]]:
    """Give the integrations that have a status, and the daemons with their process ids."""
    with OperatorDesk(redis_url) as desk:
        return set(desk.statuses()), {each.id: each.pid for each in desk.daemons()}


# Statuses


async def test_a_status_that_another_living_daemon_confirms_is_not_removed_nor_its_agents_word(redis_url: str) -> None:
    async with sides(redis_url, announcement("one"), announcement("two", pid=DEAD)) as (one, two):
        await one.announce()
        await two.announce()
        await two.publish("theirs")
        await one.publish("ours")
        await one.publish("gone")
        await one.keep_only("ours")
        assert shown(redis_url)[0] == {"ours", "theirs"}
        with OperatorDesk(redis_url) as desk:
            assert desk._line.call(b"EXISTS", b"integration_status:agent-theirs:whatsapp") == 1
            assert desk._line.call(b"EXISTS", b"integration_status:agent-gone:whatsapp") == 0


async def test_a_status_whose_daemon_lives_no_more_or_confirms_it_no_more_is_removed(redis_url: str) -> None:
    async with sides(redis_url, announcement("one"), announcement("two"), announcement("three")) as (one, two, three):
        await one.announce()
        await three.announce()
        await two.publish("of-a-dead-one")
        await three.publish("confirmed-long-ago", observed_at=one.now - TTL - 1)
        await three.publish("fresh")
        await one.keep_only()
        assert shown(redis_url)[0] == {"fresh"}


async def test_what_an_earlier_process_of_ours_left_is_removed(redis_url: str) -> None:
    async with sides(redis_url, announcement(), announcement(pid=DEAD)) as (one, predecessor):
        await predecessor.announce()
        await predecessor.publish("removed-meanwhile")
        assert await one.announce() is None
        await one.keep_only()
        assert shown(redis_url)[0] == set()


async def test_a_status_that_nobody_can_read_is_nobodys(redis_url: str) -> None:
    async with sides(redis_url, announcement()) as (one,):
        with OperatorDesk(redis_url) as desk:
            desk._line.call(b"HSET", b"wa:status", b"strange", b"{")
        await one.keep_only()
        assert shown(redis_url)[0] == set()


# Namesakes


async def test_a_living_process_of_this_host_that_has_our_name_is_a_rival_at_once(redis_url: str) -> None:
    with another_process() as pid:
        async with sides(redis_url, announcement(), announcement(pid=pid)) as (one, namesake):
            await namesake.announce()
            await namesake.publish("theirs")
            rival = await one.announce()
            assert rival is not None
            assert rival.pid == pid
            await one.keep_only()
            assert shown(redis_url)[0] == {"theirs"}


async def test_a_daemon_elsewhere_that_has_our_name_is_a_rival_when_it_speaks_after_us(redis_url: str) -> None:
    async with sides(redis_url, announcement(), announcement(host="far")) as (one, far):
        await far.announce()
        assert await one.announce() is None  # it may have died a moment ago
        await far.announce()
        rival = await one.announce()
        assert rival is not None
        assert rival.host == "far"


async def test_a_rival_is_forgotten_when_it_was_silent_for_a_ttl(redis_url: str) -> None:
    async with sides(redis_url, announcement(), announcement(host="far")) as (one, far):
        await one.announce()
        await far.announce()
        assert await one.announce() is not None
        one.now += TTL - 1
        assert await one.announce() is not None
        one.now += 1
        assert await one.announce() is None


@pytest.mark.parametrize(
    "left",
    [announcement(pid=DEAD), announcement(started_at=0.5), announcement(host="far")],
    ids=["a dead process", "the same process id before", "another host"],
)
async def test_what_a_predecessor_left_is_no_rival(redis_url: str, left: DaemonStatus) -> None:
    async with sides(redis_url, announcement(), left) as (one, predecessor):
        await predecessor.announce()
        assert await one.announce() is None
        assert await one.announce() is None


async def test_an_announcement_is_taken_back_by_the_process_that_made_it_alone(redis_url: str) -> None:
    async with sides(redis_url, announcement(), announcement(host="far", pid=7)) as (one, far):
        await one.announce()
        await far.announce()
        await one.board.farewell("one")
        assert shown(redis_url)[1] == {"one": 7}
        await far.board.farewell("one")
        await far.board.farewell("one")
        assert shown(redis_url)[1] == {}


async def test_an_announcement_whose_making_was_cut_off_is_taken_back_too(redis_url: str) -> None:
    async with sides(redis_url, announcement(pid=7)) as (one,):
        for steps in range(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.announce)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            await one.board.farewell("one")
            assert shown(redis_url)[1] == {}


async def test_one_that_never_announced_itself_takes_nothing_back(redis_url: str) -> None:
    async with sides(redis_url, announcement(pid=7), announcement()) as (one, quiet):
        await one.announce()
        await quiet.board.farewell("one")
        assert shown(redis_url)[1] == {"one": 7}


async def test_a_board_that_is_away_is_away_for_all_of_it() -> None:
    with own_server() as server:
        server.kill()
        async with sides(server.url, announcement()) as (one,):
            with pytest.raises(StoreUnavailableError):
                await one.announce()
            with pytest.raises(StoreUnavailableError):
                await one.keep_only("a")
            with pytest.raises(StoreUnavailableError):
                await one.board.farewell("one")
            with pytest.raises(StoreUnavailableError):
                await one.board.offer_login(IntegrationId("a"), None)
        assert one.rivals == []


# Two daemons, one wish


def states(redis_url: str) -> dict[str, tuple[State, str, str]]:
    with OperatorDesk(redis_url) as desk:
        return {name: (each.state, each.reason, each.daemon) for name, each in desk.statuses().items()}


def on_board(redis_url: str) -> dict[str, SessionStatus]:
    with OperatorDesk(redis_url) as desk:
        return desk.statuses()


def named(name: str) -> DaemonSettings:
    return DaemonSettings(id=name, shutdown_timeout=20.0, lease_ttl=3.0)


async def test_the_second_daemon_neither_reports_nor_stops_what_the_first_one_runs(
    redis_url: str, gateway: SimulatedGateway
) -> None:
    declare(redis_url, "a", "b")
    first = Daemon(settings_for(redis_url, {"main": gateway}, daemon=named("first")), environ={})
    second = Daemon(settings_for(redis_url, {"main": gateway}, daemon=named("second")), environ={})
    async with running(first):
        await until(lambda: [each[0] for each in states(redis_url).values()] == [State.RUNNING] * 2)
        ran = states(redis_url)
        async with running(second) as started:
            await until(lambda: [each.reason for each in second.statuses()] == ["LeasedElsewhere"] * 2)
            await until(lambda: set(shown(redis_url)[1]) == {"first", "second"})
            began = wall()
            # Both have confirmed everything that is theirs at least once more.
            await until(lambda: all(each.observed_at > began for each in on_board(redis_url).values()))
            assert states(redis_url) == ran
            assert "\nwa_leases_elsewhere 2.0\n" in (await page(started, "/metrics"))[1]
        assert states(redis_url) == ran
        assert set(shown(redis_url)[1]) == {"first"}
    assert {each[:2] for each in states(redis_url).values()} == {(State.STOPPED, "DaemonStopped")}
    assert gateway.ledger.starts == {"a-number": 1, "b-number": 1}


async def test_what_the_first_daemon_gives_back_the_second_one_runs_and_reports(
    redis_url: str, gateway: SimulatedGateway
) -> None:
    declare(redis_url, "a")
    first = Daemon(settings_for(redis_url, {"main": gateway}, daemon=named("first")), environ={})
    second = Daemon(settings_for(redis_url, {"main": gateway}, daemon=named("second")), environ={})
    async with running(first):
        await until_state(first, "a", State.RUNNING)
        async with anyio.create_task_group() as tasks:
            await tasks.start(second.run)
            await until(lambda: [each.reason for each in second.statuses()] == ["LeasedElsewhere"])
            first.stop()
            await until_state(second, "a", State.RUNNING)
            await until(lambda: states(redis_url)["a"][::2] == (State.RUNNING, "second"))
            second.stop()
    assert gateway.ledger.starts == {"a-number": 1}


async def test_a_namesake_is_told_in_log_readiness_and_metrics_and_harms_no_session(
    redis_url: str, gateway: SimulatedGateway, caplog: pytest.LogCaptureFixture
) -> None:
    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ={})
    with another_process() as pid:
        async with sides(redis_url, announcement("test", pid=pid)) as (namesake,), running(daemon) as started:
            await until_state(daemon, "a", State.RUNNING)
            await namesake.announce()
            await until(lambda: "another daemon has the same name" in caplog.text)
            missing = (await page(started, "/readyz"))[1]["missing"]
            assert missing[0].startswith(f"another daemon named 'test' is alive (process {pid} on ")
            assert "daemon.id" in missing[0]
            assert "\nwa_daemon_rivals 1.0\n" in (await page(started, "/metrics"))[1]
            assert [each.state for each in daemon.statuses()] == [State.RUNNING]
            await until(lambda: not [text for text in daemon._telling.missing() if "another daemon" in text])
    assert [each.levelname for each in caplog.records if "same name" in each.message] == ["ERROR"]
