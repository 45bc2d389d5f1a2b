"""Port `Receipts`: what became of a reply is told once for each step, for the fake and for Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import KINDS, SOON, real_store
from tests.fakes.receipts import FakeReceipts
from wa_supervisor.adapters.redis.entries import read_entries
from wa_supervisor.adapters.redis.keys import agent_receipts
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.errors import StoreUnavailableError
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

    async def refuse_next(self, method: str) -> None: ...

    async def accept_again(self) -> None: ...


class FakeSide:
    def __init__(self) -> None:
        self.receipts = FakeReceipts()

    async def told(self) -> list[Receipt]:
        await checkpoint()
        return self.receipts.told[AGENT]

    async def refuse_next(self, method: str) -> None:
        await checkpoint()
        self.receipts.fail_next(method)

    async def accept_again(self) -> None:
        """The failure is used up."""
        await checkpoint()


class RedisSide:
    def __init__(self, store: RedisStore) -> None:
        self.receipts: Receipts = store.receipts
        self._client = store.client

    async def told(self) -> list[Receipt]:
        rows = read_entries(await self._client.call(b"XRANGE", agent_receipts(AGENT), b"-", b"+"))
        return [msgspec.json.decode((row.fields or {})[b"receipt"], type=Receipt) for row in rows]

    async def refuse_next(self, method: str) -> None:
        del method
        await self._client.call(b"CONFIG", b"SET", b"maxmemory", b"1")

    async def accept_again(self) -> None:
        await self._client.call(b"CONFIG", b"SET", b"maxmemory", b"0")


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
    assert await side.receipts.receipt_of(MAIN, STANZA) == RECEIPT


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
    assert await side.receipts.receipt_of(MAIN, STANZA) is None
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


@pytest.mark.parametrize("text", ["", "\u0000\n\\/\u007f", "ação 🙂", "\ufffe", "}{[]", "null"])
async def test_whatever_a_receipt_says_stays_as_it_is_through_its_acks(side: Side, text: str) -> None:
    receipt = msgspec.structs.replace(RECEIPT, reply_id=text, entry="1790000000000-18446744073709551615")
    await side.receipts.sent(MESSAGE, receipt, 1)
    assert await side.receipts.acked(MAIN, STANZA, 2, 1_790_000_001.125)
    assert await side.told() == [
        receipt,
        msgspec.structs.replace(receipt, status=Fate.DELIVERED, at=1_790_000_001.125),
    ]


async def test_what_is_told_again_with_an_ack_that_came_meanwhile_is_told_once_more(side: Side) -> None:
    await side.receipts.sent(MESSAGE, RECEIPT, 1)
    delivered = msgspec.structs.replace(RECEIPT, status=Fate.DELIVERED)
    for _ in range(2):
        await side.receipts.sent(MESSAGE, delivered, 2)
    assert not [await side.receipts.acked(MAIN, STANZA, ack, 0.0) for ack in (1, 2)].count(False)
    assert await side.told() == [RECEIPT, delivered]


async def test_one_stanza_at_two_gateways_is_two_messages(side: Side) -> None:
    other = GatewayName("other")
    await side.receipts.sent(MESSAGE, RECEIPT, 1)
    assert await side.receipts.receipt_of(other, STANZA) is None
    await side.receipts.sent(SentMessage(gateway=other, stanza=STANZA), RECEIPT, 1)
    await side.receipts.acked(other, STANZA, 2, 1.0)
    await side.receipts.acked(MAIN, STANZA, 3, 2.0)
    assert [receipt.status for receipt in await side.told()] == [Fate.SENT, Fate.SENT, Fate.DELIVERED, Fate.READ]


@pytest.mark.parametrize("name", ["sent", "acked", "tell"])
async def test_a_failure_is_ours_and_what_is_repeated_is_told(side: Side, name: str) -> None:
    await side.receipts.sent(MESSAGE, RECEIPT, 0)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "sent": lambda: side.receipts.sent(MESSAGE, RECEIPT, 1),
        "acked": lambda: side.receipts.acked(MAIN, STANZA, 1, 1.0),
        "tell": lambda: side.receipts.tell(RECEIPT),
    }
    await side.refuse_next(name)
    try:
        with pytest.raises(StoreUnavailableError):
            await calls[name]()
    finally:  # the server is other tests' too
        with anyio.move_on_after(SOON, shield=True):
            await side.accept_again()
    await calls[name]()
    assert len(await side.told()) == 2


async def test_whose_message_it_is_stays_what_was_told_first(side: Side) -> None:
    await side.receipts.sent(MESSAGE, RECEIPT, 1)
    await side.receipts.sent(MESSAGE, msgspec.structs.replace(RECEIPT, reply_id="another", entry="2-0"), 2)
    await side.receipts.acked(MAIN, STANZA, 3, 1.0)
    told = await side.told()
    assert [receipt.reply_id for receipt in told] == [RECEIPT.reply_id, "another", RECEIPT.reply_id]
    assert await side.receipts.receipt_of(MAIN, STANZA) == RECEIPT
