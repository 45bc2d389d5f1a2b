"""The fault matrix, what people do: an emptied wish, a bad configuration file, a stop at a bad moment."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import redis

from tests.acceptance.fault_room import AT_ILL, EVERYBODY, Room, fault_room, wish_of_everybody
from tests.acceptance.harness import admin_url, daemon, declare, fetch
from wa_supervisor.simulator import SimulatedGateway

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]

ILL, SESSION = "i0", "i0-number"


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


def empty_the_wish(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.delete("wa:integrations")


def everybodys_closes(room: Room) -> dict[str, int]:
    return dict(room.ill.ledger.closes + room.well.ledger.closes)


async def test_an_emptied_wish_stops_no_more_than_its_share_until_somebody_confirms(
    tmp_path: Path, redis_url: str
) -> None:
    share = {"wish": {"shrink_share": 0.25, "shrink_least": 1}}  # one of five
    async with fault_room(tmp_path, redis_url, affected=[ILL], settings=share) as room:
        empty_the_wish(redis_url)
        await room.until(lambda: everybodys_closes(room) == {SESSION: 1})
        others = [name for name in EVERYBODY if name != ILL]
        await room.until(lambda: all("apply --confirm" in room.status(name).message for name in others))
        declare(redis_url, wish_of_everybody())
        await room.until_state(EVERYBODY, "running")
        await room.until(lambda: not any("apply --confirm" in room.status(name).message for name in others))
        await room.carries(ILL)

        empty_the_wish(redis_url)
        await room.until(lambda: "apply --confirm" in room.status("w0").message)
        await room.nobody_else_noticed()
        await room.command("apply", "--confirm")
        await room.until(lambda: all(everybodys_closes(room).get(f"{name}-number") for name in others))
        room.nobody_was_harmed()  # every login is kept
        assert await room.daemon.end() == 0


async def test_a_bad_configuration_file_changes_nothing_and_a_good_one_only_what_it_changes(
    tmp_path: Path, redis_url: str
) -> None:
    async with fault_room(tmp_path, redis_url, affected=AT_ILL) as room:
        before = {name: room.status(name) for name in AT_ILL}
        good = room.config.read_text(encoding="utf-8")
        room.config.write_text(good + "\n[nonsense]\n", encoding="utf-8")
        room.daemon.process.send_signal(signal.SIGHUP)
        await room.daemon.until_said("configuration not reloaded.*nonsense")
        metrics = (await fetch(f"{await admin_url_of(room, good)}/metrics")).text
        assert "wa_config_last_reload_successful 0" in metrics
        await room.carries(*AT_ILL)
        assert {name: room.path(name, before[name]) for name in AT_ILL} == {name: [] for name in AT_ILL}

        room.config.write_text(good.replace("[gateways.ill]\n", "[gateways.ill]\nrequests_at_once = 7\n"))
        room.daemon.process.send_signal(signal.SIGHUP)
        await room.daemon.until_said("configuration reloaded")
        for name in AT_ILL:
            await room.until_passed(name, before[name], ("running", "Connected"))
        await room.carries(*AT_ILL)
        assert room.ill.ledger.starts == {f"{name}-number": 1 for name in AT_ILL}  # adopted, not started anew


async def admin_url_of(room: Room, good: str) -> str:
    """Find the admin server; the command line needs a file that it can read."""
    bad = room.config.read_text(encoding="utf-8")
    room.config.write_text(good, encoding="utf-8")
    try:
        return await admin_url(room.config)
    finally:
        room.config.write_text(bad, encoding="utf-8")


async def test_a_daemon_that_is_stopped_in_the_middle_of_a_start_leaves_everything_to_the_next(
    tmp_path: Path, redis_url: str
) -> None:
    def prepare(ill: SimulatedGateway) -> None:
        ill.session(SESSION).stick(1)

    others = [name for name in EVERYBODY if name != ILL]
    async with fault_room(tmp_path, redis_url, affected=[ILL], prepare=prepare, comes_up=others) as room:
        await room.until_state([ILL], "starting")
        await room.nobody_else_noticed()
        assert await room.daemon.end() == 0, room.daemon.log
        assert everybodys_closes(room) == {}
        room.nobody_was_harmed()
        async with daemon(room.config) as room.daemon:
            await room.until_state(others, "running")
            await room.until_state([ILL], "starting")
            room.ill.session(SESSION).drop(keep_login=True)  # the browser that was starting is gone
            await room.until_state([ILL], "running")
            await room.carries(*EVERYBODY)
            assert dict(room.ill.ledger.starts + room.well.ledger.starts) == {
                f"{name}-number": 1 + (name == ILL) for name in EVERYBODY
            }
            assert everybodys_closes(room) == {}
            assert await room.daemon.end() == 0, room.daemon.log
