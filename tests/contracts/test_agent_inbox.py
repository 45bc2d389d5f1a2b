"""Port `AgentInbox`: seen-check and hand-over are one step, for the fake and for Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import KINDS, SOON, eventually, real_store
from tests.fakes.inbox import FakeAgentInbox
from wa_supervisor.adapters.redis.entries import read_entries
from wa_supervisor.adapters.redis.keys import agent_input
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.adapters.redis.subscription import Heard, Subscription
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.message_ids import Identity
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, IntegrationId, SessionName, StanzaId
from wa_supervisor.engine.ports import AgentInbox, HandedOver, HandOver, SeenBefore

pytestmark = pytest.mark.anyio

AGENT, OTHER_AGENT = AgentId("sales"), AgentId("support")
CHAT, OTHER_CHAT = ChatId("5511988887777@c.us"), ChatId("120363@g.us")
ONE, TWO = IntegrationId("one"), IntegrationId("two")


class Side(Protocol):
    """What the tests do behind the port's back."""

    @property
    def inbox(self) -> AgentInbox: ...

    async def stream(self, agent: AgentId) -> list[bytes]: ...

    def hearing(self, agent: AgentId) -> AbstractAsyncContextManager[None]: ...

    async def refuse_next(self, agent: AgentId) -> None: ...

    async def accept_again(self, agent: AgentId) -> None: ...


class FakeSide:
    def __init__(self) -> None:
        self.inbox = FakeAgentInbox()

    async def stream(self, agent: AgentId) -> list[bytes]:
        return self.inbox.streams[agent]

    @asynccontextmanager
    async def hearing(self, agent: AgentId) -> AsyncIterator[None]:
        self.inbox.listeners[agent] += 1
        yield
        self.inbox.listeners[agent] -= 1

    async def refuse_next(self, agent: AgentId) -> None:
        del agent
        self.inbox.fail_next("hand_over")

    async def accept_again(self, agent: AgentId) -> None:
        """The failure is used up."""
        del agent
        await checkpoint()


class RedisSide:
    def __init__(self, store: RedisStore) -> None:
        self.inbox: AgentInbox = store.inbox
        self._client = store.client

    async def stream(self, agent: AgentId) -> list[bytes]:
        entries = read_entries(await self._client.call(b"XRANGE", agent_input(agent), b"-", b"+"))
        return [(entry.fields or {})[b"payload"] for entry in entries]

    @asynccontextmanager
    async def hearing(self, agent: AgentId) -> AsyncIterator[None]:
        begun = anyio.Event()

        async def take(heard: Heard) -> None:
            await checkpoint()
            assert heard.channel == agent_input(agent)
            begun.set()

        subscription = Subscription(self._client.address, self._client.policy, [agent_input(agent)])
        async with anyio.create_task_group() as group:
            group.start_soon(subscription.listen, take)
            await begun.wait()
            yield
            group.cancel_scope.cancel()

    async def refuse_next(self, agent: AgentId) -> None:
        await self._client.call(b"SET", agent_input(agent), b"no stream")

    async def accept_again(self, agent: AgentId) -> None:
        await self._client.call(b"DEL", agent_input(agent))


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


def message(
    stanza: str,
    chat: ChatId = CHAT,
    integration: IntegrationId = ONE,
    agent: AgentId = AGENT,
    *,
    payload: bytes = b'{"text":"ola","message_id":"false_x_y"}',
    marks_typing: bool = False,
) -> HandOver:
    identity = Identity(
        gateway=GatewayName("main"),
        session=SessionName("s1"),
        stanza=StanzaId(stanza),
        from_me=False,
        group=None,
    )
    return HandOver(
        agent_id=agent,
        integration_id=integration,
        identity=identity,
        chat=chat,
        payload=payload,
        marks_typing=marks_typing,
    )


async def test_a_new_message_goes_onto_the_agents_stream_with_its_bytes_as_they_are(side: Side) -> None:
    payload = b'{"text": "\xc3\xa7 \\u0000"}'
    answer = await side.inbox.hand_over(message("A1", payload=payload))
    assert isinstance(answer, HandedOver)
    assert answer.entry
    assert await side.stream(AGENT) == [payload]


