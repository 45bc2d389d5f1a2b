"""The fault matrix, sessions: one is stuck, undead, refused, logged out or unreadable; those beside it are well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest
import redis

from tests.acceptance.fault_room import EVERYBODY, Room, fault_room, reply
from tests.acceptance.harness import PATIENCE, declare, record
from wa_supervisor.simulator import FAST, Fault, SimulatedGateway, Status

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]

ILL, SESSION = "i0", "i0-number"


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


def without(*names: str) -> list[str]:
    return [name for name in EVERYBODY if name not in names]


async def test_a_stuck_start_is_closed_and_repeated_and_one_that_sticks_again_says_what_to_do(
    tmp_path: Path, redis_url: str
) -> None:
    again = "i1"

    def prepare(ill: SimulatedGateway) -> None:
        ill.session(SESSION).stick(1)
        ill.session(f"{again}-number").stick(2)

    affected = (ILL, again)
    async with fault_room(tmp_path, redis_url, affected=affected, prepare=prepare, comes_up=without(*affected)) as room:
        await room.until_state([ILL], "running")
        path = room.path(ILL)
        assert ("backoff", "StuckStart") in path
        assert (room.ill.ledger.starts[SESSION], room.ill.ledger.closes[SESSION]) == (2, 1)
        assert room.status(ILL).failures == pytest.approx(1, abs=0.1)
        await room.carries(ILL)
        await room.until_state([again], "running")  # tried for ever: it may pass
        assert "Restart the wppconnect-server" in messages_of(room, again)
        assert room.status(again).failures == pytest.approx(2, abs=0.1)
        await room.carries(again)


def messages_of(room: Room, name: str) -> str:
    return "\n".join(step.message for step in room.status(name).transitions)


async def test_a_browser_that_is_gone_under_connected_is_closed_and_started_again(
    tmp_path: Path, redis_url: str
) -> None:
    async with fault_room(tmp_path, redis_url, affected=[ILL]) as room:
        before = room.status(ILL)
        room.ill.session(SESSION).crash_browser()
        path = await room.until_passed(
            ILL, before, ("degraded", "BrowserGone"), ("backoff", "BrowserGone"), ("running", "Connected")
        )
        assert [state for state, _ in path if state != "starting"] == ["degraded", "backoff", "running"]
        assert "sure" in messages_of(room, ILL)
        assert (room.ill.ledger.starts[SESSION], room.ill.ledger.closes[SESSION]) == (2, 1)
        assert room.status(ILL).failures == pytest.approx(1, abs=0.1)
        await room.carries(ILL)


async def test_a_session_whose_messages_whatsapp_never_acknowledges_is_a_zombie(tmp_path: Path, redis_url: str) -> None:
    async with fault_room(tmp_path, redis_url, affected=[ILL]) as room:
        before = room.status(ILL)
        room.ill.session(SESSION).die("ack0")
        for number in range(3):
            reply(redis_url, ILL, f"551190000010{number}@c.us", f"unheard {number}")
        await room.until_passed(
            ILL, before, ("degraded", "SilentZombie"), ("backoff", "SilentZombie"), ("running", "Connected")
        )
        assert "sure" in messages_of(room, ILL)
        assert (room.ill.ledger.starts[SESSION], room.ill.ledger.closes[SESSION]) == (2, 1)
        assert room.status(ILL).failures == pytest.approx(1, abs=0.1)
        await room.carries(ILL)
        # What never left the page that was closed is not in the chats of the new one: it was not sent, so it is now.
        await room.until(lambda: len(unheard(room)) == 3)
        assert sorted(unheard(room)) == ["unheard 0", "unheard 1", "unheard 2"]
        assert dead_letters(redis_url) == 0


def unheard(room: Room) -> list[str]:
    """Give what people got of what was sent over the dead connection."""
    return [text for text in room.ill.ledger.texts_received(SESSION) if text.startswith("unheard")]


def dead_letters(redis_url: str) -> int:
    with redis.Redis.from_url(redis_url) as client:
        return int(str(client.xlen("wa:dead")))


async def test_a_secret_refused_for_one_session_quarantines_it_until_it_is_released(
    tmp_path: Path, redis_url: str
) -> None:
    def prepare(ill: SimulatedGateway) -> None:
        ill.session(SESSION).refuse_secret()

    async with fault_room(tmp_path, redis_url, affected=[ILL], prepare=prepare, comes_up=without(ILL)) as room:
        await room.until_state([ILL], "quarantined", "WrongSecret")
        assert "gateways.ill.secret" in room.status(ILL).message
        assert room.status(ILL).next_attempt_at is None
        asked = room.ill.ledger.calls["generate-token"]
        room.ill.session(SESSION).refuse_secret(0)
        await room.command("release", ILL, "--wait")
        await room.until_state([ILL], "running")
        assert room.ill.ledger.calls["generate-token"] == asked + 1  # nothing was tried in between
        await room.carries(ILL)


async def test_a_token_refused_twice_quarantines_its_session_until_its_record_changes(
    tmp_path: Path, redis_url: str
) -> None:
    async with fault_room(tmp_path, redis_url, affected=[ILL]) as room:
        before = room.status(ILL)
        room.ill.session(SESSION).refuse_tokens()
        await room.until_state([ILL], "quarantined", "TokenRefused")
        assert room.status(ILL).failures == before.failures
        assert room.ill.session(SESSION).status is Status.CONNECTED  # nothing was closed, nobody logged out
        room.ill.session(SESSION).refuse_tokens(0)
        declare(redis_url, {ILL: record(ILL, gateway="ill", typing=False)})
        await room.until_state([ILL], "running")
        await room.carries(ILL)


async def test_a_token_refused_once_is_replaced_and_nobody_notices(tmp_path: Path, redis_url: str) -> None:
    async with fault_room(tmp_path, redis_url, affected=[ILL]) as room:
        before = room.status(ILL)
        made = room.ill.ledger.calls["generate-token"]
        room.ill.session(SESSION).refuse_tokens(1)
        await room.until(lambda: room.ill.ledger.calls["generate-token"] > made)
        await room.carries(ILL)
        assert room.path(ILL, before) == []


async def test_a_device_removed_from_the_phone_asks_for_a_login_and_is_back_after_it(
    tmp_path: Path, redis_url: str
) -> None:
    async with fault_room(tmp_path, redis_url, affected=[ILL]) as room:
        before = room.status(ILL)
        room.ill.session(SESSION).drop()
        await room.until_state([ILL], "awaiting_login", "LoginLost")
        assert f"wa-supervisor login {ILL}" in room.status(ILL).message
        with anyio.fail_after(PATIENCE):
            await room.ill.until(lambda gateway: gateway.session(SESSION).status is Status.QRCODE)
        room.ill.session(SESSION).scan()
        await room.until_state([ILL], "running")
        assert "quarantined" not in [state for state, _ in room.path(ILL, before)]
        await room.carries(ILL)


async def test_a_login_that_nobody_makes_ends_in_quarantine_until_it_is_released(
    tmp_path: Path, redis_url: str
) -> None:
    def prepare(ill: SimulatedGateway) -> None:
        ill.session(SESSION).needs_login()

    timings = replace(FAST, qr_renewal=0.3, qr_give_up=1.0)
    async with fault_room(
        tmp_path, redis_url, affected=[ILL], prepare=prepare, timings=timings, comes_up=without(ILL)
    ) as room:
        await room.until_state([ILL], "awaiting_login", "LoginNeeded")
        await room.until_state([ILL], "quarantined", "LoginGivenUp")
        assert f"wa-supervisor release {ILL}" in room.status(ILL).message
        assert room.ill.ledger.starts[SESSION] == 2  # as many rounds as sessions.login_rounds
        await room.command("release", ILL)
        with anyio.fail_after(PATIENCE):
            await room.ill.until(lambda gateway: gateway.session(SESSION).status is Status.QRCODE)
        room.ill.session(SESSION).scan()
        await room.until_state([ILL], "running")
        await room.carries(ILL)


async def test_a_record_that_cannot_be_read_stops_its_own_session_only(tmp_path: Path, redis_url: str) -> None:
    async with fault_room(tmp_path, redis_url, affected=[ILL]) as room:
        declare(redis_url, {ILL: b'{"agent_id": "agent-i0", "sesion": ', "new": b"\xff\xfe no JSON"})
        await room.until_state([ILL, "new"], "invalid")
        assert room.status(ILL).message
        assert room.ill.session(SESSION).status is Status.CONNECTED  # a typing error costs no login
        declare(redis_url, {ILL: record(ILL, gateway="ill")})
        await room.until_state([ILL], "running")
        assert room.ill.ledger.starts[SESSION] == 1  # adopted as it was
        await room.carries(ILL)


async def test_one_session_that_gets_500_backs_off_alone_and_returns(tmp_path: Path, redis_url: str) -> None:
    async with fault_room(tmp_path, redis_url, affected=[ILL]) as room:
        before = room.status(ILL)
        room.ill.script(Fault(session=SESSION, answer="error"))
        await room.until_state([ILL], "backoff", "GatewayError")
        assert room.status(ILL).failures > before.failures
        assert room.status(ILL).next_attempt_at is not None
        room.ill.mend()
        await room.until_state([ILL], "running")
        assert room.ill.ledger.starts[SESSION] == 1
        await room.carries(ILL)
