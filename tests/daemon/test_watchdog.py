"""The watchdog, with the real process: what gets it killed by its service manager, and what does not."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.acceptance.harness import declare, record, write_config
from tests.adapters.redis_server import own_server
from tests.daemon.daemon_room import PATIENCE, Manager, service_manager
from tests.daemon.process_room import BLOCKABLE, started, until_fed, until_silent, watched
from wa_supervisor.simulator import FAST, SimulatedGateway, Status, simulated_gateway

pytestmark = pytest.mark.anyio

ALLOWED = 3.0
"""Seconds between two signs of life, as `WatchdogSec=3` has it."""


@pytest.fixture
def anyio_backend() -> str:
    """Real processes need a real clock."""
    return "asyncio"


@pytest.fixture
async def gateway() -> AsyncIterator[SimulatedGateway]:
    """Give a gateway."""
    async with simulated_gateway(timings=FAST) as made:
        yield made


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Give the service manager's end."""
    with service_manager(tmp_path) as listening:
        yield listening


def run(config: Path) -> tuple[str, ...]:
    return (*BLOCKABLE, "run", "--config", str(config))


async def test_a_blocked_event_loop_is_killed_and_the_next_daemon_takes_its_sessions_over_as_they_are(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway, manager: Manager
) -> None:
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    declare(redis_url, {"a": record("a"), "b": record("b")})
    async with started(config, *run(config), environ=watched(manager, ALLOWED)) as process:
        await process.until_running(2)
        await until_fed(manager, 2)
        process.process.send_signal(signal.SIGUSR1)
        await until_silent(manager, ALLOWED)
        # What systemd does when WatchdogSec= has passed.
        assert await process.end(signal.SIGABRT) == -signal.SIGABRT
    assert gateway.ledger.starts == {"a-number": 1, "b-number": 1}
    async with started(config, *run(config), environ=watched(manager, ALLOWED)) as process:
        await process.until_running(2)
        await until_fed(manager, 1)
        assert await process.end() == 0
    assert gateway.ledger.starts == {"a-number": 1, "b-number": 1}
    assert {gateway.session(name).status for name in ("a-number", "b-number")} == {Status.CONNECTED}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_redis_that_is_dead_or_silent_for_longer_than_the_watchdog_allows_gets_nobody_killed(
    tmp_path: Path, gateway: SimulatedGateway, manager: Manager, how: signal.Signals
) -> None:
    with own_server() as server:
        config = write_config(tmp_path, {"main": gateway}, server.url, more="[wish]\nresync = 1\n")
        declare(server.url, {"a": record("a")})
        async with started(config, *run(config), environ=watched(manager, ALLOWED)) as process:
            await process.until_running(1)
            if how is signal.SIGKILL:
                await anyio.to_thread.run_sync(server.kill)
            else:
                server.signal(how)
            for _ in range(5):
                with anyio.fail_after(ALLOWED):
                    await until_fed(manager, 1)
            if how is signal.SIGKILL:
                await anyio.to_thread.run_sync(server.start)
                await anyio.to_thread.run_sync(declare, server.url, {"a": record("a")})
            else:
                server.signal(signal.SIGCONT)
            await process.until_running(1)
            assert await process.end() == 0
    assert gateway.ledger.starts == {"a-number": 1}


async def test_a_gateway_that_is_away_gets_nobody_killed_and_is_told_without_any_session(
    tmp_path: Path, redis_url: str, manager: Manager
) -> None:
    away = '[gateways.far]\nurl = "http://127.0.0.1:1"\nsecret = "s"\n'
    config = write_config(tmp_path, {}, redis_url, more=away)
    async with started(config, *run(config), environ=watched(manager, ALLOWED)) as process:
        for _ in range(5):
            with anyio.fail_after(PATIENCE if not manager.messages else ALLOWED):
                await until_fed(manager, 1)
        await process.until_said(r"gate closed; its sessions are held gateway=far why=")
        assert await process.end() == 0


async def test_a_blocked_event_loop_that_goes_on_is_told_in_the_log(tmp_path: Path, redis_url: str) -> None:
    away = '[gateways.far]\nurl = "http://127.0.0.1:1"\nsecret = "s"\n'
    config = write_config(tmp_path, {}, redis_url, more=away)
    async with started(config, *run(config)) as process:
        await process.until_said(r"info +ready")
        process.process.send_signal(signal.SIGSTOP)
        await anyio.sleep(2.0)  # as long as the loop stands still
        process.process.send_signal(signal.SIGCONT)
        await process.until_said(r"event loop was blocked: everything waited seconds=\d+")
        assert await process.end() == 0
