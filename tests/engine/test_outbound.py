"""Out: every reply is sent once or becomes one dead letter, and what may have been sent is never sent again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import anyio
import pytest

from tests.engine.harness import MAIN, Carriage, Policies, agent, integration, records, reply, running, said, wall
from tests.engine.virtual_time import virtual_backend
from tests.fakes.gateway import FakeGateway
from tests.fakes.outbox import FakeAgentOutbox
from wa_supervisor.domain.errors import GatewayAnswerError
from wa_supervisor.domain.gateway import SessionAccess
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import ChatId, StanzaId
from wa_supervisor.domain.observations import OutcomeSettled, ReplyDead, ReplySent, Trouble
from wa_supervisor.domain.receipts import Fate, Receipt, SentMessage
from wa_supervisor.domain.replies import Begun, IncomingReply
from wa_supervisor.domain.sending import NotSent, Repeat, SendOutcome, Sent, Unknown, stanza_for
from wa_supervisor.engine.dead_letter_office import RECORD_TIMEOUT
from wa_supervisor.engine.outbound import CACHED_LOOK_UP
from wa_supervisor.engine.policies import OutboundPolicy, SupervisorPolicy
from wa_supervisor.engine.ports import MayLeave, always

pytestmark = pytest.mark.anyio

ANNA, BRUNO = "5511900000001@c.us", "5511900000002@c.us"
BUSY = NotSent(reason="TooManyRequests", message="busy", repeat=Repeat.LATER)
GONE = NotSent(reason="Disconnected", message="gone", repeat=Repeat.WHEN_CONNECTED)
NEVER = NotSent(reason="Http413", message="too long", repeat=Repeat.NEVER)
NOBODY_KNOWS = Unknown(reason="Http500", message="500", has_ended=True)
NO_ANSWER = Unknown(reason="NoAnswer", message="nothing came")
STANZA = StanzaId("3EB0AB")

only_asyncio = pytest.mark.parametrize("anyio_backend", [virtual_backend("asyncio")])
"""A cancellation that no scope asked for exists on asyncio only."""


class WatchedGateway(FakeGateway):
    """Remembers what it was given, and of what nothing proved that it was not sent."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[str | None] = []
        self.may_be_sent: set[str] = set()

    async def send_text(
        self,
        access: SessionAccess,
        chat: ChatId,
        text: str,
        *,
        stanza: StanzaId | None = None,
        may_leave: MayLeave = always,
    ) -> SendOutcome:
        self.tokens.append(access.token)
        self.may_be_sent.add(text)
        outcome = await super().send_text(access, chat, text, stanza=stanza, may_leave=may_leave)
        if isinstance(outcome, NotSent):
            self.may_be_sent.discard(text)
        return outcome


def texts(carriage: Carriage, chat: str | None = None) -> list[str]:
    """Give what people got, oldest first."""
    return [got.text for got in carriage.gateway.received if chat in (None, got.chat)]


def reasons(carriage: Carriage) -> list[str]:
    return [letter.reason for letter in carriage.letters.letters]


async def say(carriage: Carriage, text: str = "hello back", *, chat: str = ANNA, on_stream: bool) -> None:
    """Let the agent answer on its stream or channel."""
    await carriage.outbox.say(agent("a"), reply(chat, text), on="stream" if on_stream else "channel")


async def until_dead(carriage: Carriage, count: int = 1) -> None:
    await carriage.letters.until(lambda: len(carriage.letters.letters) >= count)


# --- the usual way


@pytest.mark.parametrize("on_stream", [True, False])
async def test_a_reply_is_sent_and_counted_and_proves_the_session_alive(on_stream: bool) -> None:
    carriage = Carriage()
    async with carriage.running():
        await say(carriage, on_stream=on_stream)
        (told,) = await carriage.until_told(ReplySent)
        assert (told.integration, told.gateway, told.attempts) == ("a", "main", 1)
        await carriage.outbound.wait_empty()
    assert texts(carriage) == ["hello back"]
    assert carriage.record.traffic.messages_out == 1
    assert carriage.record.traffic.last_out_at is not None
    assert carriage.proofs == 1
    assert not carriage.outbox.unsettled
    assert not carriage.letters.letters


async def test_a_stream_reply_is_begun_before_it_is_sent_and_settled_afterwards() -> None:
    carriage = Carriage()
    carriage.gateway.hold("send_text")
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.gateway.until(lambda: carriage.gateway.calls["send_text"] == 1)
        assert len(carriage.outbox.begun) == 1
        assert not carriage.outbox.settled
        assert repr(carriage.outbound) == "<Outbound a 1 replies, 1 in the air>"
        carriage.gateway.release("send_text")
        await carriage.outbox.until(lambda: len(carriage.outbox.settled) == 1)
        assert not carriage.outbox.undone
    assert repr(carriage.outbound) == "<Outbound a 0 replies, 0 in the air>"


async def test_a_chat_is_in_order_and_a_slow_one_delays_no_other() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(Sent(stanzas=(STANZA,), acknowledged=False), done=True)
    async with carriage.running():
        for text in ("1", "2", "3"):
            await carriage.outbound.take(said(text, chat=ANNA))
        await carriage.gateway.until(lambda: texts(carriage, ANNA) == ["1"])
        for text in ("1", "2", "3"):
            await carriage.outbound.take(said(text, chat=BRUNO))
        await carriage.gateway.until(lambda: texts(carriage, BRUNO) == ["1", "2", "3"])
        assert texts(carriage, ANNA) == ["1"]  # its ack is still waited for
        carriage.acks.take(STANZA, 1)
        await carriage.until_told(ReplySent, 6)
    assert texts(carriage, ANNA) == ["1", "2", "3"]