async def test_a_message_seen_before_does_nothing(side: Side) -> None:
    await side.inbox.hand_over(message("A1"))
    again = await side.inbox.hand_over(message("A1", integration=TWO, marks_typing=True))
    assert again == SeenBefore()
    assert len(await side.stream(AGENT)) == 1
    assert await side.inbox.owner_of(AGENT, CHAT) == ONE
    assert list(await side.inbox.typing_left_on(TWO)) == []


async def test_messages_of_one_caller_stay_in_order(side: Side) -> None:
    for number in range(20):
        await side.inbox.hand_over(message(f"A{number}", payload=b"%d" % number))
    assert await side.stream(AGENT) == [b"%d" % number for number in range(20)]


async def test_every_agent_has_a_stream_of_its_own(side: Side) -> None:
    await side.inbox.hand_over(message("A1"))
    await side.inbox.hand_over(message("A2", agent=OTHER_AGENT))
    assert len(await side.stream(AGENT)) == len(await side.stream(OTHER_AGENT)) == 1


async def test_the_same_message_from_many_at_once_is_handed_over_once(side: Side) -> None:
    answers: list[HandedOver | SeenBefore] = []

    async def hand_over() -> None:
        answers.append(await side.inbox.hand_over(message("A1")))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(hand_over)
    assert sum(isinstance(answer, HandedOver) for answer in answers) == 1
    assert len(await side.stream(AGENT)) == 1


async def test_it_is_told_how_many_heard_it_on_the_channel(side: Side) -> None:
    unheard = await side.inbox.hand_over(message("A1"))
    with anyio.fail_after(SOON):
        async with side.hearing(AGENT):
            heard = await side.inbox.hand_over(message("A2"))
    assert isinstance(unheard, HandedOver)
    assert isinstance(heard, HandedOver)
    assert (unheard.listeners, heard.listeners) == (0, 1)


async def test_a_hand_over_that_failed_left_nothing_behind_and_may_be_repeated(side: Side) -> None:
    await side.refuse_next(AGENT)
    with pytest.raises(StoreUnavailableError):
        await side.inbox.hand_over(message("A1", marks_typing=True))
    await side.accept_again(AGENT)
    assert await side.inbox.owner_of(AGENT, CHAT) is None
    assert list(await side.inbox.typing_left_on(ONE)) == []
    assert isinstance(await side.inbox.hand_over(message("A1")), HandedOver)


async def test_the_integration_that_received_last_owns_the_chat(side: Side) -> None:
    await side.inbox.hand_over(message("A1", integration=ONE))
    await side.inbox.hand_over(message("A2", integration=TWO))
    await side.inbox.hand_over(message("A3", OTHER_CHAT, ONE))
    assert await side.inbox.owner_of(AGENT, CHAT) == TWO
    assert await side.inbox.owner_of(AGENT, OTHER_CHAT) == ONE


async def test_a_chat_that_never_wrote_to_an_agent_has_no_owner(side: Side) -> None:
    await side.inbox.hand_over(message("A1"))
    assert await side.inbox.owner_of(OTHER_AGENT, CHAT) is None


async def test_marks_of_typing_stay_until_they_are_taken_away(side: Side) -> None:
    await side.inbox.hand_over(message("A1", CHAT, marks_typing=True))
    await side.inbox.hand_over(message("A2", OTHER_CHAT, marks_typing=True))
    await side.inbox.hand_over(message("A3", ChatId("3@lid"), marks_typing=False))
    assert set(await side.inbox.typing_left_on(ONE)) == {CHAT, OTHER_CHAT}
    await side.inbox.typing_ended(ONE, CHAT)
    await side.inbox.typing_ended(ONE, CHAT)
    assert list(await side.inbox.typing_left_on(ONE)) == [OTHER_CHAT]
    assert list(await side.inbox.typing_left_on(TWO)) == []


async def test_a_cancelled_hand_over_is_done_whole_or_not_at_all(side: Side) -> None:
    for number in range(12):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(side.inbox.hand_over, message(f"A{number}", payload=b"%d" % number))
                for _ in range(number):
                    await checkpoint()
                scope.cancel()
    for number in range(12):
        await side.inbox.hand_over(message(f"A{number}", payload=b"%d" % number))

    async def all_there() -> bool:
        return sorted(await side.stream(AGENT)) == sorted(b"%d" % number for number in range(12))

    await eventually(all_there)
