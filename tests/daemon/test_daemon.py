"""One run of the daemon in this process, against a real server and a simulated gateway."""

from __future__ import annotations

import gc
import json
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from redis.asyncio import Redis

from tests.adapters.postgres.proxy import proxied
from tests.adapters.redis_server import OwnServer, own_server
from tests.daemon.daemon_room import (
    NOWHERE,
    PATIENCE,
    Manager,
    declare,
    held_open,
    logging_as_before,
    page,
    running,
    service_manager,
    settings_for,
    until,
    until_state,
)
from tests.daemon.embedded_room import needs_servers, residents, short_directory
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.config import (
    AdminSettings,
    DaemonSettings,
    EmbeddedSettings,
    GatewaySettings,
    PeopleSettings,
    Settings,
    WishSettings,
)
from wa_supervisor.daemon import Daemon, Started
from wa_supervisor.daemon.telling import NO_DATABASE
from wa_supervisor.domain.errors import ConfigurationError, PermanentError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.status import DaemonStatus, SessionStatus
from wa_supervisor.simulator import FAST, SimulatedGateway, Status, simulated_gateway

pytestmark = pytest.mark.anyio


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
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Give the service manager's end."""
    with service_manager(tmp_path) as listening:
        yield listening


@pytest.fixture
def later_server() -> Iterator[OwnServer]:
    """Give a server that is away, with an address where it will be."""
    with own_server() as server:
        server.kill()
        yield server


@pytest.fixture
def _logging() -> Iterator[None]:
    """Put logging back as it was."""
    with logging_as_before():
        yield


def seen(redis_url: str) -> tuple[dict[str, SessionStatus], list[DaemonStatus]]:
    """Read what the daemon shows to operators."""
    with OperatorDesk(redis_url) as desk:
        return desk.statuses(), desk.daemons()


async def ready(daemon: Daemon) -> None:
    with anyio.fail_after(PATIENCE):
        await daemon.ready.wait()


# Coming up


async def test_it_is_ready_after_the_first_plan_and_before_every_session_is_up(
    redis_url: str, gateway: SimulatedGateway
) -> None:
    gateway.session("a-number").stick()
    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ={})
    assert repr(daemon) == "<Daemon test, coming up>"
    async with running(daemon) as started:
        await ready(daemon)
        assert repr(daemon) == "<Daemon test, ready>"
        assert await page(started, "/readyz") == (
            200,
            {"ready": True, "waiting_for": [], "missing": [NO_DATABASE]},
        )
        await until_state(daemon, "a", State.STARTING)
        assert gateway.session("a-number").status is not Status.CONNECTED


async def test_a_redis_that_is_away_at_the_start_is_waited_for(later_server: OwnServer, manager: Manager) -> None:
    daemon = Daemon(settings_for(later_server.url), environ=manager.environ)
    async with running(daemon) as started:
        assert (await page(started, "/healthz"))[0] == 200
        await manager.until("STATUS=coming up: Redis")
        status, told = await page(started, "/readyz")
        assert status == 503
        assert "cannot be reached" in told["waiting_for"][0]
        assert "READY=1" not in manager.listen()
        assert not daemon.ready.is_set()
        await anyio.to_thread.run_sync(later_server.start)
        await ready(daemon)
        await manager.until("READY=1")
        assert (await page(started, "/readyz"))[0] == 200


async def test_the_service_manager_hears_the_whole_life(
    redis_url: str, gateway: SimulatedGateway, manager: Manager
) -> None:
    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ=manager.environ)
    async with running(daemon):
        await ready(daemon)
        await until_state(daemon, "a", State.RUNNING)
        await manager.until("STATUS=1/1 running")
        daemon.stop()
        daemon.stop()
    words = [each.partition("=")[0] for each in manager.listen()]
    assert manager.messages[0].startswith("STATUS=coming up")
    assert words.index("READY") < words.index("STOPPING") < len(words) - words[::-1].index("EXTEND_TIMEOUT_USEC")
    assert (manager.count("READY=1"), manager.count("STOPPING=1")) == (1, 1)


