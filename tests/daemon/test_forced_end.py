"""The process always ends: what does not end in order is named and left by force, with the real process."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.acceptance.harness import declare, record, write_config
from tests.daemon.daemon_room import PATIENCE, until
from tests.daemon.embedded_room import needs_servers, residents, short_directory
from tests.daemon.process_room import BLOCKABLE, DEAF, started
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.daemon import ABANDONED
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.simulator import FAST, Fault, SimulatedGateway, Status, simulated_gateway
from wa_supervisor.simulator.agent import EchoAgent

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Real processes need a real clock."""
    return "asyncio"


@pytest.fixture
async def gateway() -> AsyncIterator[SimulatedGateway]:
    """Give a gateway."""
    async with simulated_gateway(timings=FAST) as made:
        yield made


def hurried(config: Path) -> Path:
    """Let a stop take as little time as the settings allow."""
    quick = config.read_text().replace("[daemon]", "[daemon]\nshutdown_timeout = 2")
    config.write_text(quick.replace("[redis]", "[redis]\ncommand_timeout = 1"))
    return config


async def test_a_task_that_swallows_its_cancellation_is_named_and_the_process_ends_all_the_same(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    config = hurried(write_config(tmp_path, {"main": gateway}, redis_url))
    declare(redis_url, {"a": record("a")})
    async with started(config, *DEAF, str(config)) as process:
        await process.until_running(1)
        assert await process.end() == ABANDONED
    last = process.log.rstrip().splitlines()[-1]
    assert "did not end in time: leaving by force" in last
    assert "_hear_nothing" in last
    assert "exit_code=70" in last
    # Everything else ended in order before that.
    with OperatorDesk(redis_url) as desk:
        assert {name: each.state for name, each in desk.statuses().items()} == {"a": State.STOPPED}
        assert desk.daemons() == []
    assert gateway.session("a-number").status is Status.CONNECTED


async def test_an_event_loop_that_blocks_while_it_stops_does_not_keep_the_process(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    gateway.script(Fault(route="send-message", answer="nothing"))
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    config.write_text(config.read_text().replace("[daemon]", "[daemon]\nshutdown_timeout = 10"))
    declare(redis_url, {"a": record("a")})
    async with anyio.create_task_group() as tasks:
        await tasks.start(EchoAgent(redis_url, ["agent-a"]).run)
        async with started(config, *BLOCKABLE, "run", "--config", str(config)) as process:
            await process.until_running(1)
            gateway.person("5511900000077@c.us").writes("a-number", "hello")
            with anyio.fail_after(PATIENCE):
                await gateway.until(lambda g: g.ledger.calls["send-message"])
            process.process.send_signal(signal.SIGTERM)
            await process.until_said("stopping: finishing what is in flight")
            assert await process.end(signal.SIGUSR1) == ABANDONED
        tasks.cancel_scope.cancel()
    last = process.log.rstrip().splitlines()[-1]
    assert "did not end in time: leaving by force" in last
    assert 'main_thread="_sleep (blockable.py:' in last


async def test_a_second_signal_shortens_the_time_after_which_it_is_left_by_force(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    config.write_text(config.read_text().replace("[daemon]", "[daemon]\nshutdown_timeout = 60"))
    async with started(config, *DEAF, str(config)) as process:
        await process.until_said(r"info +ready")
        process.process.send_signal(signal.SIGTERM)
        await process.until_said("stopping: finishing what is in flight")
        assert await process.end() == ABANDONED
    assert "asked twice to stop" in process.log


@needs_servers
async def test_private_servers_are_told_to_end_before_it_is_left_by_force() -> None:
    with short_directory() as folder:
        state = folder / "state"
        config = folder / "config.toml"
        config.write_text(
            f'[daemon]\nid = "test"\nlog_format = "text"\nshutdown_timeout = 10\n[embedded]\nenabled = true\n'
            f'state_dir = "{state}"\n[admin]\nport = 0\n[gateways.main]\nurl = "http://127.0.0.1:1"\nsecret = "s"\n'
        )
        async with started(config, *DEAF, str(config), "10") as process:
            await process.until_said(r"info +ready")
            assert residents(state / "valkey")
            assert await process.end() == ABANDONED
        await until(lambda: not residents(state / "valkey") and not residents(state / "postgres"))
