"""A reply goes to the session that owns the chat, or is a dead letter with its reason."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.engine.harness import cancel_after, integration, record, reply, running, wall
from tests.fakes.dead_letters import FakeDeadLetters
from tests.fakes.inbox import FakeAgentInbox
from tests.fakes.outbox import FakeAgentOutbox
from tests.fakes.receipts import FakeReceipts
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, ChatId, IntegrationId
from wa_supervisor.domain.observations import Observation, Trouble
from wa_supervisor.domain.replies import Begun, IncomingReply, Reply
from wa_supervisor.engine.dead_letter_office import DeadLetterOffice
from wa_supervisor.engine.reply_router import ASK_FOR, ReplyRouter

pytestmark = pytest.mark.anyio

SALES, SUPPORT = AgentId("sales"), AgentId("support")
CHAT = ChatId("5511900000077@c.us")


class Number:
    """A session that only notes what it is given."""

    def __init__(self, name: str, agent: AgentId, **more: object) -> None:
        self.integration: Integration = integration(name, agent=agent, **more)
        self.took: list[Reply] = []

    @property
    def id(self) -> IntegrationId:
        return self.integration.id

    @property
    def agent_id(self) -> AgentId:
        return self.integration.agent_id

    async def take_reply(self, reply: Reply) -> None:
        self.took.append(reply)
        await anyio.lowlevel.checkpoint()


class Desk:
    """A router among fakes."""

    def __init__(self, *sessions: Number) -> None:
        self.inbox, self.outbox, self.letters = FakeAgentInbox(), FakeAgentOutbox(), FakeDeadLetters()
        self.told: list[Observation] = []
        office = DeadLetterOffice(
            letters=self.letters, outbox=self.outbox, receipts=FakeReceipts(), wall=wall, observe=self.told.append
        )
        self.others: dict[IntegrationId, str] = {}
        """Sessions of the agents that other daemons run, with their daemons."""
        self.router = ReplyRouter(
            inbox=self.inbox,
            outbox=self.outbox,
            office=office,
            observe=self.told.append,
            elsewhere=lambda _: self.others,
        )
        for session in sessions:
            self.router.join(session)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(1000):
                tasks.start_soon(self.outbox.listen, self.router.deliver)
                await self.outbox.until(lambda: self.outbox.listening("listen") > 0)
                yield
            tasks.cancel_scope.cancel()

    async def hear(self, payload: bytes, agent: AgentId = SALES) -> None:
        """Deliver what an agent said on its stream."""
        entry = await self.outbox.say(agent, payload, on="stream")
        await self.router.deliver(IncomingReply(agent_id=agent, payload=payload, entry=entry))

    @property
    def reasons(self) -> list[str]:
        return [letter.reason for letter in self.letters.letters]


async def test_an_agent_with_one_session_needs_no_choice() -> None:
    only, other = Number("a", SALES), Number("b", SUPPORT)
    desk = Desk(only, other)
    await desk.hear(reply(CHAT, "hello"))
    assert [(took.chat, took.text, took.agent_id) for took in only.took] == [(CHAT, "hello", SALES)]
    assert not other.took
    assert desk.inbox.calls["owner_of"] == 0
    assert repr(desk.router) == "<ReplyRouter 2 sessions of 2 agents>"


async def test_of_several_sessions_the_one_that_last_heard_from_the_chat_has_it() -> None:
    one, two = Number("a", SALES), Number("b", SALES)
    desk = Desk(one, two)
    desk.inbox.owners[SALES, CHAT] = two.id
    await desk.hear(reply(CHAT))
    assert (len(one.took), len(two.took)) == (0, 1)


async def test_without_an_owner_nobody_guesses() -> None:
    desk = Desk(Number("a", SALES), Number("b", SALES))
    await desk.hear(reply(CHAT))
    (letter,) = desk.letters.letters
    assert (letter.reason, letter.chat_id, letter.is_unknown) == ("NoOwner", CHAT, False)
    assert not desk.outbox.unsettled


async def test_an_owner_that_does_not_run_is_not_stood_in_for() -> None:
    desk = Desk(Number("a", SALES), Number("b", SALES))
    desk.inbox.owners[SALES, CHAT] = IntegrationId("c")
    await desk.hear(reply(CHAT))
    assert desk.reasons == ["OwnerNotRunning"]
    assert "belongs to c" in desk.letters.letters[0].message


@pytest.mark.parametrize("name", ["b-number", "b"])
async def test_a_reply_may_name_its_session_or_its_integration(name: str) -> None:
    one, two = Number("a", SALES), Number("b", SALES)
    desk = Desk(one, two)
    desk.inbox.owners[SALES, CHAT] = one.id
    await desk.hear(reply(CHAT, session=name))
    assert (len(one.took), len(two.took)) == (0, 1)
    assert desk.inbox.calls["owner_of"] == 0


async def test_the_name_of_a_session_goes_before_the_same_name_of_an_integration() -> None:
    named, same = Number("a", SALES, session="b"), Number("b", SALES)
    desk = Desk(same, named)
    await desk.hear(reply(CHAT, session="b"))
    assert (len(named.took), len(same.took)) == (1, 0)


async def test_two_gateways_sessions_of_one_name_are_told_apart_by_the_chats_owner() -> None:
    one, two, other = Number("a", SALES, session="x"), Number("b", SALES, session="x"), Number("c", SALES)
    desk = Desk(one, two, other)
    desk.inbox.owners[SALES, CHAT] = two.id
    await desk.hear(reply(CHAT, session="x"))
    assert [len(session.took) for session in (one, two, other)] == [0, 1, 0]
    desk.inbox.owners[SALES, CHAT] = other.id
    await desk.hear(reply(CHAT, session="x"))
    assert desk.reasons == ["OwnerNotRunning"]


async def test_a_name_that_no_session_of_the_agent_has_is_a_dead_letter() -> None:
    desk = Desk(Number("a", SALES), Number("b", SUPPORT))
    await desk.hear(reply(CHAT, session="b-number"))
    assert desk.reasons == ["NoSuchSession"]
    assert "'b-number'" in desk.letters.letters[0].message
    await desk.hear(reply(CHAT, session="x" * 1000))
    assert len(desk.letters.letters[1].message) < 200


async def test_an_agent_without_a_session_is_told_so() -> None:
    desk = Desk()
    await desk.hear(reply(CHAT))
    assert desk.reasons == ["NoSession"]


async def test_what_cannot_be_read_is_a_dead_letter_with_the_reason() -> None:
    desk = Desk(Number("a", SALES))
    for payload in (b"no json", b"[]", json.dumps({"chat_id": "all", "response": "x"}).encode(), reply(CHAT, " ")):
        await desk.hear(payload)
    assert desk.reasons == ["NotJson", "NotAnObject", "NoChat", "NoText"]
    assert not desk.outbox.unsettled


async def test_what_is_for_another_channel_is_settled_and_nothing_else() -> None:
    session = Number("a", SALES)
    desk = Desk(session)
    async with desk.listening():
        await desk.outbox.say(SALES, reply(CHAT, channel="telegram"), on="stream")
        await desk.outbox.until(lambda: len(desk.outbox.settled) == 1)
    assert not session.took
    assert not desk.letters.letters


async def test_what_an_earlier_daemon_began_is_the_sessions_to_settle() -> None:
    session = Number("a", SALES)
    desk = Desk(session)
    desk.outbox.leave_behind(SALES, reply(CHAT), begun=Begun(at=1.0, is_named=True))
    async with desk.listening():
        await desk.outbox.until(lambda: desk.outbox.calls["listen"] == 1)
        await anyio.sleep(1)
    (took,) = session.took
    assert took.source.begun == Begun(at=1.0, is_named=True)
    assert not desk.letters.letters


async def test_what_an_earlier_daemon_began_and_no_session_can_settle_is_a_dead_letter_of_unknown_fate() -> None:
    desk = Desk()
    desk.outbox.follow(frozenset({SALES}))
    desk.outbox.leave_behind(SALES, reply(CHAT), begun=True)
    async with desk.listening():
        await desk.outbox.until(lambda: not desk.outbox.unsettled)
    (letter,) = desk.letters.letters
    assert (letter.reason, letter.is_unknown, letter.chat_id) == ("Interrupted", True, CHAT)


async def test_what_an_earlier_daemon_did_not_begin_is_sent() -> None:
    session = Number("a", SALES)
    desk = Desk(session)
    desk.outbox.leave_behind(SALES, reply(CHAT), begun=False)
    async with desk.listening():
        await desk.outbox.until(lambda: desk.outbox.calls["listen"] == 1)
        await anyio.sleep(1)
    assert len(session.took) == 1


async def test_agents_are_followed_as_long_as_they_have_a_session() -> None:
    one, two, other = Number("a", SALES), Number("b", SALES), Number("c", SUPPORT)
    desk = Desk(one, two, other)
    assert desk.outbox.followed == {SALES, SUPPORT}
    desk.router.leave(one)
    assert desk.outbox.followed == {SALES, SUPPORT}
    desk.router.leave(two)
    assert desk.outbox.followed == {SUPPORT}
    desk.router.leave(two)
    assert desk.outbox.followed == {SUPPORT}


async def test_a_session_that_was_replaced_takes_nothing_along_when_it_leaves() -> None:
    old, new = Number("a", SALES), Number("a", SALES)
    desk = Desk(old)
    desk.router.join(new)
    desk.router.leave(old)
    await desk.hear(reply(CHAT))
    assert (len(old.took), len(new.took)) == (0, 1)


async def test_a_reply_waits_a_while_for_redis_to_say_whose_chat_it_is() -> None:
    one, two = Number("a", SALES), Number("b", SALES)
    desk = Desk(one, two)
    desk.inbox.owners[SALES, CHAT] = one.id
    desk.inbox.fail_next("owner_of", times=3)
    await desk.hear(reply(CHAT))
    assert len(one.took) == 1
    (trouble,) = desk.told
    assert isinstance(trouble, Trouble)
    assert (trouble.where, trouble.message.partition(" for")[0]) == ("replies", "a reply waits")


@pytest.mark.parametrize("hanging", [True, False])
async def test_a_chat_whose_owner_redis_never_tells_does_not_hold_up_every_agent(hanging: bool) -> None:
    other = Number("c", SUPPORT)
    desk = Desk(Number("a", SALES), Number("b", SALES), other)
    if hanging:
        desk.inbox.hold("owner_of")
    else:
        desk.inbox.fail_next("owner_of", times=10**6)
    async with desk.listening():
        began = anyio.current_time()
        await desk.outbox.say(SALES, reply(CHAT))
        await desk.outbox.say(SUPPORT, reply(CHAT))
        await desk.letters.until(lambda: len(desk.letters.letters) == 1)
        assert anyio.current_time() - began == pytest.approx(ASK_FOR)
        await anyio.sleep(0.1)
    assert desk.reasons == ["OwnerUnknown"]
    assert len(other.took) == 1


async def test_an_owner_that_left_while_redis_was_asked_is_not_given_the_reply() -> None:
    one, two = Number("a", SALES), Number("b", SALES)
    desk = Desk(one, two)
    desk.inbox.owners[SALES, CHAT] = one.id
    desk.inbox.hold("owner_of")
    async with desk.listening():
        await desk.outbox.say(SALES, reply(CHAT))
        await desk.inbox.until(lambda: desk.inbox.calls["owner_of"] == 1)
        desk.router.leave(one)
        desk.inbox.release("owner_of")
        await desk.letters.until(lambda: len(desk.letters.letters) == 1)
    assert desk.reasons == ["OwnerNotRunning"]
    assert not one.took


async def test_a_settling_that_fails_leaves_the_entry_to_come_again() -> None:
    desk = Desk(Number("a", SALES))
    desk.outbox.fail_next("settle")
    with pytest.raises(StoreUnavailableError):
        await desk.hear(reply(CHAT, channel="telegram"))
    async with desk.listening():
        await desk.outbox.until(lambda: not desk.outbox.unsettled)


@pytest.mark.parametrize("turns", range(40))
@pytest.mark.parametrize("on_stream", [True, False])
async def test_wherever_the_listening_ends_a_reply_is_taken_or_kept_or_dead(on_stream: bool, turns: int) -> None:
    one, two = Number("a", SALES), Number("b", SALES)
    desk = Desk(one, two)
    desk.inbox.owners[SALES, CHAT] = one.id
    heard: list[IncomingReply] = []

    async def deliver(incoming: IncomingReply) -> None:
        heard.append(incoming)
        await desk.router.deliver(incoming)

    async def live() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.outbox.listen, deliver)
            await desk.outbox.until(lambda: desk.outbox.listening("listen") > 0)
            await desk.outbox.say(SALES, reply(CHAT), on="stream" if on_stream else "channel")

    await cancel_after(turns, live)
    fates = len(one.took) + len(desk.letters.letters)
    if on_stream:
        assert fates <= len(desk.outbox.unsettled) <= 1  # the session that took it settles it
    else:
        assert fates == len(heard)
    assert set(desk.reasons) <= {"Stopped"}


async def test_replies_find_their_way_among_the_sessions_of_one_agent_in_the_whole_engine() -> None:
    wish = {"a": record("a", agent="sales"), "b": record("b", agent="sales")}
    async with running(wish) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.inbox.owners[SALES, CHAT] = IntegrationId("b")
        await house.outbox.say(SALES, reply(CHAT, "to the owner"), on="stream")
        await house.outbox.say(SALES, reply(CHAT, "by name", session="a-number"), on="stream")
        await house.outbox.until(lambda: not house.outbox.unsettled)
        assert sorted((got.session, got.text) for got in house.gateway.received) == [
            ("a-number", "by name"),
            ("b-number", "to the owner"),
        ]


# --- several daemons


async def test_a_chat_whose_session_runs_at_another_daemon_is_that_daemons_business() -> None:
    here = Number("a", SALES)
    desk = Desk(here)
    desk.others[IntegrationId("b")] = "wa-2"
    desk.inbox.owners[SALES, CHAT] = IntegrationId("b")
    await desk.hear(reply(CHAT, "on the stream"))
    await desk.router.deliver(IncomingReply(agent_id=SALES, payload=reply(CHAT, "on the channel"), entry=None))
    assert not here.took
    assert not desk.letters.letters
    assert [(given.payload, daemon) for given, daemon in desk.outbox.passed_on if given.entry] == [
        (reply(CHAT, "on the stream"), "wa-2")
    ]


async def test_a_chat_whose_session_runs_here_is_not_left_to_others() -> None:
    here = Number("a", SALES)
    desk = Desk(here)
    desk.others[IntegrationId("b")] = "wa-2"
    desk.inbox.owners[SALES, CHAT] = here.id
    await desk.hear(reply(CHAT))
    await desk.hear(reply(CHAT, session="a-number"))
    await desk.hear(reply(CHAT, session="b"))
    assert len(here.took) == 2
    assert [daemon for _, daemon in desk.outbox.passed_on] == ["wa-2"]


async def test_a_chat_that_nobody_heard_from_is_not_guessed_because_one_session_is_here() -> None:
    desk = Desk(Number("a", SALES))
    desk.others[IntegrationId("b")] = "wa-2"
    await desk.hear(reply(CHAT))
    assert desk.reasons == ["NoOwner"]