async def test_an_admin_port_that_is_taken_is_one_plain_error_that_says_what_to_do(redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = Daemon(settings_for(redis_url, admin=AdminSettings(port=port)), environ={})
        with pytest.raises(PermanentError, match=f"port {port}: another process listens there.*admin.port"):
            await daemon.run()
    assert not daemon.stopped.is_set()


async def test_without_an_admin_server_it_works_and_has_no_address(redis_url: str) -> None:
    daemon = Daemon(settings_for(redis_url, admin=AdminSettings(enabled=False)), environ={})
    async with running(daemon) as started:
        await ready(daemon)
        assert started.admin_url is None
        await until(lambda: [each.admin_url for each in seen(redis_url)[1]] == [None])


async def test_the_admin_server_listens_where_the_settings_say(redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    daemon = Daemon(settings_for(redis_url, admin=AdminSettings(host="127.0.0.1", port=port)), environ={})
    async with running(daemon) as started:
        assert started.admin_url == f"http://127.0.0.1:{port}"
        assert (await page(started, "/healthz"))[0] == 200


def test_the_address_of_redis_is_not_shown() -> None:
    assert "hunter2" not in repr(Started(admin_url=None, redis_url="redis://:hunter2@127.0.0.1"))


async def test_an_address_of_the_database_that_cannot_be_read_is_a_plain_configuration_error(redis_url: str) -> None:
    daemon = Daemon(settings_for(redis_url, database_url="postgresql://127.0.0.1/x?no_such_option=1"), environ={})
    with pytest.raises(ConfigurationError, match=r"postgres\.url"):
        await daemon.run()


# Private servers


@needs_servers
async def test_private_servers_are_started_where_the_settings_say_and_ended_with_it(gateway: SimulatedGateway) -> None:
    with short_directory() as folder:
        state = folder / "state"
        settings = settings_for(
            NOWHERE, {"main": gateway}, embedded=EmbeddedSettings(enabled=True, state_dir=str(state))
        )
        daemon = Daemon(settings, environ={})
        async with running(daemon) as started:
            await ready(daemon)
            assert residents(state / "valkey")
            await anyio.to_thread.run_sync(declare, started.redis_url, "a")
            await until_state(daemon, "a", State.RUNNING)
            # PostgreSQL is there too: nothing is missing once its tables are made.
            with anyio.fail_after(PATIENCE):
                while (await page(started, "/readyz"))[1]["missing"]:
                    pass
        assert not residents(state / "valkey")


@needs_servers
async def test_told_to_stop_while_private_servers_start_it_ends_at_once_and_leaves_none(manager: Manager) -> None:
    with short_directory() as folder:
        state = folder / "state"
        settings = settings_for(NOWHERE, embedded=EmbeddedSettings(enabled=True, state_dir=str(state)))
        daemon = Daemon(settings, environ=manager.environ)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(daemon.run)
            await manager.until("EXTEND_TIMEOUT_USEC=")
            await until((state / "lock").exists)
            daemon.stop()
            with anyio.fail_after(PATIENCE):
                await daemon.stopped.wait()
        assert not residents(state / "valkey")
        assert "READY=1" not in manager.listen()
        assert manager.count("STOPPING=1") == 1


# People


async def first_input(redis_url: str, agent: str, act: Callable[[], object]) -> dict[str, Any]:
    """Do something, and give the first message that an agent hears."""
    async with Redis.from_url(redis_url) as client, client.pubsub() as heard:
        await heard.subscribe(f"agent:{agent}:input")
        await heard.get_message(timeout=PATIENCE)
        act()
        with anyio.fail_after(PATIENCE):
            message = None
            while message is None:
                message = await heard.get_message(ignore_subscribe_messages=True, timeout=1.0)
    given: dict[str, Any] = json.loads(message["data"])
    return given


@asynccontextmanager
async def serving(
    redis_url: str, gateway: SimulatedGateway, database_url: str = ""
) -> AsyncIterator[tuple[Daemon, Started]]:
    """Run a daemon with one session that runs."""
    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}, database_url), environ={})
    async with running(daemon) as started:
        await until_state(daemon, "a", State.RUNNING)
        yield daemon, started


