"""The installed command, driven as a user drives it, from the first `add` to SIGTERM and SIGKILL."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from tests.acceptance.harness import (
    PATIENCE,
    add,
    admin_url,
    command,
    daemon,
    declare,
    fetch,
    record,
    running,
    write_config,
)
from wa_supervisor.simulator import FAST, Status, simulated_gateway
from wa_supervisor.simulator.agent import EchoAgent

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


async def test_a_message_goes_the_whole_way_and_the_reply_comes_back(
    tmp_path: Path, redis_url: str, database_url: str
) -> None:
    async with simulated_gateway(timings=FAST) as gateway, anyio.create_task_group() as tasks:
        config = write_config(tmp_path, {"main": gateway}, redis_url, database_url)
        await tasks.start(EchoAgent(redis_url, ["agent-a"]).run)
        async with daemon(config) as started:
            await add(config, "a", "--wait")
            anna = gateway.person("5511900000077@c.us", name="Anna")
            lid = gateway.person("12345678901234@lid", name="Bento")
            anna.writes("a-number", "one")
            lid.writes("a-number", "two")
            with anyio.fail_after(PATIENCE):
                await gateway.until(lambda g: len(g.ledger.received) == 2)
            assert gateway.ledger.texts_received("a-number", anna.id) == ["echo: one"]
            assert gateway.ledger.texts_received("a-number", lid.id) == ["echo: two"]
            code, shown, _ = await command(config, "status")
            assert code == 0
            assert "running" in shown
            url = await admin_url(config)
            assert (await fetch(f"{url}/readyz")).status_code == 200
            assert (await fetch(f"{url}/healthz")).status_code == 200
            assert "wa_session_messages_in_total{" in (await fetch(f"{url}/metrics")).text
            assert await started.end() == 0
        assert gateway.session("a-number").status is Status.CONNECTED
        assert not gateway.ledger.forbidden
        code, shown, _ = await command(config, "status")
        assert code == 4  # no daemon is there to say how things are
        assert "stopped" in shown
        tasks.cancel_scope.cancel()


async def test_after_sigkill_all_sessions_come_back_and_nothing_stale_is_left_on(
    tmp_path: Path, redis_url: str, database_url: str
) -> None:
    async with simulated_gateway(timings=FAST) as gateway:
        config = write_config(tmp_path, {"main": gateway}, redis_url, database_url)
        names = [f"s{number}" for number in range(5)]
        async with daemon(config) as started:
            for name in names:
                await add(config, name)
            await started.until_running(5)
            # Nobody answers, so that people see "typing" when the daemon dies.
            for name in names:
                gateway.person("5511900000077@c.us").writes(f"{name}-number", "hello")
            with anyio.fail_after(PATIENCE):
                await gateway.until(lambda g: len(g.ledger.indicators_on) == 5)
            await started.end(signal.SIGKILL)
        starts = dict(gateway.ledger.starts)
        async with daemon(config) as started:
            await started.until_running(5)
            with anyio.fail_after(PATIENCE):
                await gateway.until(lambda g: not g.ledger.indicators_on)
            assert dict(gateway.ledger.starts) == starts  # adopted, not started anew
            await started.end()


async def test_one_connection_per_gateway_whatever_the_number_of_sessions(tmp_path: Path, redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        gateways = {f"g{n}": await stack.enter_async_context(simulated_gateway(timings=FAST)) for n in range(4)}
        config = write_config(tmp_path, gateways, redis_url)
        async with daemon(config) as started:
            wish = {f"s{n}": record(f"s{n}", gateway=f"g{n % 4}") for n in range(100)}
            await anyio.to_thread.run_sync(declare, redis_url, wish)
            await started.until_running(100)
            for gateway in gateways.values():
                assert len(gateway.sessions) == 25
                assert gateway.ledger.clients_peak == 1
            await started.end()


async def test_a_wrong_configuration_ends_with_78_and_names_every_mistake(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[gateways.main]\nurl = "ftp://x"\n[wish]\nresync = -1\n[redsi]\nurl = ""\n', encoding="utf-8")
    code, _, said = await command(config, "run")
    assert code == 78
    for key in ("gateways.main.url", "wish.resync", "redsi"):
        assert key in said


async def test_sighup_takes_up_a_new_gateway_and_a_bad_file_changes_nothing(tmp_path: Path, redis_url: str) -> None:
    async with simulated_gateway(timings=FAST) as one, simulated_gateway(timings=FAST) as two:
        config = write_config(tmp_path, {"one": one}, redis_url)
        async with daemon(config) as started:
            await add(config, "a", "--gateway", "one", "--wait")
            good = config.read_text(encoding="utf-8")
            config.write_text(good + "[nonsense]\n", encoding="utf-8")
            started.process.send_signal(signal.SIGHUP)
            await started.until_said("configuration not reloaded.*nonsense")
            config.write_text(good, encoding="utf-8")
            assert await running(config) == 1
            write_config(tmp_path, {"one": one, "two": two}, redis_url)
            started.process.send_signal(signal.SIGHUP)
            await started.until_said("configuration reloaded")
            await add(config, "b", "--gateway", "two", "--wait")
            assert await running(config) == 2
            assert one.ledger.starts == {"a-number": 1}
            await started.end()