async def test_no_more_are_sent_at_the_same_time_than_may_be() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(in_flight_per_session=4)))
    carriage.gateway.hold("send_text")
    async with carriage.running():
        for number in range(20):
            await carriage.outbound.take(said(chat=f"55119{number:08}@c.us"))
        await anyio.sleep(10)
        assert carriage.gateway.calls["send_text"] == 4
        carriage.gateway.release("send_text")
        await carriage.until_told(ReplySent, 20)


async def test_a_newer_token_is_used_for_what_waited() -> None:
    gateway = WatchedGateway()
    carriage = Carriage(gateway=gateway)
    carriage.disconnect()
    async with carriage.running():
        await carriage.outbound.take(said())
        await anyio.sleep(10)
        carriage.outbound.integration = integration("a", token="fresh")
        carriage.connect()
        await carriage.until_told(ReplySent)
    assert gateway.tokens == ["fresh"]


@pytest.mark.parametrize("on_stream", [True, False])
async def test_a_full_queue_makes_a_dead_letter_of_what_comes_beyond(on_stream: bool) -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(queue_per_session=3)))
    carriage.disconnect()
    async with carriage.running():
        for number in range(5):
            await say(carriage, f"{number}", on_stream=on_stream)
        await until_dead(carriage, 2)
        assert reasons(carriage) == ["QueueFull", "QueueFull"]
        assert carriage.record.traffic.failed_out == 2
        carriage.connect()
        await carriage.until_told(ReplySent, 3)
        await carriage.outbound.wait_empty()
    assert texts(carriage) == ["0", "1", "2"]
    assert not carriage.outbox.unsettled


# --- connected or not


async def test_a_reply_waits_until_the_session_is_connected() -> None:
    carriage = Carriage()
    carriage.disconnect()
    async with carriage.running():
        await carriage.outbound.take(said())
        await anyio.sleep(3000)
        assert carriage.gateway.calls["send_text"] == 0
        carriage.connect()
        await carriage.until_told(ReplySent)


async def test_a_reply_that_waited_for_the_longest_time_is_a_dead_letter() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(hold_longest=600.0)))
    carriage.disconnect()
    async with carriage.running():
        began = anyio.current_time()
        await say(carriage, on_stream=True)
        await until_dead(carriage)
        assert anyio.current_time() - began == pytest.approx(600)
        await carriage.outbox.until(lambda: not carriage.outbox.unsettled)
    (letter,) = carriage.letters.letters
    assert (letter.reason, letter.is_unknown, letter.attempts) == ("NotConnected", False, 0)


async def test_a_connection_that_is_lost_while_a_reply_waits_for_its_turn_keeps_it_from_being_sent() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(in_flight_per_session=1)))
    carriage.gateway.hold("send_text")
    async with carriage.running():
        await carriage.outbound.take(said("first", chat=ANNA))
        await carriage.gateway.until(lambda: carriage.gateway.calls["send_text"] == 1)
        await say(carriage, "second", chat=BRUNO, on_stream=True)
        await anyio.sleep(1)
        carriage.disconnect()
        carriage.gateway.release("send_text")
        await carriage.until_told(ReplySent)
        await anyio.sleep(100)
        assert texts(carriage) == ["first"]
        assert not carriage.outbox.begun
        carriage.connect()
        await carriage.until_told(ReplySent, 2)


async def test_a_connection_that_is_lost_while_a_reply_is_begun_keeps_it_from_being_sent_and_undoes_it() -> None:
    carriage = Carriage()
    carriage.outbox.hold("begin")
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.outbox.until(lambda: carriage.outbox.calls["begin"] == 1)
        carriage.disconnect()
        carriage.outbox.release("begin")
        await carriage.outbox.until(lambda: len(carriage.outbox.undone) == 1)
        await anyio.sleep(100)
        assert carriage.gateway.calls["send_text"] == 0
        carriage.connect()
        await carriage.until_told(ReplySent)
    assert texts(carriage) == ["hello back"]


# --- what the gateway answers


async def test_what_certainly_was_not_sent_is_tried_again_within_bounds_and_is_not_left_begun() -> None:
    policy = OutboundPolicy(attempts=5, backoff_initial=0.5, backoff_max=30.0)
    carriage = Carriage(Policies(outbound=policy))
    for _ in range(5):
        carriage.gateway.answer_next(BUSY, done=False)
    async with carriage.running():
        began = anyio.current_time()
        await say(carriage, on_stream=True)
        await until_dead(carriage)
        assert anyio.current_time() - began <= 0.5 + 1 + 2 + 4
    (letter,) = carriage.letters.letters
    assert (letter.reason, letter.is_unknown, letter.attempts) == ("TooManyRequests", False, 5)
    assert carriage.gateway.calls["send_text"] == 5
    assert len(carriage.outbox.undone) == 5


