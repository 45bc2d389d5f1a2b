"""What is particular to receipts in Redis: two daemons, keys of a wrong type, bounds, cancellation."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import cast

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import SOON, real_store
from wa_supervisor.adapters.redis.entries import read_entries
from wa_supervisor.adapters.redis.keys import agent_receipts
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.names import AgentId, GatewayName, StanzaId
from wa_supervisor.domain.receipts import Fate, Receipt, SentMessage

pytestmark = pytest.mark.anyio

SALES, SUPPORT, MAIN = AgentId("sales"), AgentId("support"), GatewayName("main")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    async with real_store(redis_url) as store:
        yield store


def sent(stanza: str) -> SentMessage:
    return SentMessage(gateway=MAIN, stanza=StanzaId(stanza))


def receipt(agent: AgentId = SALES) -> Receipt:
    return Receipt(agent_id=agent, status=Fate.SENT, at=1_790_000_000.5)


async def fates(store: RedisStore, agent: AgentId = SALES) -> list[Fate]:
    rows = read_entries(await store.client.call(b"XRANGE", agent_receipts(agent), b"-", b"+"))
    return [msgspec.json.decode((row.fields or {})[b"receipt"], type=Receipt).status for row in rows]


async def test_two_daemons_that_hear_the_same_acks_tell_each_once(redis_url: str) -> None:
    async with real_store(redis_url, "one") as one, real_store(redis_url, "two") as two:
        async with anyio.create_task_group() as tasks:
            for store in (one, two):
                tasks.start_soon(store.receipts.sent, sent("A1"), receipt(), 1)
        async with anyio.create_task_group() as tasks:
            for store in (one, two):
                for ack in (2, 3):
                    tasks.start_soon(store.receipts.acked, MAIN, StanzaId("A1"), ack, 1.0)
        told = await fates(one)
    assert (told[0], told[-1]) == (Fate.SENT, Fate.READ)
    assert len(told) == len(set(told))


async def test_receipts_are_bounded_and_a_sent_message_is_forgotten_in_time(redis_url: str) -> None:
    async with real_store(redis_url, policy=RedisPolicy(receipts_maxlen=100, sent_ttl=1000)) as store:
        for number in range(500):
            await store.receipts.sent(sent(f"A{number}"), receipt(), 1)
        assert 100 <= len(await fates(store)) <= 300  # about the bound: whole nodes of a hundred entries are trimmed
        assert 990 < cast("int", await store.client.call(b"TTL", b"wa:sent:main:A7")) <= 1000


async def test_receipts_of_a_wrong_type_keep_nobody_waiting_and_are_told_of_once(
    store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.client.call(b"SET", agent_receipts(SALES), b"no stream")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            await store.receipts.sent(sent("A1"), receipt(), 1)
            assert await store.receipts.acked(MAIN, StanzaId("A1"), 2, 1.0)
            await store.receipts.tell(receipt())
    assert [vars(record)["key"] for record in caplog.records] == ["agent:sales:receipts"]
    await store.receipts.sent(sent("A2"), receipt(SUPPORT), 1)
    assert await fates(store, SUPPORT) == [Fate.SENT]
    await store.client.call(b"DEL", agent_receipts(SALES))
    assert await store.receipts.acked(MAIN, StanzaId("A1"), 3, 2.0)
    assert await fates(store) == [Fate.READ]


@pytest.mark.parametrize("name", ["sent", "acked", "receipt_of", "tell"])
async def test_a_call_cancelled_at_any_step_leaves_the_next_one_unharmed(redis_url: str, name: str) -> None:
    for steps in range(25):
        async with real_store(redis_url) as store:
            receipts, message = store.receipts, sent(f"A{steps}")
            calls: dict[str, Callable[[], Coroutine[object, object, object]]] = {
                "sent": lambda: receipts.sent(message, receipt(), 1),  # noqa: B023  # called before the next turn
                "acked": lambda: receipts.acked(MAIN, message.stanza, 2, 1.0),  # noqa: B023  # as above
                "receipt_of": lambda: receipts.receipt_of(MAIN, message.stanza),  # noqa: B023  # as above
                "tell": lambda: receipts.tell(receipt()),  # noqa: B023  # as above
            }
            if name == "acked":
                await store.receipts.sent(message, receipt(), 1)
            await cancelled_after(steps, calls[name])
            with anyio.fail_after(SOON):
                await store.receipts.sent(message, receipt(), 1)
                assert await store.receipts.acked(MAIN, message.stanza, 2, 1.0)
            told = await fates(store)
            assert [fate for fate in told if fate is Fate.DELIVERED] == [Fate.DELIVERED] * (steps + 1)
            assert name == "tell" or told.count(Fate.SENT) == steps + 1


async def cancelled_after(steps: int, call: Callable[[], Awaitable[object]]) -> None:
    async def make() -> None:
        await call()

    async with anyio.create_task_group() as group:
        group.start_soon(make)
        for _ in range(steps):
            await checkpoint()
        group.cancel_scope.cancel()
