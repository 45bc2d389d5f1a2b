"""Signals: in this process where the daemon can be looked into, and in one of its own where the exit code counts."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.acceptance.harness import COMMAND, record, write_config
from tests.acceptance.harness import Daemon as Process
from tests.acceptance.harness import declare as declare_records
from tests.adapters.redis_server import own_server
from tests.daemon.daemon_room import NOWHERE, PATIENCE, declare, logging_as_before, settings_for, until, until_state
from tests.daemon.embedded_room import needs_servers, residents, short_directory
from tests.daemon.process_room import started as started_program
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.config import DaemonSettings, Settings
from wa_supervisor.daemon import Daemon, run_under_signals
from wa_supervisor.domain.errors import ConfigurationError, PermanentError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import SessionStatus
from wa_supervisor.simulator import FAST, Fault, SimulatedGateway, Status, simulated_gateway
from wa_supervisor.simulator.agent import EchoAgent

pytestmark = pytest.mark.anyio

ANNA = "5511900000077@c.us"


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


@pytest.fixture
async def gateway() -> AsyncIterator[SimulatedGateway]:
    """Give a gateway."""
    async with simulated_gateway(timings=FAST) as made:
        yield made


@pytest.fixture
def _logging() -> Iterator[None]:
    """Put logging back as it was."""
    with logging_as_before():
        yield


def no_reload() -> Settings:
    raise AssertionError("nobody asked for a reload")


class Watched:
    """A daemon under signals in this process, and how it ended."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.cut_short_by: signal.Signals | None = None
        self.has_ended = anyio.Event()

    async def run(self, load: Callable[[], Settings]) -> None:
        self.cut_short_by = await run_under_signals(self.daemon, load)
        self.has_ended.set()

    async def ended(self) -> signal.Signals | None:
        with anyio.fail_after(PATIENCE):
            await self.has_ended.wait()
        return self.cut_short_by


@asynccontextmanager
async def under_signals(daemon: Daemon, load: Callable[[], Settings] = no_reload) -> AsyncIterator[Watched]:
    """Run a daemon under signals beside the block, which must end it."""
    async with anyio.create_task_group() as tasks:
        watched = Watched(daemon)
        tasks.start_soon(watched.run, load)
        await until(lambda: daemon.ready.is_set() or watched.has_ended.is_set())
        yield watched
        await watched.ended()


def statuses(redis_url: str) -> dict[str, SessionStatus]:
    with OperatorDesk(redis_url) as desk:
        return desk.statuses()


# In this process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_one_signal_ends_it_in_order(redis_url: str, gateway: SimulatedGateway, number: signal.Signals) -> None:
    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ={})
    async with under_signals(daemon) as watched:
        await until_state(daemon, "a", State.RUNNING)
        signal.raise_signal(number)
        assert await watched.ended() is None
    assert daemon.stopped.is_set()
    assert [(each.state, each.reason) for each in statuses(redis_url).values()] == [(State.STOPPED, "DaemonStopped")]
    assert gateway.session("a-number").status is Status.CONNECTED


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_without_waiting_for_what_is_in_flight(
    redis_url: str, gateway: SimulatedGateway, second: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    declare(redis_url, "a")
    gateway.script(Fault(route="send-message", answer="nothing"))
    settings = settings_for(redis_url, {"main": gateway}, daemon=DaemonSettings(id="test", shutdown_timeout=3600.0))
    daemon = Daemon(settings, environ={})
    async with anyio.create_task_group() as tasks:
        await tasks.start(EchoAgent(redis_url, ["agent-a"]).run)
        async with under_signals(daemon) as watched:
            await until_state(daemon, "a", State.RUNNING)
            gateway.person(ANNA).writes("a-number", "hello")
            await until(lambda: gateway.ledger.calls["send-message"])
            signal.raise_signal(signal.SIGTERM)
            await until_state(daemon, "a", State.DRAINING)
            signal.raise_signal(second)
            assert await watched.ended() is second
        tasks.cancel_scope.cancel()
    assert not daemon.stopped.is_set()
    assert "asked twice to stop" in caplog.text


@pytest.mark.usefixtures("_logging")
async def test_sighup_follows_a_good_configuration_and_its_log(
    redis_url: str, gateway: SimulatedGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(redis_url)
    loud = settings.daemon.model_copy(update={"log_level": "debug", "log_format": "json"})
    gateways = settings_for(redis_url, {"main": gateway}).gateways
    daemon = Daemon(settings, environ={})
    async with under_signals(daemon, lambda: settings.model_copy(update={"daemon": loud, "gateways": gateways})):
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: logging.getLogger("wa_supervisor").level == logging.DEBUG)
        declare(redis_url, "a")
        await until_state(daemon, "a", State.RUNNING)
        signal.raise_signal(signal.SIGTERM)
    assert '"message":"configuration reloaded"' in capsys.readouterr().err.replace('": "', '":"')


async def test_sighup_with_a_bad_configuration_names_every_mistake_and_changes_nothing(
    redis_url: str, gateway: SimulatedGateway, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> Settings:
        raise ConfigurationError(["wish.resync: is no number", "redsi: no such section"])

    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ={})
    async with under_signals(daemon, load):
        await until_state(daemon, "a", State.RUNNING)
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: "not reloaded" in caplog.text)
        assert [each.state for each in daemon.statuses()] == [State.RUNNING]
        signal.raise_signal(signal.SIGTERM)
    told = [each.__dict__["mistake"] for each in caplog.records if "not reloaded" in each.message]
    assert told == ["wish.resync: is no number", "redsi: no such section"]