async def test_a_gateway_that_was_busy_for_a_while_gets_the_reply_once() -> None:
    carriage = Carriage()
    for _ in range(4):
        carriage.gateway.answer_next(BUSY, done=False)
    async with carriage.running():
        await say(carriage, on_stream=True)
        (told,) = await carriage.until_told(ReplySent)
        assert told.attempts == 5
    assert texts(carriage) == ["hello back"]


async def test_a_session_that_is_gone_at_the_gateway_is_looked_at_and_the_reply_waits_for_it() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(attempts=2)))
    for _ in range(8):
        carriage.gateway.answer_next(GONE, done=False)
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.until(lambda: carriage.looks == 1)
        carriage.disconnect()
        await anyio.sleep(1000)
        assert carriage.gateway.calls["send_text"] == 1
        carriage.connect()
        (told,) = await carriage.until_told(ReplySent)
        assert told.attempts == 9
        assert carriage.looks == 8
    assert texts(carriage) == ["hello back"]


async def test_waiting_for_a_session_does_not_use_up_the_tries() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(attempts=3)))
    for outcome in (GONE, GONE, GONE, BUSY, GONE, BUSY):
        carriage.gateway.answer_next(outcome, done=False)
    async with carriage.running():
        await carriage.outbound.take(said())
        await carriage.until_told(ReplySent)
    assert not carriage.letters.letters


async def test_a_session_that_stays_gone_ends_in_a_dead_letter_at_the_longest_time() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(hold_longest=600.0)))
    carriage.gateway.session("a-number").end()
    async with carriage.running():
        began = anyio.current_time()
        await carriage.outbound.take(said())
        await until_dead(carriage)
        assert 600 <= anyio.current_time() - began <= 631
    assert reasons(carriage) == ["Disconnected"]
    assert not carriage.letters.letters[0].is_unknown


async def test_what_would_be_refused_again_is_a_dead_letter_at_once() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(NEVER, done=False)
    async with carriage.running():
        await say(carriage, on_stream=True)
        await until_dead(carriage)
        await carriage.outbox.until(lambda: not carriage.outbox.unsettled)
    (letter,) = carriage.letters.letters
    assert (letter.reason, letter.message, letter.is_unknown, letter.attempts) == ("Http413", "too long", False, 1)
    assert (letter.session, letter.gateway, letter.chat_id) == ("a-number", "main", ANNA)


@pytest.mark.parametrize("on_stream", [True, False])
async def test_what_was_sent_although_nobody_said_so_is_found_and_not_sent_again(on_stream: bool) -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(NOBODY_KNOWS, done=True)
    async with carriage.running():
        await say(carriage, on_stream=on_stream)
        (told,) = await carriage.until_told(ReplySent)
        assert told.attempts == 1
        assert [(found.found, found.by) for found in carriage.all_told(OutcomeSettled)] == [("sent", "history")]
        await anyio.sleep(5000)
    assert texts(carriage) == ["hello back"]
    assert carriage.gateway.calls["send_text"] == 1
    assert not carriage.letters.letters
    assert not carriage.outbox.unsettled


@pytest.mark.parametrize("on_stream", [True, False])
async def test_what_was_not_sent_is_sent_again_when_that_is_certain(on_stream: bool) -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(NOBODY_KNOWS, done=False)
    async with carriage.running():
        began = anyio.current_time()
        await say(carriage, on_stream=on_stream)
        (told,) = await carriage.until_told(ReplySent)
        assert told.attempts == 2
        policies = carriage.policies
        assert anyio.current_time() - began >= policies.outbound.settle_failed + policies.inbound.settle
        assert [(found.found, found.by) for found in carriage.all_told(OutcomeSettled)] == [("not_sent", "history")]
    assert texts(carriage) == ["hello back"]


async def test_a_call_without_an_answer_may_take_effect_late_and_is_waited_for_until_it_cannot() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(NO_ANSWER, done=True, done_after=150.0)
    async with carriage.running():
        began = anyio.current_time()
        await say(carriage, on_stream=True)
        await carriage.until_told(ReplySent)
        assert anyio.current_time() - began >= 150
    assert texts(carriage) == ["hello back"]
    assert carriage.gateway.calls["send_text"] == 1


async def test_a_call_without_an_answer_that_never_took_effect_is_made_again_after_the_quiet_time() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(NO_ANSWER, done=False)
    async with carriage.running():
        began = anyio.current_time()
        await say(carriage, on_stream=True)
        await carriage.until_told(ReplySent)
        assert anyio.current_time() - began >= carriage.policies.outbound.settle_quiet
    assert texts(carriage) == ["hello back"]
    assert carriage.gateway.calls["send_text"] == 2


async def test_a_gateway_that_restarted_cannot_still_be_sending() -> None:
    carriage = Carriage()
    await carriage.gateway.health()
    carriage.gateway.answer_next(NO_ANSWER, done=False)
    async with carriage.running():
        began = anyio.current_time()
        await say(carriage, on_stream=True)
        await carriage.gateway.until(lambda: carriage.gateway.calls["send_text"] == 1)
        await anyio.sleep(20)
        carriage.gateway.restart()
        carriage.gateway.session("a-number").connect()
        await carriage.until_told(ReplySent)
        assert anyio.current_time() - began < carriage.policies.outbound.settle_quiet
    assert texts(carriage) == ["hello back"]


