"""The demo in this process: who plays, what befalls them, and what is counted."""

from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from pydantic import SecretStr

from tests.daemon.daemon_room import PATIENCE, until
from tests.daemon.embedded_room import needs_servers, residents, short_directory
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.config import GatewaySettings, RedisSettings, Settings, load_settings
from wa_supervisor.demo import DemoOptions, DemoResult, DemoScene, play
from wa_supervisor.demo.cast import agents, cast_roles, gateway_names, records
from wa_supervisor.demo.stage import declare, settings_for, simulated_gateways, write_config
from wa_supervisor.domain.integration import Defaults, Integration, read_integration
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.embedded import EmbeddedEndpoints

FEW = DemoOptions(sessions=4, seconds=1.0, pause=0.2)


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder for the demo's servers."""
    with short_directory() as made:
        yield made


class Show:
    """A play that runs beside the test."""

    def __init__(self) -> None:
        self.stop = anyio.Event()
        self.scene: DemoScene | None = None
        self.result: DemoResult | None = None

    async def run(self, options: DemoOptions, folder: Path) -> None:
        self.result = await play(options, folder, stop=self.stop, curtain_up=self._curtain_up)

    async def until_up(self) -> DemoScene:
        await until(lambda: self.scene)
        assert self.scene is not None
        return self.scene

    async def ended(self) -> DemoResult:
        await until(lambda: self.result)
        assert self.result is not None
        return self.result

    def _curtain_up(self, scene: DemoScene) -> None:
        self.scene = scene


@asynccontextmanager
async def showing(options: DemoOptions, folder: Path) -> AsyncIterator[Show]:
    async with anyio.create_task_group() as tasks:
        show = Show()
        tasks.start_soon(show.run, options, folder)
        yield show
        tasks.cancel_scope.cancel()


async def script(scene: DemoScene, command: str, **fields: object) -> None:
    """Make something go wrong at the first gateway."""
    url = next(iter(scene.gateways.values()))
    async with httpx.AsyncClient(trust_env=False) as client:
        (await client.post(f"{url}/_control/{command}", json=fields)).raise_for_status()


@needs_servers
@pytest.mark.anyio
async def test_everybody_is_answered_once_and_everything_is_taken_down(folder: Path) -> None:
    async with showing(FEW, folder) as show:
        scene = await show.until_up()
        assert residents(folder / "state" / "valkey")
        assert load_settings(scene.config, {}).settings.daemon.id == "demo"
        result = await show.ended()
        states = [status.state for status in scene.statuses()]
    assert result.is_flawless
    assert result.is_complete
    assert (result.sessions, result.running, result.invalid) == (4, 3, 1)
    assert result.messages_in == result.handed_over == result.replies_sent > 0
    assert states == [State.RUNNING, State.RUNNING, State.RUNNING, State.INVALID]
    assert not residents(folder / "state" / "valkey")


@needs_servers
@pytest.mark.anyio
async def test_told_to_stop_it_counts_what_there_is(folder: Path) -> None:
    async with showing(DemoOptions(sessions=4, pause=0.2), folder) as show:
        scene = await show.until_up()
        await until(lambda: any(status.traffic.messages_in for status in scene.statuses()))
        show.stop.set()
        result = await show.ended()
    assert result.is_flawless
    assert result.messages_in > 0


@needs_servers
@pytest.mark.anyio
async def test_a_reply_that_never_arrives_is_counted_as_lost(folder: Path) -> None:
    options = DemoOptions(sessions=4, seconds=1.0, pause=0.2, quiet=3.0)
    async with showing(options, folder) as show:
        scene = await show.until_up()
        await script(scene, "fault", fault={"route": "send-message", "answer": "empty", "times": 1})
        result = await show.ended()
    assert (result.lost, result.duplicates) == (1, 0)
    assert not result.is_flawless
    assert result.is_complete


@needs_servers
@pytest.mark.anyio
async def test_a_reply_that_was_sent_although_the_gateway_said_no_is_neither_lost_nor_sent_again(folder: Path) -> None:
    async with showing(FEW, folder) as show:
        scene = await show.until_up()
        fault = {"route": "send-message", "session": "number-01", "answer": "error", "done": True, "times": 3}
        await script(scene, "fault", fault=fault)
        result = await show.ended()
    assert (result.lost, result.duplicates) == (0, 0)