async def test_sighup_with_a_loader_that_fails_as_nobody_foresaw_ends_nothing(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> Settings:
        raise ZeroDivisionError

    daemon = Daemon(settings_for(redis_url), environ={})
    async with under_signals(daemon, load):
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: "not reloaded" in caplog.text)
        assert not daemon.stopped.is_set()
        signal.raise_signal(signal.SIGTERM)
    assert any(each.exc_info for each in caplog.records)


async def test_what_keeps_it_from_coming_up_is_raised_plainly(redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_for(redis_url)
        admin = settings.admin.model_copy(update={"port": taken.getsockname()[1]})
        with pytest.raises(PermanentError, match=r"admin\.port"):
            await run_under_signals(Daemon(settings.model_copy(update={"admin": admin}), environ={}), no_reload)


async def test_afterwards_signals_mean_what_they_meant(redis_url: str) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)]
    async with under_signals(Daemon(settings_for(redis_url), environ={})):
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)] == before


# In a process of its own


@asynccontextmanager
async def started(config: Path, *words: str) -> AsyncIterator[Process]:
    """Run the command."""
    async with started_program(config, COMMAND, "run", "--config", str(config), *words) as process:
        yield process


async def test_sigterm_finishes_what_is_in_flight_and_exits_with_0(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    gateway.script(Fault(route="send-message", delay=1.0))
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    declare_records(redis_url, {"a": record("a")})
    async with anyio.create_task_group() as tasks:
        await tasks.start(EchoAgent(redis_url, ["agent-a"]).run)
        async with started(config) as process:
            await process.until_running(1)
            gateway.person(ANNA).writes("a-number", "hello")
            with anyio.fail_after(PATIENCE):
                await gateway.until(lambda g: g.ledger.calls["send-message"])
            assert not gateway.ledger.received
            assert await process.end() == 0
        tasks.cancel_scope.cancel()
    assert gateway.ledger.texts_received("a-number", ANNA) == ["echo: hello"]
    assert "abandoned" not in process.log


async def test_a_second_sigterm_ends_the_process_at_once_and_shows_in_its_exit_code(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    gateway.script(Fault(route="send-message", answer="nothing"))
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    config.write_text(config.read_text().replace("[daemon]", "[daemon]\nshutdown_timeout = 3600"))
    declare_records(redis_url, {"a": record("a")})
    async with anyio.create_task_group() as tasks:
        await tasks.start(EchoAgent(redis_url, ["agent-a"]).run)
        async with started(config) as process:
            await process.until_running(1)
            gateway.person(ANNA).writes("a-number", "hello")
            with anyio.fail_after(PATIENCE):
                await gateway.until(lambda g: g.ledger.calls["send-message"])
            process.process.send_signal(signal.SIGTERM)
            await process.until_said("stopping: finishing what is in flight")
            assert await process.end() == 128 + signal.SIGTERM
        tasks.cancel_scope.cancel()


async def test_sigterm_while_redis_was_never_there_exits_with_0(tmp_path: Path, gateway: SimulatedGateway) -> None:
    config = write_config(tmp_path, {"main": gateway}, NOWHERE)
    async with started(config) as process:
        await process.until_said("wish could not be read")
        assert await process.end() == 0
        assert "Traceback" not in process.log


async def test_sigterm_while_redis_takes_connections_and_says_nothing_exits_with_0(
    tmp_path: Path, gateway: SimulatedGateway
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = write_config(tmp_path, {"main": gateway}, f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        async with started(config) as process:
            await process.until_said("admin server listens")
            assert await process.end() == 0
            assert "Traceback" not in process.log


@needs_servers
@pytest.mark.parametrize("after", [r"coming up", r"info +ready"])
async def test_sigterm_in_the_middle_of_a_start_exits_with_0_and_leaves_no_private_server(after: str) -> None:
    with short_directory() as folder:
        config = folder / "config.toml"
        config.write_text(
            f'[daemon]\nlog_format = "text"\n[embedded]\nstate_dir = "{folder}/state"\n[admin]\nport = 0\n'
            '[gateways.main]\nurl = "http://127.0.0.1:1"\nsecret = "s"\n'
        )
        async with started(config, "--embedded") as process:
            await process.until_said(after)
            assert await process.end() == 0
            assert process.log.rstrip().endswith("stopped")
        assert not residents(folder / "state" / "valkey")
        assert not (folder / "state" / "endpoints.json").exists()


async def test_sigterm_before_it_has_begun_ends_it_too(tmp_path: Path, redis_url: str) -> None:
    config = write_config(tmp_path, {}, redis_url, more='[gateways.main]\nurl = "http://127.0.0.1:1"\nsecret = "s"\n')
    async with started(config) as process:
        assert await process.end() in {0, -signal.SIGTERM}


async def test_sighup_while_redis_is_away_is_followed_when_it_comes(tmp_path: Path, gateway: SimulatedGateway) -> None:
    with own_server() as server:
        server.kill()
        config = write_config(tmp_path, {}, server.url, more='[gateways.x]\nurl = "http://127.0.0.1:1"\nsecret = "s"\n')
        async with started(config) as process:
            await process.until_said("wish could not be read")
            write_config(tmp_path, {"main": gateway}, server.url)
            process.process.send_signal(signal.SIGHUP)
            await process.until_said("configuration reloaded")
            server.start()
            declare_records(server.url, {"a": record("a")})
            await process.until_running(1)
            assert await process.end() == 0


async def test_sighup_says_what_only_a_restart_follows_and_sigint_ends_with_0(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    async with started(config) as process:
        await process.until_said(r"info +ready")
        write_config(tmp_path, {"main": gateway}, redis_url, more="[wish]\nresync = 77\n")
        process.process.send_signal(signal.SIGHUP)
        await process.until_said(r"warning +settings changed that only a restart follows needs_restart=wish\.resync")
        assert await process.end(signal.SIGINT) == 0


async def test_an_admin_port_that_is_taken_is_said_in_one_line_and_exits_with_1(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace("port = 0", f"port = {port}"))
        async with started(config) as process:
            with anyio.fail_after(PATIENCE):
                assert await process.process.wait() == 1
    assert f"error: the admin server cannot listen on 127.0.0.1 port {port}" in process.log
    assert "change admin.port" in process.log
    assert "Traceback" not in process.log


async def test_an_address_of_the_database_that_cannot_be_read_exits_with_78(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    config = write_config(tmp_path, {"main": gateway}, redis_url, "postgresql://127.0.0.1/x?no_such_option=1")
    async with started(config) as process:
        with anyio.fail_after(PATIENCE):
            assert await process.process.wait() == 78
    assert "postgres.url" in process.log
    assert "Traceback" not in process.log


async def test_the_log_is_written_as_the_configuration_says(
    tmp_path: Path, redis_url: str, gateway: SimulatedGateway
) -> None:
    config = write_config(tmp_path, {"main": gateway}, redis_url)
    config.write_text(config.read_text().replace('log_format = "text"', 'log_format = "json"\nlog_level = "warning"'))
    async with started(config) as process:
        await process.until_said('"works with less than it could"')
        assert await process.end() == 0
    assert '"ready"' not in process.log