async def test_whatsapps_own_word_settles_it_before_any_look() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(NO_ANSWER, done=True)
    async with carriage.running():
        entry = await carriage.outbox.say(agent("a"), reply(ANNA), on="stream")
        assert entry is not None
        await carriage.gateway.until(lambda: carriage.gateway.calls["send_text"] == 1)
        carriage.acks.take(stanza_for(agent("a"), entry), 1)
        await carriage.until_told(ReplySent)
        assert [(found.found, found.by) for found in carriage.all_told(OutcomeSettled)] == [("sent", "ack")]
        assert carriage.gateway.calls["messages"] == 0


async def test_what_cannot_be_settled_is_a_dead_letter_of_unknown_fate_and_its_lane_goes_on() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(settle_longest=600)))
    carriage.gateway.answer_next(NOBODY_KNOWS, done=False)
    carriage.gateway.unreadable.add(ChatId(ANNA))
    carriage.gateway.writes("a-number", ANNA, "hello", at=wall())
    async with carriage.running():
        began = anyio.current_time()
        await say(carriage, on_stream=True)
        await until_dead(carriage)
        assert anyio.current_time() - began >= 600
        carriage.gateway.unreadable.clear()
        await say(carriage, "next", on_stream=True)
        await carriage.until_told(ReplySent)
    (letter,) = carriage.letters.letters
    assert (letter.reason, letter.is_unknown, letter.attempts) == ("Unsettled", True, 1)
    assert texts(carriage) == ["next"]
    assert [receipt.status for receipt in carriage.receipts.told[agent("a")]] == ["unknown", "sent"]


async def test_the_same_text_twice_is_told_apart_by_the_messages_name() -> None:
    carriage = Carriage()
    async with carriage.running():
        await say(carriage, "Yes.", on_stream=True)
        await carriage.until_told(ReplySent)
        carriage.gateway.answer_next(NOBODY_KNOWS, done=False)
        await say(carriage, "Yes.", on_stream=True)
        await carriage.until_told(ReplySent, 2)
    assert texts(carriage) == ["Yes.", "Yes."]


async def test_in_a_group_the_same_text_twice_is_told_apart_by_what_is_known_to_be_sent() -> None:
    group = "120363000000000001@g.us"
    carriage = Carriage()
    async with carriage.running():
        await say(carriage, "Yes.", chat=group, on_stream=True)
        await carriage.until_told(ReplySent)
        for done in (False, True):
            carriage.gateway.answer_next(NOBODY_KNOWS, done=done)
            await say(carriage, "Yes.", chat=group, on_stream=True)
        await carriage.until_told(ReplySent, 3)
        await anyio.sleep(1000)
    assert texts(carriage) == ["Yes."] * 3


async def test_a_gateway_that_refuses_names_gets_the_reply_without_one() -> None:
    carriage = Carriage()
    carriage.gateway.refuses_names = True
    async with carriage.running():
        await say(carriage, "1", on_stream=True)
        await carriage.until_told(ReplySent)
        await say(carriage, "2", on_stream=True)
        await carriage.until_told(ReplySent, 2)
        assert carriage.gateway.calls["send_text"] == 3  # the second time it is known
    assert texts(carriage) == ["1", "2"]


async def test_what_was_recorded_as_sent_before_the_crash_is_not_taken_for_another_replys() -> None:
    group = "120363000000000001@g.us"
    carriage = Carriage()
    carriage.outbox.wall = wall
    entry = carriage.outbox.leave_behind(agent("a"), reply(group), begun=Begun(at=wall() - 5, is_named=False))
    kept = carriage.gateway.session("a-number").book.add(group, "hello back", wall() - 4, from_me=True)
    receipt = Receipt(agent_id=agent("a"), status=Fate.SENT, at=wall() - 4, entry=entry)
    await carriage.receipts.sent(SentMessage(gateway=MAIN, stanza=kept.stanza), receipt, 1)
    async with carriage.running():
        await carriage.outbox.until(lambda: not carriage.outbox.unsettled)
        await carriage.until_told(ReplySent)
    assert texts(carriage) == []


async def test_the_same_text_by_somebody_else_much_later_is_not_taken_for_ours() -> None:
    group = "120363000000000001@g.us"
    carriage = Carriage()
    carriage.gateway.answer_next(NOBODY_KNOWS, done=False)
    async with carriage.running():
        await say(carriage, "Ok", chat=group, on_stream=True)
        await carriage.gateway.until(lambda: carriage.gateway.calls["send_text"] == 1)
        carriage.gateway.owner_writes("a-number", group, "Ok", at=wall() + 60)
        await carriage.until_told(ReplySent)
    assert texts(carriage) == ["Ok"]


async def test_what_fails_again_and_again_and_was_never_sent_is_a_dead_letter_that_says_so() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(attempts=3)))
    for _ in range(10):
        carriage.gateway.answer_next(NOBODY_KNOWS, done=False)
    async with carriage.running():
        await say(carriage, on_stream=True)
        await until_dead(carriage)
    (letter,) = carriage.letters.letters
    assert (letter.reason, letter.is_unknown, letter.attempts) == ("NotSent", False, 3)