async def test_without_a_database_messages_go_on_and_what_is_missing_is_told(
    redis_url: str, gateway: SimulatedGateway
) -> None:
    anna = gateway.person("5511900000077@c.us", name="Anna")
    async with serving(redis_url, gateway) as (_, started):
        heard = await first_input(redis_url, "agent-a", lambda: anna.writes("a-number", "hello"))
        assert heard["text"] == "hello"
        assert heard["user_data"]["is_authenticated"] is False
        assert (await page(started, "/readyz"))[1]["missing"] == [NO_DATABASE]
        await until(lambda: [list(each.missing) for each in seen(redis_url)[1]] == [[NO_DATABASE]])


async def test_with_a_database_people_are_known(redis_url: str, gateway: SimulatedGateway, database_url: str) -> None:
    anna = gateway.person("5511900000077@c.us", name="Anna Lima")
    async with serving(redis_url, gateway, database_url) as (_, started):
        with anyio.fail_after(PATIENCE):
            while (await page(started, "/readyz"))[1]["missing"]:
                pass
        heard = await first_input(redis_url, "agent-a", lambda: anna.writes("a-number", "hello"))
        assert heard["user_data"]["is_authenticated"] is True
        assert heard["user_data"]["first_name"] == "Anna"


async def test_with_a_database_that_is_away_messages_go_on_and_what_is_missing_is_told(
    redis_url: str, gateway: SimulatedGateway
) -> None:
    anna = gateway.person("5511900000077@c.us", name="Anna")
    async with serving(redis_url, gateway, "postgresql:///people?host=/nowhere") as (_, started):
        heard = await first_input(redis_url, "agent-a", lambda: anna.writes("a-number", "hello"))
        assert heard["text"] == "hello"
        assert heard["user_data"]["is_authenticated"] is False
        (missing,) = (await page(started, "/readyz"))[1]["missing"]
        assert "cannot be looked up" in missing
        assert "PostgreSQL" in missing


async def test_a_server_that_may_not_be_told_to_notify_is_missing_something(gateway: SimulatedGateway) -> None:
    with own_server() as server:
        settings = settings_for(server.url, {"main": gateway})
        settings = settings.model_copy(update={"redis": settings.redis.model_copy(update={"notifications": False})})
        daemon = Daemon(settings, environ={})
        async with running(daemon) as started:
            await ready(daemon)
            with anyio.fail_after(PATIENCE):
                while len(missing := (await page(started, "/readyz"))[1]["missing"]) < 2:
                    pass
            assert "notify-keyspace-events" in missing[1]


async def test_a_redis_that_goes_away_is_told_and_what_runs_goes_on(gateway: SimulatedGateway) -> None:
    with own_server() as server:
        declare(server.url, "a")
        settings = settings_for(server.url, {"main": gateway}, wish=WishSettings(resync=1.0))
        daemon = Daemon(settings, environ={})
        async with running(daemon) as started:
            await until_state(daemon, "a", State.RUNNING)
            await anyio.to_thread.run_sync(server.kill)
            with anyio.fail_after(PATIENCE):
                while len((answer := await page(started, "/readyz"))[1]["missing"]) < 2:
                    pass
            assert answer[0] == 200
            assert "goes on with the last known one" in answer[1]["missing"][0]
            assert [each.state for each in daemon.statuses()] == [State.RUNNING]
        assert gateway.session("a-number").status is Status.CONNECTED


# Stopping


async def test_stopping_writes_the_last_statuses_and_takes_the_announcement_back(
    redis_url: str, gateway: SimulatedGateway
) -> None:
    declare(redis_url, "a", "b")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ={})
    async with running(daemon):
        await until_state(daemon, "a", State.RUNNING)
        await until_state(daemon, "b", State.RUNNING)
        await until(lambda: [each.id for each in seen(redis_url)[1]] == ["test"])
    statuses, daemons = seen(redis_url)
    assert {name: (each.state, each.reason) for name, each in statuses.items()} == {
        "a": (State.STOPPED, "DaemonStopped"),
        "b": (State.STOPPED, "DaemonStopped"),
    }
    assert daemons == []
    with redis.Redis.from_url(redis_url) as client:
        assert client.exists("wa:daemon:test") == 0
    assert {name: gateway.session(name).status for name in ("a-number", "b-number")} == {
        "a-number": Status.CONNECTED,
        "b-number": Status.CONNECTED,
    }
    assert repr(daemon) == "<Daemon test, stopping>"


