"""Port `AgentInbox`: seen-check and hand-over are one step, for the fake and for Redis."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.redis_sides import KINDS, SOON, eventually, real_store
from tests.fakes.inbox import FakeAgentInbox
from wa_supervisor.adapters.redis.entries import read_entries
from wa_supervisor.adapters.redis.keys import agent_input
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.adapters.redis.subscription import Heard, Subscription
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.marks import Mark
from wa_supervisor.domain.message_ids import Identity
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, IntegrationId, SessionName, StanzaId
from wa_supervisor.engine.ports import AgentInbox, HandedOver, HandOver, SeenBefore

pytestmark = pytest.mark.anyio

AGENT, OTHER_AGENT = AgentId("sales"), AgentId("support")
CHAT, OTHER_CHAT = ChatId("5511988887777@c.us"), ChatId("120363@g.us")
MAIN, SESSION = GatewayName("main"), SessionName("s1")
ONE, TWO = IntegrationId("one"), IntegrationId("two")


class Side(Protocol):
    """What the tests do behind the port's back."""

    @property
    def inbox(self) -> AgentInbox: ...

    async def stream(self, agent: AgentId) -> list[bytes]: ...

    def hearing(self, agent: AgentId) -> AbstractAsyncContextManager[None]: ...

    async def refuse_next(self, agent: AgentId) -> None: ...

    async def accept_again(self, agent: AgentId) -> None: ...

    async def heard(self, agent: AgentId) -> list[bytes]: ...

    async def read_by_group(self, agent: AgentId) -> None: ...


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

    async def heard(self, agent: AgentId) -> list[bytes]:
        await checkpoint()
        return self.inbox.published[agent]

    async def read_by_group(self, agent: AgentId) -> None:
        await checkpoint()
        self.inbox.groups.add(agent)


class RedisSide:
    def __init__(self, store: RedisStore) -> None:
        self.inbox: AgentInbox = store.inbox
        self._client = store.client
        self._heard: defaultdict[AgentId, list[bytes]] = defaultdict(list)

    async def stream(self, agent: AgentId) -> list[bytes]:
        entries = read_entries(await self._client.call(b"XRANGE", agent_input(agent), b"-", b"+"))
        return [(entry.fields or {})[b"payload"] for entry in entries]

    @asynccontextmanager
    async def hearing(self, agent: AgentId) -> AsyncIterator[None]:
        begun = anyio.Event()

        async def take(heard: Heard) -> None:
            await checkpoint()
            assert heard.channel == agent_input(agent)
            if heard.payload is not None:
                self._heard[agent].append(heard.payload)
            begun.set()

        subscription = Subscription(self._client.address, self._client.policy, [agent_input(agent)])
        async with anyio.create_task_group() as group:
            group.start_soon(subscription.listen, take)
            await begun.wait()
            yield
            await self._client.call(b"PUBLISH", agent_input(agent), b"fence")
            await eventually(lambda: self._is_fenced(agent))
            group.cancel_scope.cancel()
        await eventually(lambda: self._is_left(agent))

    async def heard(self, agent: AgentId) -> list[bytes]:
        await checkpoint()
        return self._heard[agent]

    async def read_by_group(self, agent: AgentId) -> None:
        await self._client.call(b"XGROUP", b"CREATE", agent_input(agent), b"readers", b"0", b"MKSTREAM")

    async def _is_fenced(self, agent: AgentId) -> bool:
        await checkpoint()
        if self._heard[agent][-1:] != [b"fence"]:
            return False
        self._heard[agent].pop()
        return True

    async def _is_left(self, agent: AgentId) -> bool:
        answer = cast("list[object]", await self._client.call(b"PUBSUB", b"NUMSUB", agent_input(agent)))
        return answer[1] == 0

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
    mark: Mark | None = None,
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
        mark=mark,
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
    with anyio.fail_after(SOON):
        async with side.hearing(AGENT):
            heard = await side.inbox.hand_over(message("A1"))
    unheard = await side.inbox.hand_over(message("A2"))
    assert isinstance(unheard, HandedOver)
    assert isinstance(heard, HandedOver)
    assert (unheard.listeners, unheard.is_waiting) == (0, True)
    assert (heard.listeners, heard.is_waiting) == (1, False)


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


# --- marks


def mark(at: int, stanza: str = "M", chat: ChatId = CHAT) -> Mark:
    return Mark(chat=chat, message_id=f"false_{chat}_{stanza}", at=at)


async def marks_of(side: Side) -> dict[ChatId, Mark]:
    return dict((await side.inbox.marks(MAIN, SESSION, 0.0)).by_chat)