async def test_a_page_that_shows_no_chats_yet_proves_nothing() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(NOBODY_KNOWS, done=True)
    book = carriage.gateway.session("a-number").book
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.gateway.until(lambda: carriage.gateway.calls["send_text"] == 1)
        for kept in book.all():
            kept.is_hidden = True
        await anyio.sleep(60)
        book.show()
        await carriage.until_told(ReplySent)
    assert texts(carriage) == ["hello back"]
    assert carriage.gateway.calls["send_text"] == 1


@pytest.mark.parametrize("was_sent", [True, False])
@pytest.mark.parametrize("is_named", [True, False])
async def test_what_an_earlier_life_began_is_looked_for_before_it_is_sent(was_sent: bool, is_named: bool) -> None:
    carriage = Carriage()
    carriage.outbox.wall = wall
    entry = carriage.outbox.leave_behind(agent("a"), reply(ANNA), begun=Begun(at=wall() - 20, is_named=is_named))
    if was_sent:
        stanza = stanza_for(agent("a"), entry) if is_named else None
        carriage.gateway.session("a-number").book.add(ANNA, "hello back", wall() - 19, from_me=True, stanza=stanza)
    async with carriage.running():
        await carriage.outbox.until(lambda: not carriage.outbox.unsettled)
        await carriage.until_told(ReplySent)
    assert texts(carriage) == ([] if was_sent else ["hello back"])
    assert not carriage.letters.letters


async def test_a_reply_that_another_daemon_took_over_is_neither_sent_nor_settled_here() -> None:
    carriage = Carriage()
    carriage.disconnect()
    async with carriage.running():
        entry = await carriage.outbox.say(agent("a"), reply(ANNA), on="stream")
        await anyio.sleep(1)
        assert entry is not None
        carriage.outbox.lose(entry)
        carriage.connect()
        await anyio.sleep(1000)
        await say(carriage, "next", on_stream=True)
        await carriage.until_told(ReplySent)
    assert texts(carriage) == ["next"]
    assert not carriage.letters.letters


async def test_a_process_that_was_stopped_asks_again_before_anything_leaves() -> None:
    carriage = Carriage()
    carriage.outbox.may_leave = False  # too much time went by between asking and leaving
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.outbox.until(lambda: carriage.outbox.calls["begin"] >= 3)
        assert not texts(carriage)
        carriage.outbox.may_leave = True
        await carriage.until_told(ReplySent)
    assert texts(carriage) == ["hello back"]


async def test_an_exception_that_nobody_foresaw_while_sending_is_told_and_settled() -> None:
    carriage = Carriage()
    carriage.gateway.fail_next("send_text", RuntimeError("a bug"), after_effect=True)
    async with carriage.running():
        await carriage.outbound.take(said())
        await carriage.outbound.take(said("next"))
        await carriage.until_told(ReplySent, 2)
    assert texts(carriage) == ["hello back", "next"]
    assert not carriage.letters.letters
    assert [str(trouble.error) for trouble in carriage.all_told(Trouble)] == ["a bug"]


@only_asyncio
async def test_a_cancellation_that_was_not_ours_while_sending_is_not_taken_for_unsent() -> None:
    carriage = Carriage()
    carriage.gateway.fail_next("send_text", asyncio.CancelledError(), after_effect=True)  # type: ignore[arg-type]
    async with carriage.running():
        await carriage.outbound.take(said())
        await carriage.outbound.take(said("next"))
        await carriage.until_told(ReplySent, 2)
    assert texts(carriage) == ["hello back", "next"]
    assert not carriage.letters.letters


# --- people who never wrote, and the pace


async def test_a_number_that_never_wrote_is_looked_up_once_before_the_first_message() -> None:
    carriage = Carriage()
    carriage.inbox.owners[agent("a"), ChatId(BRUNO)] = carriage.id
    async with carriage.running():
        for text in ("1", "2"):
            for chat in (ANNA, BRUNO):
                await carriage.outbound.take(said(text, chat=chat))
        await carriage.until_told(ReplySent, 4)
        assert carriage.gateway.calls["number_exists"] == 1  # Bruno wrote before


async def test_a_number_that_nobody_has_is_a_dead_letter_after_a_second_look() -> None:
    carriage = Carriage()
    carriage.gateway.missing_numbers.add(ChatId(ANNA))
    async with carriage.running():
        began = anyio.current_time()
        await say(carriage, on_stream=True)
        await until_dead(carriage)
        assert carriage.gateway.calls["number_exists"] == 2
        assert anyio.current_time() - began >= CACHED_LOOK_UP
    (letter,) = carriage.letters.letters
    assert (letter.reason, letter.is_unknown) == ("NoSuchNumber", False)
    assert not texts(carriage)


async def test_a_look_up_that_the_gateway_cannot_make_keeps_the_reply_back_only_for_a_while() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(attempts=3)))
    carriage.gateway.fail_next("number_exists", GatewayAnswerError("500"), times=10**6)
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.until_told(ReplySent)
    assert carriage.gateway.calls["number_exists"] == 3


async def test_sends_of_a_session_are_apart_and_so_many_a_minute() -> None:
    policy = OutboundPolicy(min_gap=2.0, jitter=1.0, per_minute=10, in_flight_per_session=100)
    carriage = Carriage(Policies(outbound=policy))
    moments: list[float] = []
    async with carriage.running():
        for number in range(25):
            await carriage.outbound.take(said(f"{number}", chat=f"55119{number:08}@c.us"))
        for number in range(25):
            await carriage.until_told(ReplySent, number + 1)
            moments.append(anyio.current_time())
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert min(gaps) >= 2.0
    assert len({round(gap, 3) for gap in gaps}) > 5
    assert all(moments[n + 10] - moments[n] >= 59.9 for n in range(15))


