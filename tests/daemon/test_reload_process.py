"""SIGHUP to the real process: only what changed is begun anew, and a bad file changes nothing and says why."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import httpx
import pytest

from tests.acceptance.harness import COMMAND, Daemon, declare, record, write_config
from tests.daemon.daemon_room import PATIENCE, until
from tests.daemon.process_room import started
from wa_supervisor.simulator import FAST, SimulatedGateway, simulated_gateway

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


@pytest.fixture
async def second() -> AsyncIterator[SimulatedGateway]:
    """Give another gateway."""
    async with simulated_gateway(timings=FAST) as made:
        yield made


def run(config: Path) -> tuple[str, ...]:
    return (COMMAND, "run", "--config", str(config))


def hang_up(process: Daemon) -> None:
    process.process.send_signal(signal.SIGHUP)


async def metric(process: Daemon, name: str) -> float:
    """Give a number of the daemon's without labels."""
    url = (await process.until_said(r"admin server listens url=(\S+)"))[1]
    async with httpx.AsyncClient(trust_env=False) as client:
        lines = (await client.get(f"{url}/metrics")).text.splitlines()
    (value,) = [line.partition(" ")[2] for line in lines if line.startswith(f"{name} ")]
    return float(value)


async def test_only_the_gateway_that_changed_is_connected_to_anew_and_no_browser_starts_again(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway, second: SimulatedGateway
) -> None:
    config = write_config(tmp_path, {"one": gateway, "two": second}, redis_url)
    declare(redis_url, {"a": record("a", gateway="one"), "b": record("b", gateway="two")})
    async with started(config, *run(config)) as process:
        await process.until_running(2)
        text = config.read_text()
        changed = text.replace(f'url = "{second.url}"', f'url = "{second.url}"\nrequests_at_once = 3')
        config.write_text(changed)
        hang_up(process)
        await process.until_said(r"info +configuration reloaded followed=gateways\.two\.requests_at_once")
        with anyio.fail_after(PATIENCE):
            await second.until(lambda g: g.ledger.connections_total == 2 and g.ledger.clients == 1)
        await process.until_running(2)
        assert gateway.ledger.connections_total == 1
        assert (gateway.ledger.starts, second.ledger.starts) == ({"a-number": 1}, {"b-number": 1})
        hang_up(process)
        await process.until_said(r'configuration reloaded followed="nothing: it is as before"')
        assert await process.end() == 0
    assert (gateway.ledger.connections_total, second.ledger.connections_total) == (1, 2)


def vanish(config: Path) -> None:
    config.unlink()


def become_a_folder(config: Path) -> None:
    config.unlink()
    config.mkdir()


def be_no_text(config: Path) -> None:
    config.write_bytes(b'[daemon]\nid = "\xff"\n')


def be_cut_off(config: Path) -> None:
    config.write_text(config.read_text()[:-1] + "\n[wish\n")


def have_a_wrong_type(config: Path) -> None:
    config.write_text(config.read_text() + '[wish]\nresync = "soon"\n')


def have_an_unknown_key(config: Path) -> None:
    config.write_text(config.read_text() + "[wish]\nresinc = 3\n")


def contradict_itself(config: Path) -> None:
    config.write_text(config.read_text().replace("refresh = 1.0", "refresh = 5.9"))


def lose_its_gateways(config: Path) -> None:
    config.write_text(config.read_text().partition("[gateways")[0])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (vanish, r"config\.toml: cannot be read: No such file or directory"),
        (become_a_folder, r"config\.toml: cannot be read: Is a directory"),
        (be_no_text, r"config\.toml, line 2, column 7: a byte that is not UTF-8"),
        (be_cut_off, r"config\.toml, line \d+"),
        (have_a_wrong_type, r"wish\.resync"),
        (have_an_unknown_key, r"wish\.resinc"),
        (contradict_itself, r"status\.refresh"),
        (lose_its_gateways, r"gateways: there is none"),
    ],
)
async def test_a_bad_file_changes_nothing_and_says_why_and_a_good_one_is_followed_after_it(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway, spoil: Callable[[Path], None], why: str
) -> None:
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    declare(redis_url, {"a": record("a")})
    async with started(config, *run(config)) as process:
        await process.until_running(1)
        good = config.read_text()
        spoil(config)
        hang_up(process)
        await process.until_said(rf'error +configuration not reloaded, the old one stays mistake="[^\n]*{why}')
        assert await metric(process, "wa_config_last_reload_successful") == 0
        assert "Traceback" not in process.log
        if config.is_dir():
            config.rmdir()
        config.write_text(good)
        hang_up(process)
        await process.until_said(r'configuration reloaded followed="nothing: it is as before"')
        assert await metric(process, "wa_config_last_reload_successful") == 1
        await process.until_running(1)
        assert await process.end() == 0
    assert gateway.ledger.connections_total == 1
    assert gateway.ledger.starts == {"a-number": 1}


async def test_notices_are_told_in_the_same_words_at_the_start_and_at_a_reload(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    config.chmod(0o644)
    async with started(config, *run(config)) as process:
        await process.until_said(r"info +ready")
        hang_up(process)
        await process.until_said(r"configuration reloaded")
        assert await process.end() == 0
    told = [
        line.partition("notice ")[2] for line in process.log.splitlines() if "notice about the configuration" in line
    ]
    assert len(told) == 2
    assert told[0] == told[1]
    assert "may be read by everybody" in told[0]
    assert gateway.secret not in process.log


async def test_a_simulated_gateway_that_is_told_to_end_ends_in_order(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = await anyio.open_process(
            [COMMAND, "simulate-gateway", "--port", "0"], stdout=out, stderr=subprocess.STDOUT
        )
    async with process:
        await until(lambda: b"control" in (tmp_path / "out").read_bytes())
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(PATIENCE):
            assert await process.wait() == 0
    assert "Traceback" not in (tmp_path / "out").read_text()


async def test_a_simulated_gateway_whose_port_is_taken_says_so(gateway: SimulatedGateway) -> None:
    port = gateway.url.rpartition(":")[2]
    done = await anyio.run_process([COMMAND, "simulate-gateway", "--port", port], check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}".encode() in done.stderr
    assert b"give another --port" in done.stderr
