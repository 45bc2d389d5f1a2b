"""The fault matrix, stores: Redis and PostgreSQL are killed and come back with their data, and no session notices."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import cast

import anyio
import pytest
import redis

from tests.acceptance.fault_room import EVERYBODY, Room, fault_room
from tests.acceptance.harness import PATIENCE, declare, record
from tests.acceptance.killable import killable_postgres, killable_valkey

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]

ILL, SESSION = "i0", "i0-number"

MEANWHILE = 5
"""Messages that everybody writes while a store is away."""


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


async def let_everybody_write(room: Room, messages: int) -> None:
    """Return when everybody has written so many messages more."""
    until = {talk.name: len(talk.written) + messages for talk in room.others}
    await room.until(lambda: all(len(talk.written) >= until[talk.name] for talk in room.others))


async def test_while_redis_is_away_sessions_live_on_and_what_came_meanwhile_is_answered_in_order(
    tmp_path: Path,
) -> None:
    async with (
        killable_valkey() as valkey,
        fault_room(tmp_path, valkey.url, affected=[ILL], on_streams=True) as room,
    ):
        before = room.status(ILL)
        await let_everybody_write(room, 1)
        await valkey.kill()
        await room.daemon.until_said("wish could not be read; what runs goes on")
        room.ill.session(SESSION).crash_browser()
        await let_everybody_write(room, MEANWHILE)
        with anyio.fail_after(PATIENCE):  # brought back without anybody to tell
            await room.ill.until(lambda gateway: gateway.session(SESSION).is_running)
            await room.ill.until(lambda gateway: gateway.ledger.starts[SESSION] == 2)
        assert room.daemon.process.returncode is None
        await valkey.start()
        await room.daemon.until_said("wish followed again")
        declare(valkey.url, {"late": record("late", gateway="well")})
        await room.until_state(["late"], "running")
        await room.until_passed(ILL, before, ("backoff", "BrowserGone"), ("running", "Connected"))
        await room.carries(ILL)


async def test_while_postgresql_is_away_messages_go_on_with_the_people_that_are_remembered(
    tmp_path: Path, redis_url: str
) -> None:
    async with (
        killable_postgres() as postgres,
        fault_room(tmp_path, redis_url, affected=[], database_url=postgres.url) as room,
    ):
        await let_everybody_write(room, 1)
        await room.carries(*EVERYBODY)
        known = user_data(redis_url, ILL)
        assert known["is_authenticated"]
        await postgres.kill()
        await ask_as(room, "5511900000201@c.us")
        stranger = user_data(redis_url, ILL)
        assert (stranger["is_authenticated"], "user_id" in stranger) == (False, False)
        await room.daemon.until_said("People cannot be looked up")
        await room.carries(ILL)
        assert user_data(redis_url, ILL) == known
        await let_everybody_write(room, MEANWHILE)
        await postgres.start()
        await until_looked_up_again(room)
        await ask_as(room, "5511900000202@c.us")
        assert user_data(redis_url, ILL)["is_authenticated"]


async def until_looked_up_again(room: Room) -> None:
    """Have strangers write until the database is asked again: only for them it is."""
    with anyio.fail_after(PATIENCE):
        for number in itertools.count():
            if "People can be looked up again" in room.daemon.log:
                return
            await ask_as(room, f"5511900001{number:03d}@c.us")
            await let_everybody_write(room, 1)


async def ask_as(room: Room, person: str) -> None:
    """See a message of somebody answered."""
    room.ill.person(person).writes(SESSION, f"{person} asks")
    await room.until(lambda: room.ill.ledger.texts_received(SESSION, person))


def user_data(redis_url: str, name: str) -> dict[str, object]:
    """Give what the agent of a session was told last about a person who is none of the regular writers."""
    with redis.Redis.from_url(redis_url) as client:
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrevrange(f"agent:agent-{name}:input"))
    messages = [json.loads(fields[b"payload"]) for _, fields in entries]
    found: dict[str, object] = next(each["user_data"] for each in messages if each["chat_id"] != "5511900000077@c.us")
    return found