async def test_typing_is_shown_in_proportion_to_the_text_where_that_is_wanted() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(typing_speed=10.0, typing_longest=5.0)))
    async with carriage.running():
        for text, seconds in (("x" * 20, 2.0), ("x" * 1000, 5.0)):
            began = anyio.current_time()
            await carriage.outbound.take(said(text, chat=ANNA))
            await anyio.sleep(seconds / 2)
            assert ("a-number", ANNA) in carriage.gateway.typing
            sent = len(carriage.all_told(ReplySent))
            await carriage.until_told(ReplySent, sent + 1)
            assert anyio.current_time() - began == pytest.approx(seconds, abs=0.6)


# --- receipts


async def test_the_agent_is_told_of_what_was_sent_and_by_which_message() -> None:
    carriage = Carriage()
    async with carriage.running():
        await carriage.outbox.say(agent("a"), reply(ANNA, reply_id="mine"), on="stream")
        await carriage.until_told(ReplySent)
        await carriage.outbox.until(lambda: not carriage.outbox.unsettled)
    (receipt,) = carriage.receipts.told[agent("a")]
    assert (receipt.status, receipt.chat_id, receipt.reply_id) == ("sent", ANNA, "mine")
    (stanza,) = [stanza for _, stanza in carriage.receipts.remembered]
    assert receipt.message_id == f"true_{ANNA}_{stanza}"
    assert (receipt.session, receipt.integration_id) == ("a-number", "a")


# --- WhatsApp's ack


async def test_an_ack_that_comes_after_the_gateways_answer_is_waited_for() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(Sent(stanzas=(STANZA,), acknowledged=False), done=True)
    async with carriage.running():
        await carriage.outbound.take(said())
        await anyio.sleep(20)
        assert not carriage.all_told(ReplySent)
        assert carriage.acks.take(STANZA, 0)
        await anyio.sleep(5)
        assert carriage.acks.take(STANZA, 1)
        (told,) = await carriage.until_told(ReplySent)
        assert told.latency == pytest.approx(25)
        assert carriage.proofs == 2


async def test_an_ack_that_came_before_the_gateways_answer_counts() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(Sent(stanzas=(STANZA,), acknowledged=False), done=True)
    carriage.acks.take(STANZA, 2)
    async with carriage.running():
        await carriage.outbound.take(said())
        (told,) = await carriage.until_told(ReplySent)
        assert told.latency == pytest.approx(0)


async def test_an_error_that_whatsapp_reports_is_a_dead_letter_of_unknown_fate() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(Sent(stanzas=(STANZA,), acknowledged=False), done=False)
    async with carriage.running():
        await carriage.outbound.take(said())
        await anyio.sleep(1)
        carriage.acks.take(STANZA, 0)
        carriage.acks.take(STANZA, -1)
        await until_dead(carriage)
        assert carriage.gateway.calls["send_text"] == 1
    assert [(letter.reason, letter.is_unknown) for letter in carriage.letters.letters] == [("AckError", True)]


async def test_a_message_that_is_not_acknowledged_in_time_is_settled_and_the_session_suspected() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(ack_timeout=30.0)))
    carriage.gateway.session("a-number").has_socket = False
    async with carriage.running():
        began = anyio.current_time()
        await carriage.outbound.take(said())
        await carriage.until(lambda: carriage.silences == 1)
        assert anyio.current_time() - began == pytest.approx(30)
        await anyio.sleep(100)
        assert carriage.gateway.calls["send_text"] == 1  # it is in the page, and may still go out
        session = carriage.gateway.session("a-number")
        session.end()
        session.connect()  # the page began anew, and what never left it is gone
        await carriage.until_told(ReplySent)
    assert texts(carriage) == ["hello back"]
    assert carriage.gateway.calls["send_text"] == 2


async def test_an_answer_that_names_no_message_and_no_ack_is_looked_for_by_its_text() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(Sent(stanzas=(), acknowledged=False), done=True)
    async with carriage.running():
        await carriage.outbound.take(said())
        await carriage.until_told(ReplySent)
    assert texts(carriage) == ["hello back"]
    assert carriage.gateway.calls["send_text"] == 1


# --- Redis away


async def test_a_stream_reply_that_cannot_be_begun_waits_for_redis_and_that_is_told_once() -> None:
    carriage = Carriage()
    carriage.outbox.fail_next("begin", times=20)
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.until_told(ReplySent)
    assert texts(carriage) == ["hello back"]
    (trouble,) = carriage.all_told(Trouble)
    assert (trouble.where, trouble.message.partition(",")[0]) == ("send", "a reply waits")


async def test_a_mark_that_cannot_be_taken_back_is_no_obstacle_to_the_next_try() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(BUSY, done=False)
    carriage.outbox.fail_next("undo")
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.until_told(ReplySent)
        await carriage.outbox.until(lambda: not carriage.outbox.unsettled)
    assert texts(carriage) == ["hello back"]


