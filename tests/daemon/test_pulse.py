"""The daemon's pulse, as a real notification socket hears it: fed by the progress of rounds and by nothing else.

Most of it plays in virtual time: a datagram to a local socket is there once it is sent, and nothing is waited for.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import anyio
import pytest

from tests.daemon.daemon_room import NOWHERE, Manager, service_manager, settings_for
from tests.daemon.test_summary import status
from tests.engine.virtual_time import virtual_backend
from wa_supervisor.adapters.systemd import ServiceManager
from wa_supervisor.daemon.pulse import ASK_AGAIN, Pulse
from wa_supervisor.daemon.telling import Phase, Telling
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.observations import Reconciled

WATCHDOG = "WATCHDOG=1"
ALLOWED = 60.0
"""Seconds that the service manager allows between two signs of life."""
LONGEST_ROUND = 100.0

SETTINGS = settings_for(NOWHERE)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, object]]:
    """Give both event loops in virtual time."""
    return virtual_backend(request.param)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Give the service manager's end."""
    with service_manager(tmp_path) as listening:
        yield listening


def a_round(error: str | None = None) -> Reconciled:
    return Reconciled(seconds=0.0, wanted=0, invalid=0, changed=0, error=error)


@asynccontextmanager
async def beating(manager: Manager, told: Telling, *, watchdog: bool = True) -> AsyncIterator[None]:
    """Let the pulse beat for the length of the block."""
    environ = {**manager.environ, **({"WATCHDOG_USEC": str(int(ALLOWED * 1_000_000))} if watchdog else {})}
    service = ServiceManager(environ, monotonic=anyio.current_time)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Pulse(service, told, longest_round=LONGEST_ROUND).run)
        yield
        tasks.cancel_scope.cancel()


def telling(phase: Phase = "ready") -> Telling:
    told = Telling(SETTINGS, lambda: [status(State.RUNNING)])
    told.phase = phase
    return told


async def rounds(manager: Manager, told: Telling, seconds: float, error: str | None = None) -> None:
    """Let rounds end every ten seconds for so long; the manager listens, for the kernel keeps few datagrams."""
    for _ in range(int(seconds / 10)):
        told.observe(a_round(error))
        await anyio.sleep(10)
        manager.listen()


@pytest.mark.anyio
async def test_while_rounds_end_the_watchdog_is_fed_twice_as_often_as_it_must_be(manager: Manager) -> None:
    told = telling()
    async with beating(manager, told):
        await rounds(manager, told, 600)
    fed = manager.count(WATCHDOG)
    assert 600 / ALLOWED * 2 - 2 <= fed <= 600 / ALLOWED * 2 + 1


@pytest.mark.anyio
async def test_rounds_that_cannot_read_the_wish_feed_it_too(manager: Manager) -> None:
    told = telling()
    async with beating(manager, told):
        await rounds(manager, told, 600, "Redis cannot be reached")
    assert manager.count(WATCHDOG) >= 600 / ALLOWED * 2 - 2


@pytest.mark.anyio
async def test_a_round_that_is_stuck_stops_the_feeding_and_its_end_begins_it_again(manager: Manager) -> None:
    told = telling()
    async with beating(manager, told):
        await rounds(manager, told, 100)
        await anyio.sleep(LONGEST_ROUND + 1)
        before = manager.count(WATCHDOG)
        assert before > 0
        await anyio.sleep(100 * ALLOWED)
        assert manager.count(WATCHDOG) == before
        told.observe(a_round())
        await anyio.sleep(2)
        assert manager.count(WATCHDOG) == before + 1


@pytest.mark.anyio
async def test_a_start_that_took_long_is_no_stuck_round(manager: Manager) -> None:
    told = telling("coming up")
    await anyio.sleep(10 * LONGEST_ROUND)  # private servers read their data back
    async with beating(manager, told):
        await anyio.sleep(1)
    assert manager.count(WATCHDOG) == 1