async def test_a_mark_is_set_with_the_hand_over_and_never_goes_back(side: Side) -> None:
    await side.inbox.hand_over(message("A1", mark=mark(10, "A1")))
    assert await marks_of(side) == {CHAT: mark(10, "A1")}
    await side.inbox.hand_over(message("A2"))
    await side.inbox.hand_over(message("A3", mark=mark(9, "A3")))
    assert await marks_of(side) == {CHAT: mark(10, "A1")}
    await side.inbox.hand_over(message("A4", mark=mark(10, "A4")))
    assert await marks_of(side) == {CHAT: mark(10, "A4")}
    await side.inbox.advance(MAIN, SESSION, mark(5, "B"))
    assert await marks_of(side) == {CHAT: mark(10, "A4")}
    await side.inbox.advance(MAIN, SESSION, mark(11, "C"))
    assert await marks_of(side) == {CHAT: mark(11, "C")}


async def test_a_message_seen_before_moves_the_mark_all_the_same(side: Side) -> None:
    await side.inbox.hand_over(message("A1"))
    assert await side.inbox.hand_over(message("A1", mark=mark(10, "A1"))) == SeenBefore()
    assert await marks_of(side) == {CHAT: mark(10, "A1")}


async def test_a_session_is_ours_from_when_it_was_first_asked_for(side: Side) -> None:
    assert (await side.inbox.marks(MAIN, SESSION, 1000.5)).since == 1000.5
    assert (await side.inbox.marks(MAIN, SESSION, 2000.0)).since == 1000.5
    assert (await side.inbox.marks(MAIN, SessionName("another"), 2000.0)).since == 2000.0


async def test_marks_are_forgotten_only_where_they_have_not_moved(side: Side) -> None:
    await side.inbox.advance(MAIN, SESSION, mark(10))
    await side.inbox.advance(MAIN, SESSION, mark(10, chat=OTHER_CHAT))
    await side.inbox.advance(MAIN, SESSION, mark(11))
    await side.inbox.forget_marks(MAIN, SESSION, [mark(10), mark(10, chat=OTHER_CHAT)])
    assert await marks_of(side) == {CHAT: mark(11)}


# --- agents that are away


async def test_what_nobody_heard_waits_and_is_published_in_order_when_somebody_listens(side: Side) -> None:
    said = [b"%d" % number for number in range(250)]
    for number, payload in enumerate(said[:-1]):
        await side.inbox.hand_over(message(f"A{number}", payload=payload))
    assert [each.waiting for each in await side.inbox.publish_waiting()] == [249]
    with anyio.fail_after(SOON):
        async with side.hearing(AGENT):
            late = await side.inbox.hand_over(message("late", payload=said[-1]))
            assert isinstance(late, HandedOver)
            assert (late.listeners, late.is_waiting) == (0, True)  # it does not overtake those that wait
            published = [each for _ in range(3) for each in await side.inbox.publish_waiting()]
            after = await side.inbox.hand_over(message("after", payload=b"after"))
    assert await side.heard(AGENT) == [*said, b"after"]
    assert sum(each.published for each in published) == 250
    assert isinstance(after, HandedOver)
    assert (after.listeners, after.is_waiting) == (1, False)
    assert list(await side.inbox.publish_waiting()) == []


async def test_an_agent_that_reads_the_stream_by_a_group_has_nothing_waiting(side: Side) -> None:
    await side.inbox.hand_over(message("A1"))
    await side.read_by_group(AGENT)
    answer = await side.inbox.hand_over(message("A2"))
    assert isinstance(answer, HandedOver)
    assert not answer.is_waiting
    assert all(not each.waiting for each in await side.inbox.publish_waiting())
    assert len(await side.stream(AGENT)) == 2


async def test_one_agents_absence_is_no_others(side: Side) -> None:
    await side.inbox.hand_over(message("A1"))
    with anyio.fail_after(SOON):
        async with side.hearing(OTHER_AGENT):
            other = await side.inbox.hand_over(message("A2", agent=OTHER_AGENT, payload=b"other"))
    assert isinstance(other, HandedOver)
    assert not other.is_waiting
    assert await side.heard(OTHER_AGENT) == [b"other"]


STEPS = st.lists(st.sampled_from(["a message", "publish", "two publish", "listen", "leave"]), max_size=14)


@given(steps=STEPS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whenever_an_agent_comes_and_goes_it_hears_everything_once_and_in_order(
    side: Side, steps: list[str]
) -> None:
    agent = AgentId(uuid.uuid4().hex)  # the side stays the same over all examples
    said: list[bytes] = []
    with anyio.fail_after(SOON):
        async with AsyncExitStack() as listening:
            for step in [*steps, "leave", "listen", "publish"]:
                if step == "a message":
                    said.append(b"%d" % len(said))
                    await side.inbox.hand_over(message(f"{agent}-{len(said)}", agent=agent, payload=said[-1]))
                elif step == "leave":
                    await listening.aclose()
                elif step == "listen":
                    await listening.aclose()
                    await listening.enter_async_context(side.hearing(agent))
                else:
                    async with anyio.create_task_group() as group:
                        for _ in step.split():
                            group.start_soon(side.inbox.publish_waiting)
    assert await side.heard(agent) == said