async def test_what_happened_is_in_the_history_to_the_last_step(redis_url: str, gateway: SimulatedGateway) -> None:
    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ={})
    async with running(daemon):
        await until_state(daemon, "a", State.RUNNING)
    with redis.Redis.from_url(redis_url) as client:
        text = b"\n".join(value for _, fields in client.xrange("wa:events") for value in fields.values())
    events = [json.loads(line) for line in text.splitlines() if line.startswith(b"{")]
    assert {each["daemon"] for each in events} == {"test"}
    steps = [each["target"] for each in events if each["kind"] == "transition" and each["integration"] == "a"]
    assert State.RUNNING in steps
    assert steps[-1] == State.STOPPED
    assert "GateOpened" in {each["reason"] for each in events if each["kind"] == "gate"}


async def test_leases_are_taken_and_given_back_in_order(redis_url: str, gateway: SimulatedGateway) -> None:
    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ={})
    async with running(daemon) as started:
        await until_state(daemon, "a", State.RUNNING)
        (status,) = daemon.statuses()
        assert status.fence
        assert "\nwa_leases_held 1.0\n" in (await page(started, "/metrics"))[1]
        with redis.Redis.from_url(redis_url) as client:
            assert client.exists("wa:lease:a") == 1
    with redis.Redis.from_url(redis_url) as client:
        assert client.exists("wa:lease:a") == 0


async def test_while_the_database_is_away_people_are_served_as_last_known_and_that_is_told(
    redis_url: str, gateway: SimulatedGateway, database_url: str
) -> None:
    anna = gateway.person("5511900000077@c.us", name="Anna Lima")
    declare(redis_url, "a")
    async with proxied(database_url) as proxy:
        way = conninfo_to_dict(proxy.url)
        url = f"postgresql://{way['user']}@127.0.0.1:{way['port']}/{way['dbname']}?sslmode=disable&gssencmode=disable"
        settings = settings_for(redis_url, {"main": gateway}, url, people=PeopleSettings(cache_ttl=0.01))
        daemon = Daemon(settings, environ={})
        async with running(daemon) as started:
            await until_state(daemon, "a", State.RUNNING)
            heard = await first_input(redis_url, "agent-a", lambda: anna.writes("a-number", "hello"))
            assert heard["user_data"]["is_authenticated"] is True
            assert "\nwa_people_available 1.0\n" in (await page(started, "/metrics"))[1]
            await proxy.go_down()
            again = await first_input(redis_url, "agent-a", lambda: anna.writes("a-number", "are you there?"))
            assert again["user_data"] == heard["user_data"]
            assert "cannot be looked up" in (await page(started, "/readyz"))[1]["missing"][0]
            assert "\nwa_people_available 0.0\n" in (await page(started, "/metrics"))[1]