async def test_a_mark_that_could_not_be_taken_back_is_taken_back_when_the_session_stops() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(BUSY, done=False)
    carriage.outbox.fail_next("undo")
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.outbox.until(lambda: carriage.outbox.calls["undo"] == 1)
        carriage.disconnect()
        await anyio.sleep(100)
    assert [given.begun is not None for given in redelivered(carriage.outbox)] == [False]


async def test_a_reply_that_was_sent_is_settled_however_long_redis_is_away() -> None:
    carriage = Carriage()
    carriage.outbox.fail_next("settle", times=200)
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.outbox.until(lambda: not carriage.outbox.unsettled)
        await carriage.outbound.wait_empty()
    assert texts(carriage) == ["hello back"]
    assert not carriage.letters.letters
    assert len(carriage.all_told(Trouble)) == 1


async def test_a_reply_that_was_sent_and_cannot_be_settled_before_the_stop_is_given_back_as_begun_and_told() -> None:
    carriage = Carriage()
    carriage.outbox.fail_next("settle", times=10**6)
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.until_told(ReplySent)
        await anyio.sleep(50)
        began = anyio.current_time()
    assert anyio.current_time() - began <= RECORD_TIMEOUT
    assert [given.begun is not None for given in redelivered(carriage.outbox)] == [True]
    assert "its stream does not know" in carriage.all_told(Trouble)[-1].message


async def test_a_mark_that_cannot_be_taken_back_before_the_stop_is_told() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(BUSY, done=False)
    carriage.outbox.fail_next("undo", times=10**6)
    async with carriage.running():
        await say(carriage, on_stream=True)
        await carriage.outbox.until(lambda: carriage.outbox.calls["undo"] == 1)
        carriage.disconnect()
        await anyio.sleep(100)
        began = anyio.current_time()
    assert anyio.current_time() - began <= RECORD_TIMEOUT
    assert [given.begun is not None for given in redelivered(carriage.outbox)] == [True]
    assert "its stream says that it was begun" in carriage.all_told(Trouble)[-1].message


async def test_a_stop_while_redis_is_away_ends_in_time_and_tells_of_every_lost_channel_reply() -> None:
    carriage = Carriage()
    carriage.disconnect()
    carriage.letters.fail_next("bury", times=10**6)
    async with carriage.running():
        for number in range(30):
            await carriage.outbound.take(said(f"{number}", chat=f"55119{number % 5:08}@c.us"))
        await carriage.outbox.say(agent("a"), reply(), on="stream")
        await anyio.sleep(10)
        began = anyio.current_time()
    assert anyio.current_time() - began <= RECORD_TIMEOUT
    lost = [trouble for trouble in carriage.all_told(Trouble) if "is lost" in trouble.message]
    assert len(lost) == 30
    assert len(redelivered(carriage.outbox)) == 1


# --- the end of the session


def redelivered(outbox: FakeAgentOutbox) -> list[IncomingReply]:
    """Give what the next daemon is given."""
    outbox.forget_in_flight()
    return [entry.as_reply() for entry in outbox._entries.values()]


@pytest.mark.parametrize("on_stream", [True, False])
async def test_what_waits_when_the_session_ends_stays_in_its_stream_or_is_a_dead_letter(on_stream: bool) -> None:
    carriage = Carriage()
    carriage.disconnect()
    async with carriage.running():
        for number in range(3):
            await say(carriage, f"{number}", on_stream=on_stream)
            await say(carriage, f"{number}", chat=BRUNO, on_stream=on_stream)
        await anyio.sleep(10)
    if on_stream:
        assert [given.begun is not None for given in redelivered(carriage.outbox)] == [False] * 6
        assert not carriage.letters.letters
    else:
        assert reasons(carriage) == ["Stopped"] * 6
        assert not any(letter.is_unknown for letter in carriage.letters.letters)


@pytest.mark.parametrize("on_stream", [True, False])
async def test_what_is_in_the_air_when_the_session_ends_is_of_unknown_fate(on_stream: bool) -> None:
    carriage = Carriage()
    carriage.gateway.hold("send_text")
    async with carriage.running():
        await say(carriage, on_stream=on_stream)
        await carriage.gateway.until(lambda: carriage.gateway.calls["send_text"] == 1)
    if on_stream:
        assert [given.begun is not None for given in redelivered(carriage.outbox)] == [True]
        assert not carriage.letters.letters
    else:
        assert [(letter.reason, letter.is_unknown) for letter in carriage.letters.letters] == [("Interrupted", True)]


@pytest.mark.parametrize("on_stream", [True, False])
async def test_what_comes_after_the_end_is_a_dead_letter(on_stream: bool) -> None:
    carriage = Carriage()
    async with carriage.running():
        pass
    entry = await carriage.outbox.say(agent("a"), reply(), on="stream") if on_stream else None
    await carriage.outbound.take(said(entry=entry))
    assert reasons(carriage) == ["Stopped"]
    assert not carriage.outbox.unsettled


def nothing(carriage: Carriage) -> None:
    del carriage


def busy_twice(carriage: Carriage) -> None:
    carriage.gateway.answer_next(BUSY, done=False)
    carriage.gateway.answer_next(GONE, done=False)


def refused(carriage: Carriage) -> None:
    carriage.gateway.answer_next(NEVER, done=False)


def unknown(carriage: Carriage) -> None:
    carriage.gateway.answer_next(NOBODY_KNOWS, done=True)


