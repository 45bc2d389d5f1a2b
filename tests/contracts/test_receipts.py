"""Port `Receipts`: what became of a reply is told once for each step, for the fake and for Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import anyio
import msgspec
import pytest

from tests.contracts.redis_sides import KINDS, real_store
from tests.fakes.receipts import FakeReceipts
from wa_supervisor.adapters.redis.entries import read_entries
from wa_supervisor.adapters.redis.keys import agent_receipts
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, StanzaId
from wa_supervisor.domain.receipts import Fate, Receipt, SentMessage
from wa_supervisor.engine.ports import Receipts

pytestmark = pytest.mark.anyio

AGENT, MAIN, STANZA = AgentId("vendas-ação"), GatewayName("main"), StanzaId("3EB0/A1")
MESSAGE = SentMessage(gateway=MAIN, stanza=STANZA)
RECEIPT = Receipt(
    agent_id=AGENT,
    status=Fate.SENT,
    at=1_790_000_000.25,
    chat_id=ChatId("5511988887777@c.us"),
    reply_id='a "quoted" \u00e7 id',
    message_id="true_5511988887777@c.us_3EB0/A1",
)


class Side(Protocol):
    """What the tests do behind the port's back."""

    @property
    def receipts(self) -> Receipts: ...

    async def told(self) -> list[Receipt]: ...


class FakeSide:
    def __init__(self) -> None:
        self.receipts = FakeReceipts()

    async def told(self) -> list[Receipt]:
        await anyio.lowlevel.checkpoint()
        return self.receipts.told[AGENT]


class RedisSide:
    def __init__(self, store: RedisStore) -> None:
        self.receipts: Receipts = store.receipts
        self._client = store.client

    async def told(self) -> list[Receipt]:
        rows = read_entries(await self._client.call(b"XRANGE", agent_receipts(AGENT), b"-", b"+"))
        return [msgspec.json.decode((row.fields or {})[b"receipt"], type=Receipt) for row in rows]


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def anyio_backend(kind: tuple[str, str]) -> str:
    return kind[1]


@pytest.fixture
def url(kind: tuple[str, str], request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url")) if kind[0] == "redis" else ""


@pytest.fixture
async def side(url: str) -> AsyncIterator[Side]:
    if not url:
        yield FakeSide()
        return
    async with real_store(url) as store:
        yield RedisSide(store)


async def test_what_was_sent_is_told_with_everything_that_is_known(side: Side) -> None:
    await side.receipts.sent(MESSAGE, RECEIPT, 1)
    assert await side.told() == [RECEIPT]
    assert await side.receipts.is_ours(MAIN, STANZA)


async def test_telling_it_again_tells_nothing_twice(side: Side) -> None:
    for _ in range(3):
        await side.receipts.sent(MESSAGE, RECEIPT, 1)
    assert await side.told() == [RECEIPT]


@pytest.mark.parametrize(
    ("acks", "fates"),
    [
        ((1, 2, 3, 4), [Fate.DELIVERED, Fate.READ]),
        ((3, 2, 1), [Fate.READ]),
        ((2, 2, 2), [Fate.DELIVERED]),
        ((-1,), []),  # an error after it was sent is none
    ],
)
async def test_an_ack_that_says_more_is_told_and_any_other_is_not(
    side: Side, acks: tuple[int, ...], fates: list[Fate]
) -> None:
    await side.receipts.sent(MESSAGE, RECEIPT, 1)
    for number, ack in enumerate(acks):
        assert await side.receipts.acked(MAIN, STANZA, ack, 1_790_000_001.5 + number)
    told = await side.told()
    assert [receipt.status for receipt in told] == [Fate.SENT, *fates]
    for receipt in told[1:]:
        assert msgspec.structs.replace(receipt, status=Fate.SENT, at=RECEIPT.at) == RECEIPT


async def test_a_message_that_was_pending_may_fail(side: Side) -> None:
    await side.receipts.sent(MESSAGE, msgspec.structs.replace(RECEIPT, status=Fate.PENDING), 0)
    await side.receipts.acked(MAIN, STANZA, -1, 1_790_000_001.0)
    assert [receipt.status for receipt in await side.told()] == [Fate.PENDING, Fate.FAILED]


async def test_an_ack_for_a_message_that_is_nobodys_is_not_told(side: Side) -> None:
    assert not await side.receipts.acked(MAIN, STANZA, 2, 0.0)
    assert not await side.receipts.acked(GatewayName("another"), STANZA, 2, 0.0)
    assert not await side.receipts.is_ours(MAIN, STANZA)
    assert await side.told() == []


async def test_the_same_ack_from_many_at_once_is_told_once(side: Side) -> None:
    await side.receipts.sent(MESSAGE, RECEIPT, 1)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(side.receipts.acked, MAIN, STANZA, 2, 1_790_000_001.0)
    assert [receipt.status for receipt in await side.told()] == [Fate.SENT, Fate.DELIVERED]


async def test_what_was_not_sent_is_told_too(side: Side) -> None:
    failed = Receipt(agent_id=AGENT, status=Fate.FAILED, at=1.5, reason="NoSession")
    await side.receipts.tell(failed)
    assert await side.told() == [failed]