@pytest.mark.anyio
async def test_without_a_watchdog_nobody_is_fed(manager: Manager) -> None:
    told = telling()
    async with beating(manager, told, watchdog=False):
        await rounds(manager, told, 600)
    assert manager.count(WATCHDOG) == 0


@pytest.mark.anyio
async def test_while_redis_is_away_at_the_start_more_time_is_asked_for_again_and_again(manager: Manager) -> None:
    told = telling("coming up")
    async with beating(manager, told):
        await rounds(manager, told, 600, "Redis cannot be reached")
        asked = [each for each in manager.listen() if each.startswith("EXTEND_TIMEOUT_USEC=")]
        assert len(asked) >= 600 / ASK_AGAIN - 2
        assert all(int(each.partition("=")[2]) >= (LONGEST_ROUND + ASK_AGAIN) * 1_000_000 for each in asked)


@pytest.mark.anyio
async def test_a_first_round_that_is_stuck_gets_no_more_time(manager: Manager) -> None:
    told = telling("coming up")
    async with beating(manager, told):
        await anyio.sleep(LONGEST_ROUND + 1)
        before = manager.listen()[:]
        await anyio.sleep(10 * LONGEST_ROUND)
        assert manager.listen() == before


@pytest.mark.anyio
@pytest.mark.parametrize("phase", ["ready", "stopping"])
async def test_once_it_is_up_no_more_time_is_asked_for(manager: Manager, phase: Phase) -> None:
    told = telling(phase)
    async with beating(manager, told):
        await rounds(manager, told, 100)
    assert not [each for each in manager.listen() if each.startswith("EXTEND_TIMEOUT_USEC=")]


@pytest.mark.anyio
async def test_the_status_line_follows_the_daemon(manager: Manager) -> None:
    told = telling("coming up")
    async with beating(manager, told):
        await anyio.sleep(2)
        told.observe(a_round("Redis cannot be reached"))
        await anyio.sleep(2)
        told.phase = "ready"
        await anyio.sleep(60)
        told.phase = "stopping"
        await anyio.sleep(2)
    assert [each for each in manager.listen() if each.startswith("STATUS=")] == [
        "STATUS=coming up: the wish has not been read yet",
        "STATUS=coming up: Redis cannot be reached",
        "STATUS=1/1 running",
        "STATUS=stopping: 1/1 running",
    ]


class Victim:
    """An event loop in another thread that can be blocked; its pulse is watched from outside."""

    def __init__(self, address: Path) -> None:
        self.blocked, self.go_on = threading.Event(), threading.Event()
        self._loop = asyncio.new_event_loop()
        self._service = ServiceManager({"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "20000"})
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._live(),))

    def start(self) -> None:
        self._thread.start()

    def block(self) -> None:
        """Block the loop; return when it is blocked."""
        self._loop.call_soon_threadsafe(self._wait)
        assert self.blocked.wait(60)

    def end(self) -> None:
        self.go_on.set()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self._loop.close()

    async def _live(self) -> None:
        self._stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            told = Telling(SETTINGS, list)
            pulse = tasks.create_task(Pulse(self._service, told, longest_round=LONGEST_ROUND).run())
            await self._stop.wait()
            pulse.cancel()

    def _wait(self) -> None:
        self.blocked.set()
        assert self.go_on.wait(60)


def until_fed(listening: socket.socket) -> None:
    while WATCHDOG not in listening.recv(4096).decode():
        pass


def until_silent(listening: socket.socket) -> NoReturn:
    while True:
        listening.recv(4096)


def test_a_blocked_loop_feeds_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        victim = Victim(tmp_path / "notify")
        victim.start()
        try:
            until_fed(listening)
            victim.block()
            listening.settimeout(0.3)  # thirty times what is between two feedings
            with pytest.raises(TimeoutError):
                until_silent(listening)
            listening.settimeout(60)
            victim.go_on.set()
            until_fed(listening)
        finally:
            victim.end()