async def test_a_redis_that_dies_before_the_end_does_not_keep_it_from_ending(
    gateway: SimulatedGateway, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server() as server:
        declare(server.url, "a")
        daemon = Daemon(settings_for(server.url, {"main": gateway}), environ={})
        async with running(daemon):
            await until_state(daemon, "a", State.RUNNING)
            await anyio.to_thread.run_sync(server.kill)
    assert "the last statuses could not be written" in caplog.text


async def test_a_redis_that_is_silent_at_the_end_does_not_keep_it_from_ending(
    gateway: SimulatedGateway, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server() as server:
        declare(server.url, "a")
        settings = settings_for(
            server.url,
            {"main": gateway},
            daemon=DaemonSettings(id="test", shutdown_timeout=5.0),
        )
        daemon = Daemon(settings, environ={})
        async with running(daemon):
            await until_state(daemon, "a", State.RUNNING)
            server.signal(signal.SIGSTOP)
    assert "the last statuses could not be written" in caplog.text


async def test_told_to_stop_before_the_first_plan_it_leaves_what_another_daemon_has_told(
    gateway: SimulatedGateway,
) -> None:
    with own_server() as server:
        declare(server.url, "a")
        first = Daemon(settings_for(server.url, {"main": gateway}), environ={})
        async with running(first):
            await until_state(first, "a", State.RUNNING)
        before = seen(server.url)
        server.signal(signal.SIGSTOP)
        second = Daemon(settings_for(server.url, {"main": gateway}), environ={})
        async with running(second):
            pass
        assert not second.ready.is_set()
        server.signal(signal.SIGCONT)
        assert seen(server.url) == before


async def test_told_to_stop_before_it_runs_it_does_not_run(redis_url: str) -> None:
    daemon = Daemon(settings_for(redis_url), environ={})
    daemon.stop()
    with anyio.fail_after(PATIENCE):
        await daemon.run()
    assert daemon.stopped.is_set()
    assert not daemon.ready.is_set()


async def test_told_to_stop_while_redis_was_never_there_it_ends(manager: Manager) -> None:
    daemon = Daemon(settings_for(NOWHERE), environ=manager.environ)
    async with running(daemon):
        await manager.until("STATUS=coming up: Redis")
    assert "READY=1" not in manager.listen()


@pytest.mark.filterwarnings(  # python-engineio loses a websocket whose handshake is cancelled; its session closes it
    "ignore:Exception ignored in. <function (Connection|ClientResponse).__del__:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_told_to_stop_at_any_step_of_a_start_it_ends(
    redis_url: str, gateway: SimulatedGateway, steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ={})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(daemon.run)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        daemon.stop()
        with anyio.fail_after(PATIENCE):
            await daemon.stopped.wait()
    assert seen(redis_url)[1] == []
    assert "abandoned" not in caplog.text


async def leaves_nothing(run: Callable[[], Awaitable[None]]) -> None:
    """Run it twice, the first time for what libraries make once and keep, and compare what is held open."""
    await run()
    gc.collect()
    before = held_open()
    await run()
    with anyio.move_on_after(
        PATIENCE / 6
    ):  # a connection's other end is in this process too, and closes a little later
        await until(lambda: gc.collect() is not None and held_open() == before)
    assert held_open() == before


async def test_nothing_is_left_of_a_run(redis_url: str, gateway: SimulatedGateway, database_url: str) -> None:
    anna = gateway.person("5511900000077@c.us", name="Anna")

    async def run() -> None:
        async with serving(redis_url, gateway, database_url) as (_, started):
            await first_input(redis_url, "agent-a", lambda: anna.writes("a-number", "hello"))
            await page(started, "/metrics")

    await leaves_nothing(run)


async def test_nothing_is_left_of_a_run_that_was_cancelled(redis_url: str, gateway: SimulatedGateway) -> None:
    async def run() -> None:
        declare(redis_url, "a")
        daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ={})
        async with anyio.create_task_group() as tasks:
            await tasks.start(daemon.run)
            await until_state(daemon, "a", State.RUNNING)
            tasks.cancel_scope.cancel()
        assert not daemon.stopped.is_set()

    await leaves_nothing(run)


# Reloading


def _same(settings: Settings) -> Settings:
    return settings


@contextmanager
def two_gateways(settings: Settings, one: SimulatedGateway, two: SimulatedGateway) -> Iterator[Settings]:
    """Give settings with both."""
    yield settings.model_copy(update={"gateways": settings_for(NOWHERE, {"one": one, "two": two}).gateways})


async def test_a_reload_takes_up_a_new_gateway_and_disturbs_nobody_else(
    redis_url: str, gateway: SimulatedGateway, manager: Manager
) -> None:
    async with simulated_gateway(timings=FAST) as second:
        declare(redis_url, "a", gateway="one")
        settings = settings_for(redis_url, {"one": gateway})
        daemon = Daemon(settings, environ=manager.environ)
        async with running(daemon):
            await until_state(daemon, "a", State.RUNNING)
            with two_gateways(settings, gateway, second) as new:
                daemon.reload(lambda: new)
            await anyio.to_thread.run_sync(lambda: declare(redis_url, "b", gateway="two"))
            await until_state(daemon, "b", State.RUNNING)
            assert gateway.ledger.starts == {"a-number": 1}
            assert gateway.ledger.connections_total == 1
        words = [each.partition("=")[0] for each in manager.listen() if not each.startswith("STATUS")]
        assert words[words.index("RELOADING") :][:3] == ["RELOADING", "MONOTONIC_USEC", "READY"]


async def test_a_reload_while_redis_is_away_counts_and_is_no_sign_of_being_ready(
    later_server: OwnServer, gateway: SimulatedGateway, manager: Manager
) -> None:
    settings = settings_for(later_server.url)
    daemon = Daemon(settings, environ=manager.environ)
    async with running(daemon):
        await manager.until("STATUS=coming up: Redis")
        daemon.reload(
            lambda: settings.model_copy(update={"gateways": settings_for(NOWHERE, {"main": gateway}).gateways})
        )
        assert not {"READY=1", "RELOADING=1"} & set(manager.listen())
        await anyio.to_thread.run_sync(later_server.start)
        await anyio.to_thread.run_sync(lambda: declare(later_server.url, "a"))
        await until_state(daemon, "a", State.RUNNING)


async def test_a_reload_before_it_runs_counts(redis_url: str, gateway: SimulatedGateway) -> None:
    settings = settings_for(redis_url)
    daemon = Daemon(settings, environ={})
    daemon.reload(lambda: settings_for(redis_url, {"main": gateway}))
    declare(redis_url, "a")
    async with running(daemon):
        await until_state(daemon, "a", State.RUNNING)


async def test_a_reload_that_cannot_be_read_changes_nothing(
    redis_url: str, gateway: SimulatedGateway, manager: Manager
) -> None:
    def load() -> Settings:
        raise ConfigurationError(["wish.resync: is no number"])

    declare(redis_url, "a")
    daemon = Daemon(settings_for(redis_url, {"main": gateway}), environ=manager.environ)
    async with running(daemon) as started:
        await until_state(daemon, "a", State.RUNNING)
        with pytest.raises(ConfigurationError):
            daemon.reload(load)
        assert "\nwa_config_last_reload_successful 0.0\n" in (await page(started, "/metrics"))[1]
        await manager.until("RELOADING=1")
        assert manager.listen()[-1] == "READY=1"
        assert [each.state for each in daemon.statuses()] == [State.RUNNING]


async def test_a_reload_while_it_stops_is_left_alone(
    redis_url: str, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    daemon = Daemon(settings_for(redis_url), environ=manager.environ)
    async with running(daemon):
        await ready(daemon)
        daemon.stop()
        daemon.reload(lambda: pytest.fail("nobody reads it"))
    assert "RELOADING=1" not in manager.listen()
    assert "configuration not reloaded: the daemon is stopping" in caplog.text


@pytest.mark.usefixtures("_logging")
async def test_what_only_a_restart_follows_is_named_again_and_again_and_not_followed(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    settings = settings_for(redis_url)
    renamed = settings.model_copy(update={"daemon": settings.daemon.model_copy(update={"id": "another"})})
    daemon = Daemon(settings, environ={})
    async with running(daemon):
        await until(lambda: [each.id for each in seen(redis_url)[1]] == ["test"])
        for new in (renamed, renamed, settings):
            daemon.reload(partial(_same, new))
    told = [each for each in caplog.records if "only a restart follows" in each.message]
    assert [(each.levelname, each.__dict__["needs_restart"]) for each in told] == [("WARNING", "daemon.id")] * 2
    followed = [each.__dict__["followed"] for each in caplog.records if each.message == "configuration reloaded"]
    assert followed == ["nothing: it is as before"] * 3
    assert seen(redis_url)[1] == []


async def test_a_gateway_that_is_taken_out_ends_its_sessions(redis_url: str, gateway: SimulatedGateway) -> None:
    declare(redis_url, "a", gateway="main")
    settings = settings_for(redis_url, {"main": gateway})
    daemon = Daemon(settings, environ={})
    async with running(daemon):
        await until_state(daemon, "a", State.RUNNING)
        other = GatewaySettings(url="http://127.0.0.1:1", secret=SecretStr("x"))
        daemon.reload(lambda: settings.model_copy(update={"gateways": {GatewayName("other"): other}}))
        await until_state(daemon, "a", State.INVALID)
        await until(lambda: gateway.ledger.clients == 0)
    assert gateway.session("a-number").status is Status.CONNECTED