def unacknowledged(carriage: Carriage) -> None:
    carriage.gateway.ignores_names = True
    carriage.gateway.answer_next(Sent(stanzas=(STANZA,), acknowledged=False), done=True)


def redis_is_shaky(carriage: Carriage) -> None:
    carriage.outbox.fail_next("begin")
    carriage.outbox.fail_next("settle", after_effect=True)
    carriage.letters.fail_next("bury")


def disconnected(carriage: Carriage) -> None:
    carriage.disconnect()


STORIES = [nothing, busy_twice, refused, unknown, unacknowledged, redis_is_shaky, disconnected]


async def end_and_audit(carriage: Carriage, turns: int, seconds: float, *, on_stream: bool) -> None:
    """Cut everything off at some moment; nothing may be lost, doubled or wrongly marked, then or later."""

    async def live() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carriage.run)
            await carriage.outbox.until(lambda: carriage.outbox.listening("listen") > 0)
            await say(carriage, "1", on_stream=on_stream)
            await say(carriage, "2", on_stream=on_stream)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live)
        await anyio.sleep(seconds)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    audit(carriage)
    carriage.outbox.forget_in_flight()
    heir = Carriage(gateway=carriage.gateway, outbox=carriage.outbox)
    heir.letters.letters = carriage.letters.letters
    async with heir.running():
        await heir.outbox.until(lambda: not heir.outbox.unsettled)
    audit(heir)


def audit(carriage: Carriage) -> None:
    """Every reply that was heard was sent once, is one dead letter, or is still on its stream; never two of these."""
    gateway = carriage.gateway
    assert isinstance(gateway, WatchedGateway)
    kept = {entry.payload: entry for entry in carriage.outbox._entries.values()}
    for text in ("1", "2"):
        payload, may_be_sent = reply(ANNA, text), text in gateway.may_be_sent
        sent = texts(carriage).count(text)
        letters = [letter for letter in carriage.letters.letters if letter.payload == payload.decode()]
        assert sent <= 1
        assert len(letters) <= 1
        assert not letters or letters[0].is_unknown is may_be_sent
        if payload in kept:
            assert not letters
            assert (kept[payload].begun is not None) is may_be_sent
            assert not kept[payload].is_in_flight  # whoever had it gave it back
        elif payload in [incoming.payload for incoming in carriage.heard]:
            assert sent or letters


@pytest.mark.parametrize("on_stream", [True, False], ids=["stream", "channel"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_wherever_the_end_comes_a_reply_is_sent_once_or_dead_once_or_kept(
    story: Callable[[Carriage], None], on_stream: bool
) -> None:
    moments = [(turns, 0.0) for turns in range(30)] + [(tenths % 7, tenths / 10) for tenths in range(1, 24, 2)]
    for turns, seconds in moments:
        carriage = Carriage(gateway=WatchedGateway())
        story(carriage)
        await end_and_audit(carriage, turns, seconds, on_stream=on_stream)


# --- draining


async def test_draining_waits_for_all_that_can_be_sent() -> None:
    carriage = Carriage()
    carriage.gateway.hold("send_text")
    async with carriage.running():
        for number in range(10):
            await carriage.outbound.take(said(f"{number}", chat=f"55119{number:08}@c.us"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carriage.outbound.wait_empty)
            await anyio.sleep(5)
            carriage.gateway.release("send_text")
        assert len(carriage.all_told(ReplySent)) == 10


async def test_draining_a_session_that_is_not_connected_waits_only_for_what_is_in_the_air() -> None:
    carriage = Carriage()
    carriage.gateway.answer_next(Sent(stanzas=(STANZA,), acknowledged=False), done=True)
    async with carriage.running():
        await carriage.outbound.take(said("in the air", chat=ANNA))
        await carriage.gateway.until(lambda: texts(carriage) == ["in the air"])
        carriage.disconnect()
        await carriage.outbound.take(said("waits", chat=BRUNO))
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carriage.outbound.wait_empty)
            await anyio.sleep(10)
            carriage.acks.take(STANZA, 1)
        assert anyio.current_time() - began == pytest.approx(10)
        assert len(carriage.all_told(ReplySent)) == 1
    assert reasons(carriage) == ["Stopped"]


async def test_a_stop_finishes_what_is_in_flight_and_does_not_wait_for_what_cannot_be_sent() -> None:
    policies = Policies(supervisor=SupervisorPolicy(drain_timeout=20.0))
    async with running(records("a", "b"), policies=policies) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.gateway.session("b-number").has_page = False
        await house.until_state("b", State.DEGRADED, State.BACKOFF)
        await house.outbox.say(agent("b"), reply(text="waits"), on="stream")
        house.gateway.hold("send_text")
        await house.outbox.say(agent("a"), reply(text="in flight"))
        await house.gateway.until(lambda: house.gateway.calls["send_text"] == 1)
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(house.supervisor.drain, 30.0)
            await house.until(lambda: "b" not in house.supervisor._keepers)
            assert anyio.current_time() - began < 1
            house.gateway.release("send_text")
        assert anyio.current_time() - began < 10
        assert [got.text for got in house.gateway.received] == ["in flight"]
        assert len(house.outbox.unsettled) == 1
        assert not house.all_told(ReplyDead)