def test_the_last_record_is_invalid_and_says_why() -> None:
    options = DemoOptions(sessions=60)
    defaults = Defaults(gateways=frozenset(map(GatewayName, gateway_names(options))))
    read = [read_integration(name, record, defaults) for name, record in records(options).items()]
    assert [isinstance(each, Integration) for each in read] == [True] * 59 + [False]
    assert "pausd" in getattr(read[-1], "message", "")


def test_every_agent_has_two_sessions_and_a_gateway_no_more_than_fifty() -> None:
    options = DemoOptions(sessions=101)
    assert gateway_names(options) == ["gateway-1", "gateway-2", "gateway-3"]
    assert len(agents(options)) == 51
    wish = [json.loads(record) for record in records(options).values()]
    assert max(sum(each["gateway"] == name for each in wish) for name in gateway_names(options)) == 50
    assert max(sum(each["agent_id"] == name for each in wish) for name in agents(options)) == 2


@pytest.mark.anyio
async def test_people_have_numbers_and_privacy_ids_and_some_are_in_groups() -> None:
    options = DemoOptions(sessions=8)
    async with simulated_gateways(options) as gateways:
        roles = cast_roles(options, gateways)
    assert len(roles) == 7
    people = [person for role in roles for person in role.people]
    assert len({person.id for person in people}) == len(people)
    assert {person.id.partition("@")[2] for person in people} == {"c.us", "lid"}
    assert [role.group is not None for role in roles] == [True, False, False, True, False, False, True]


@pytest.mark.parametrize(
    ("seconds", "after", "expected"), [(None, 8.0, 8.0), (60.0, 8.0, 8.0), (10.0, 8.0, 3.0), (10.0, 2.0, 2.0)]
)
def test_what_befalls_a_session_befalls_it_early_enough_to_be_seen(
    seconds: float | None, after: float, expected: float
) -> None:
    assert DemoOptions(seconds=seconds).soon(after) == pytest.approx(expected)


def test_many_people_write_more_seldom() -> None:
    options = DemoOptions()
    assert options.pause_among(33) == options.pause
    assert 1500 / options.pause_among(1500) == pytest.approx(40)


def test_an_earlier_demos_records_in_the_same_folder_do_not_stay(redis_url: str) -> None:
    for sessions in (8, 5):
        declare(redis_url, DemoOptions(sessions=sessions))
    with OperatorDesk(redis_url) as desk:
        assert sorted(desk.wishes()) == [f"demo-{number:02d}" for number in range(1, 6)]


def test_the_configuration_that_it_writes_can_be_read_whatever_is_in_an_address(tmp_path: Path) -> None:
    url = 'unix:///tmp/a "quoted" \\ folder/valkey.sock?db=0'
    settings = Settings.model_construct(
        daemon=Settings().daemon.model_copy(update={"id": "demo"}),
        redis=RedisSettings.model_construct(url=SecretStr(url)),
        postgres=Settings().postgres,
        gateways={GatewayName("one"): GatewaySettings(url="http://127.0.0.1:1", secret=SecretStr("s"))},
    )
    path = write_config(tmp_path, settings)
    assert tomllib.loads(path.read_text(encoding="utf-8"))["redis"]["url"] == url
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.anyio
async def test_the_daemon_of_a_demo_has_settings_without_contradiction() -> None:
    endpoints = EmbeddedEndpoints(redis_url="unix:///tmp/x.sock?db=0", database_url="postgresql:///x?host=/tmp")
    for sessions in (4, 12, 500):
        options = DemoOptions(sessions=sessions)
        async with simulated_gateways(options) as gateways:
            settings = settings_for(options, endpoints, gateways)
        assert Settings(**dict(settings)) == settings
        assert settings.sessions.poll_connected * 20 >= sessions


@pytest.mark.anyio
async def test_a_folder_in_use_is_a_plain_error(folder: Path) -> None:
    (folder / "state").write_text("no folder")
    with anyio.fail_after(PATIENCE), pytest.raises(Exception, match="cannot use") as caught:
        await play(FEW, folder, stop=anyio.Event(), curtain_up=lambda _: None)
    assert not isinstance(caught.value, ExceptionGroup)
