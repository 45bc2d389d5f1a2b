"""What is particular to showing how things are in Redis: what expires, and what nobody forgets to remove."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import SOON, real_store
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.dead_letters import DeadLetter
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.status import DaemonStatus, LoginOffer, SessionStatus

pytestmark = pytest.mark.anyio

SALES = AgentId("sales")
HUB = b"integration_status:sales:whatsapp"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    async with real_store(redis_url, policy=RedisPolicy(hub_ttl=40, login_ttl=50, dead_maxlen=100)) as store:
        yield store


def status(name: str) -> SessionStatus:
    return SessionStatus(
        id=IntegrationId(name),
        agent_id=SALES,
        session=None,
        gateway=None,
        state=State.RUNNING,
        reason="Up",
        message="m",
        since=0.0,
    )


def daemon(name: str) -> DaemonStatus:
    return DaemonStatus(
        id=name, host="h", pid=1, version="1", started_at=0, observed_at=0, ready=True, sessions=0, by_state={}
    )


async def seconds_left(store: RedisStore, key: bytes) -> float:
    return cast("int", await store.client.call(b"PTTL", key)) / 1000


async def test_what_the_hub_reads_expires_unless_it_is_confirmed(store: RedisStore) -> None:
    await store.board.publish([], {SALES: {"status": "running"}})
    assert 39 < await seconds_left(store, HUB) <= 40
    await store.client.call(b"PERSIST", HUB)
    await store.board.publish([], {SALES: {"status": "running"}})
    assert 39 < await seconds_left(store, HUB) <= 40


async def test_a_login_offer_expires(store: RedisStore) -> None:
    await store.board.offer_login(IntegrationId("one"), LoginOffer(kind="qr", data="2@x", offered_at=0))
    assert 49 < await seconds_left(store, b"wa:login:one") <= 50


async def test_an_announcement_expires_and_a_daemon_that_is_gone_is_forgotten(store: RedisStore) -> None:
    await store.board.announce(daemon("a"), 30)
    await store.board.announce(daemon("b"), 30)
    assert 29 < await seconds_left(store, b"wa:daemon:a") <= 30
    await store.client.call(b"DEL", b"wa:daemon:a")  # as if its time had run out
    await store.board.announce(daemon("b"), 30)
    assert await store.client.call(b"SMEMBERS", b"wa:daemons") == [b"b"]


async def test_hub_fields_of_nobody_are_no_error(store: RedisStore) -> None:
    await store.board.publish([], {SALES: {}})
    assert await store.client.call(b"EXISTS", HUB) == 0
    await store.board.keep_only(frozenset(), frozenset())
    assert await store.client.call(b"EXISTS", b"wa:hub-agents") == 0


async def test_ten_thousand_statuses_are_written_and_thinned_out(store: RedisStore) -> None:
    with anyio.fail_after(SOON):
        await store.board.publish([status(f"s{number}") for number in range(10_000)], {})
        assert await store.client.call(b"HLEN", b"wa:status") == 10_000
        await store.board.keep_only(frozenset({IntegrationId("s7")}), frozenset())
        assert await store.client.call(b"HKEYS", b"wa:status") == [b"s7"]


@pytest.mark.parametrize(
    ("key", "what"), [(b"wa:status", "wa:status"), (b"wa:hub-agents", "wa:hub-agents"), (HUB, HUB.decode())]
)
async def test_a_key_of_a_wrong_type_is_an_error_that_names_it(store: RedisStore, key: bytes, what: str) -> None:
    await store.client.call(b"XADD", key, b"*", b"no", b"hash")
    with pytest.raises(StoreUnavailableError, match=what):
        await store.board.publish([status("one")], {SALES: {"status": "running"}})


async def test_dead_letters_are_bounded(store: RedisStore) -> None:
    letter = DeadLetter(at=0, direction="out", reason="R", message="m", is_unknown=False, attempts=1, agent_id=SALES)
    async with anyio.create_task_group() as group:
        for _ in range(1000):
            group.start_soon(store.dead_letters.bury, letter)
    assert 100 <= cast("int", await store.client.call(b"XLEN", b"wa:dead")) <= 300


async def test_a_call_cancelled_at_any_step_leaves_the_next_one_unharmed(store: RedisStore) -> None:
    for steps in range(40):
        async with anyio.create_task_group() as group:
            group.start_soon(store.board.publish, [status("one")], {SALES: {"status": "running"}})
            group.start_soon(store.board.keep_only, frozenset(), frozenset())
            group.start_soon(store.board.announce, daemon("a"), 30)
            group.start_soon(store.board.farewell, "b")
            group.start_soon(store.wish.read)
            for _ in range(steps):
                await checkpoint()
            group.cancel_scope.cancel()
        with anyio.fail_after(SOON):
            await store.ping()
            await store.board.publish([status("two")], {})
    assert await store.client.call(b"HEXISTS", b"wa:status", b"two") == 1
