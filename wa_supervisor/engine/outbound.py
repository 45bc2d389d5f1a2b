"""Out: an agent's replies to the people of one session.

A reply goes into its chat's lane: in order within the chat, side by side across chats. It waits until the session is
connected and for its turn in the session's pace, is sent, and its fate is recorded: sent, or a dead letter with its
reason. What certainly was not sent is tried again. What may have been sent is looked for first
(`wa_supervisor.engine.settling`), also when an earlier daemon began it; only what cannot be settled becomes a dead
letter that is marked so.

When the session ends, a stream reply is given back to its stream, with the mark that it was begun only if it may have
been sent; one from the channel, which nobody else keeps, becomes a dead letter. A stream reply that another daemon took
over meanwhile is not sent here: that is asked before it is begun, and again at the last instant before it leaves.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import anyio

from wa_supervisor.domain.chats import ChatKind, chat_kind
from wa_supervisor.domain.errors import StoreUnavailableError, WaSupervisorError
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.message_ids import MessageId
from wa_supervisor.domain.messages import OwnMessage
from wa_supervisor.domain.names import ChatId, StanzaId
from wa_supervisor.domain.observations import Observer, ReplySent, Trouble
from wa_supervisor.domain.receipts import Receipt, SentMessage, fate_of_ack
from wa_supervisor.domain.replies import Reply
from wa_supervisor.domain.sending import NotSent, Repeat, SendOutcome, Sent, Unknown, stanza_for
from wa_supervisor.engine.acks import Acks
from wa_supervisor.engine.dead_letter_office import RECORD_TIMEOUT, DeadLetterOffice, Death
from wa_supervisor.engine.lanes import Lanes, LanesFullError, LanesOverError
from wa_supervisor.engine.pace import Pace
from wa_supervisor.engine.policies import OutboundPolicy
from wa_supervisor.engine.ports import AgentInbox, AgentOutbox, Gateway, MayLeave, Receipts, always
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.retrying import insist, patient
from wa_supervisor.engine.settling import Doubt, Settling, Verdict
from wa_supervisor.engine.situation import access_of
from wa_supervisor.engine.switch import Switch
from wa_supervisor.engine.typing_indicator import TypingIndicator

NOT_CONNECTED = Death(reason="NotConnected", message="the session was not connected in time")
STOPPED = Death(reason="Stopped", message="the session stopped before it was sent")
MOVED = Death(
    reason="Moved",
    message="another daemon took the session over while it waited, and may have heard it on the channel too",
    is_unknown=True,
)
INTERRUPTED = Death(reason="Interrupted", message="it was cut off while it was being sent", is_unknown=True)
UNSETTLED = Death(reason="Unsettled", message="it could not be found out in time whether it was sent", is_unknown=True)
REFUSED_BY_WHATSAPP = Death(reason="AckError", message="WhatsApp reported an error for the message", is_unknown=True)
NO_SUCH_NUMBER = Death(reason="NoSuchNumber", message="nobody has this number on WhatsApp, as far as its look-up goes")

CACHED_LOOK_UP = 16.0
"""Seconds after which a number is looked up again: the gateway keeps an answer for 15, a wrong one too."""

KNOWN_CHATS = 4096
"""Chats of one session that are remembered as ones that can be written to."""

SUPERSEDED = "Superseded"
"""Reason of an outcome: at the last instant it was not certain that the reply still was ours."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    reply: Reply
    since: float
    attempts: int = 0
    """How often it was given to the gateway."""
    refusals: int = 0
    """How often the gateway could not take it, while the session was connected."""
    is_marked: bool = False
    """Its stream may say that it was begun."""
    is_in_air: bool = False
    """It is with the gateway now, or its fate is being recorded."""
    doubt: Doubt | None = None
    """It was given to the gateway, and nobody knows yet whether that had its effect."""
    said: str = ""
    """What the gateway said last when it did not send it."""
    is_asked_about: int = 0
    """How often its number was looked up in vain."""

    @property
    def may_be_sent(self) -> bool:
        """Whether the person may have got it."""
        return self.is_in_air or self.doubt is not None


class _TryAgainError(Exception):
    pass


class _NotOursError(Exception):
    """Another daemon took the reply over."""


class Outbound:
    """Carries one session's replies to the gateway."""

    def __init__(
        self,
        *,
        integration: Integration,
        record: Record,
        gateway: Gateway,
        acks: Acks,
        inbox: AgentInbox,
        outbox: AgentOutbox,
        receipts: Receipts,
        office: DeadLetterOffice,
        settling: Settling,
        may_send: MayLeave = always,
        typing: TypingIndicator,
        policy: OutboundPolicy,
        observe: Observer,
        is_alive: Callable[[], None],
        is_silent: Callable[[float], None],
        look_again: Callable[[], None],
    ) -> None:
        self.integration = integration
        self._record = record
        self._gateway = gateway
        self._acks = acks
        self._inbox = inbox
        self._outbox = outbox
        self._receipts = receipts
        self._office = office
        self._settling = settling
        self._may_send = may_send
        self._typing = typing
        self._policy = policy
        self._observe = observe
        self._is_alive = is_alive
        self._is_silent = is_silent
        self._look_again = look_again
        self._pace = Pace(policy)
        self._in_flight = anyio.CapacityLimiter(policy.in_flight_per_session)
        self._known: OrderedDict[ChatId, None] = OrderedDict()
        self._nameless: OrderedDict[ChatId, None] = OrderedDict()
        self._lanes: Lanes[ChatId, _Waiting] = Lanes(
            self._carry, bound=policy.queue_per_session, side_by_side=policy.queue_per_session, on_error=self._failed
        )
        self._in_air = 0
        self._has_landed = Switch(on=True)

    def __repr__(self) -> str:
        return f"<Outbound {self.integration.id} {self._lanes.count} replies, {self._in_air} in the air>"

    async def run(self) -> None:
        """Carry until cancelled; then see to what still waits or was cut off."""
        try:
            await self._lanes.run()
        finally:
            with anyio.move_on_after(RECORD_TIMEOUT, shield=True):
                await self._leave_all(waiting for _, waiting in self._lanes.take_rest())

    async def take(self, reply: Reply) -> None:
        """Take one reply, in order within its chat; never waits for the session."""
        waiting = _Waiting(reply=reply, since=anyio.current_time())
        waiting.doubt = self._doubt_of_earlier_life(reply)
        try:
            self._lanes.put_nowait(reply.chat, waiting)
        except LanesFullError as error:
            await self._die(waiting, Death(reason="QueueFull", message=f"{error} in this session"))
        except LanesOverError:  # not given back: it would come again at once, and again
            await self._die(waiting, STOPPED)

    async def wait_empty(self) -> None:
        """Wait until nothing is left that can be sent.

        That is everything while the session is connected, and otherwise what the gateway was given already.
        """
        if self._record.serving.is_on:
            await self._lanes.wait_empty()
        await self._has_landed.wait_on()

    def own_seen(self, message: OwnMessage) -> None:
        """Take an own message that the gateway showed."""
        self._settling.own_seen(message)

    async def _carry(self, chat: ChatId, waiting: _Waiting) -> None:
        del chat
        policy = self._policy
        try_for_ever = patient(policy.backoff_initial, policy.backoff_max, tell=self._tell, unless=(_NotOursError,))
        try:
            fate: Death | Sent = await try_for_ever(self._try_to_send, waiting)
        except _NotOursError:
            self._outbox.give_back(waiting.reply.source)
            return
        await (self._sent(waiting, fate) if isinstance(fate, Sent) else self._die(waiting, fate))
        waiting.doubt = None
        self._put_in_air(waiting, is_in_air=False)

    async def _try_to_send(self, waiting: _Waiting) -> Death | Sent:
        """Give what became of it. Raises what may be tried again."""
        if waiting.is_in_air:  # a cancellation that was not ours cut the last try off
            self._put_in_air(waiting, is_in_air=False)
        if not await self._is_connected_in_time(waiting):
            return UNSETTLED if waiting.doubt else NOT_CONNECTED
        if waiting.doubt is not None:
            settled = await self._settle(waiting, waiting.doubt)
            if settled is not None:
                return settled
        unreachable = await self._unreachable(waiting)
        if unreachable is not None:
            return unreachable
        await self._type(waiting.reply)
        outcome = await self._send(waiting)
        if outcome is None or self._may_try_again(outcome, waiting):
            raise _TryAgainError
        return await self._fate_of(outcome, waiting)

    async def _is_connected_in_time(self, waiting: _Waiting) -> bool:
        if not self._record.serving.is_on and waiting.doubt is not None:
            waiting.doubt.absent_since = None
        with anyio.CancelScope(deadline=waiting.since + self._policy.hold_longest):
            await self._record.serving.wait_on()
        return self._record.serving.is_on

    async def _settle(self, waiting: _Waiting, doubt: Doubt) -> Death | Sent | None:
        """Find out whether it was sent. `None`: it was not, so it may be. Raises while that is not known."""
        verdict = await self._settling.look(doubt)
        match verdict:
            case Verdict.SENT:
                return Sent(stanzas=(doubt.found,) if doubt.found else (), acknowledged=True)
            case Verdict.REFUSED:
                return REFUSED_BY_WHATSAPP
            case Verdict.ABSENT:
                return self._not_sent_after_all(waiting, doubt)
        if anyio.current_time() - doubt.since < self._policy.settle_longest:
            raise _TryAgainError
        self._settling.give_up(doubt)
        return UNSETTLED

    def _not_sent_after_all(self, waiting: _Waiting, doubt: Doubt) -> Death | None:
        """Have it sent again, unless that failed too often."""
        waiting.doubt = None
        waiting.refusals += 1
        if waiting.refusals >= self._policy.attempts:
            return Death(reason="NotSent", message=f"it was not sent, {waiting.attempts} times: {waiting.said}")
        if doubt.stanza is not None:  # perhaps the gateway takes no name for this chat
            _remember(self._nameless, doubt.chat)
        return None

    async def _unreachable(self, waiting: _Waiting) -> Death | None:
        """Look a number up before the first message to somebody who never wrote."""
        chat = waiting.reply.chat
        if not self._policy.checks_numbers or chat in self._known or chat_kind(chat) is not ChatKind.PERSON:
            return None
        wrote = await self._inbox.owner_of(waiting.reply.agent_id, chat) is not None
        if not wrote and not await self._number_exists(waiting):
            waiting.is_asked_about += 1
            if waiting.is_asked_about > 1:
                return NO_SUCH_NUMBER
            await anyio.sleep(CACHED_LOOK_UP)
            raise _TryAgainError
        _remember(self._known, chat)
        return None

    async def _number_exists(self, waiting: _Waiting) -> bool:
        """Ask; a gateway that cannot say, again and again, is not let keep the reply back."""
        try:
            return await self._gateway.number_exists(access_of(self.integration), waiting.reply.chat)
        except WaSupervisorError as error:
            waiting.refusals += 1
            if waiting.refusals < self._policy.attempts:
                raise _TryAgainError from error
            waiting.refusals = 0
            return True

    async def _type(self, reply: Reply) -> None:
        """Show "typing" for as long as a person would type the text, where that is wanted."""
        if self._policy.typing_speed > 0:
            self._typing.start(reply.chat)
            await anyio.sleep(min(len(reply.text) / self._policy.typing_speed, self._policy.typing_longest))

    async def _send(self, waiting: _Waiting) -> SendOutcome | None:
        """Send in turn. `None`: the session was not connected any more, or it was not certain whose it is."""
        async with self._in_flight:
            await self._pace.turn()
            outcome = await self._begin_and_send(waiting)
        if waiting.is_marked and not waiting.may_be_sent:
            with suppress(StoreUnavailableError):  # the next `begin`, `undo` or `settle` stands in for it
                await self._outbox.undo(waiting.reply.source)
                waiting.is_marked = False
        return outcome

    async def _begin_and_send(self, waiting: _Waiting) -> SendOutcome | None:
        reply, stanza = waiting.reply, self._name_for(waiting.reply)
        may_leave = always
        if self._record.serving.is_on:
            self._typing.stop(reply.chat)
            waiting.is_marked = True
            begun = await self._outbox.begin(reply.source, is_named=stanza is not None)
            if begun is None:
                waiting.is_marked = False
                raise _NotOursError
            may_leave = begun
        if not self._record.serving.is_on:
            return None
        waiting.attempts += 1
        waiting.doubt = self._doubt_from_now(reply, stanza)
        self._put_in_air(waiting, is_in_air=True)
        outcome = await self._give_to_gateway(reply, stanza, may_leave)
        if isinstance(outcome, NotSent):
            waiting.doubt = None
            self._put_in_air(waiting, is_in_air=False)
            return None if outcome.reason == SUPERSEDED else outcome
        if isinstance(outcome, Sent) and stanza in outcome.stanzas:
            self._settling.honours_names = True
        return outcome

    async def _give_to_gateway(self, reply: Reply, stanza: StanzaId | None, is_ours: MayLeave) -> SendOutcome:
        def may_leave() -> bool:
            return is_ours() and self._may_send()

        try:
            return await self._gateway.send_text(
                access_of(self.integration), reply.chat, reply.text, stanza=stanza, may_leave=may_leave
            )
        except Exception as error:  # noqa: BLE001  # supervision border: nobody knows, so it must not be tried again
            self._failed(error)
            return Unknown(reason="InternalError", message=f"{type(error).__name__}: {error}")

    def _name_for(self, reply: Reply) -> StanzaId | None:
        """Give the name of the message; groups have longer ids, which only the gateway can make."""
        is_possible = chat_kind(reply.chat) in {ChatKind.PERSON, ChatKind.LID} and reply.chat not in self._nameless
        if not self._policy.names_messages or not is_possible:
            return None
        return _stanza_of(reply)

    def _doubt_of_earlier_life(self, reply: Reply) -> Doubt | None:
        begun = reply.source.begun
        if begun is None:
            return None
        now, wall, policy = anyio.current_time(), self._record.now, self._policy
        is_known = begun.at > 0
        age = max(0.0, wall - begun.at) if is_known else policy.settle_longest
        return Doubt(
            chat=reply.chat,
            text=reply.text,
            stanza=_stanza_of(reply) if begun.is_named else None,
            began=now - age,
            began_at=wall - age,
            ended_by=(now - age if is_known else now) + policy.settle_quiet,
            since=now,
            agent_id=reply.agent_id,
            entry=reply.source.entry,
        )

    def _doubt_from_now(self, reply: Reply, stanza: StanzaId | None) -> Doubt:
        now = anyio.current_time()
        return Doubt(
            chat=reply.chat,
            text=reply.text,
            stanza=stanza,
            began=now,
            began_at=self._record.now,
            ended_by=now + self._policy.settle_quiet,
            since=now,
            agent_id=reply.agent_id,
            entry=reply.source.entry,
        )

    def _put_in_air(self, waiting: _Waiting, *, is_in_air: bool) -> None:
        self._in_air += is_in_air - waiting.is_in_air
        waiting.is_in_air = is_in_air
        self._has_landed.turn(on=not self._in_air)

    def _may_try_again(self, outcome: SendOutcome, waiting: _Waiting) -> bool:
        if not isinstance(outcome, NotSent) or outcome.repeat is Repeat.NEVER:
            return False
        if outcome.repeat is Repeat.WHEN_CONNECTED:
            self._look_again()
            return anyio.current_time() < waiting.since + self._policy.hold_longest
        waiting.refusals += 1
        return waiting.refusals < self._policy.attempts

    async def _fate_of(self, outcome: SendOutcome, waiting: _Waiting) -> Death | Sent:
        if isinstance(outcome, NotSent):
            return Death(reason=outcome.reason, message=outcome.message)
        if isinstance(outcome, Unknown):
            waiting.said = outcome.message
            self._find_out(waiting, has_ended=outcome.has_ended)
            raise _TryAgainError
        return await self._confirmed(outcome, waiting)

    def _find_out(self, waiting: _Waiting, *, has_ended: bool, stanza: StanzaId | None = None) -> None:
        """Let it be settled before anything else is done about it."""
        self._put_in_air(waiting, is_in_air=False)
        if waiting.doubt is not None and has_ended:
            waiting.doubt.ended_by = anyio.current_time() + self._policy.settle_failed
        if waiting.doubt is not None and stanza is not None:
            waiting.doubt.stanza = stanza

    async def _confirmed(self, sent: Sent, waiting: _Waiting) -> Death | Sent:
        """Wait for WhatsApp's ack where the gateway's answer has none."""
        for stanza in sent.stanzas:
            self._acks.sent_by(stanza, self._is_alive)
        if sent.acknowledged:
            return sent
        asked = anyio.current_time()
        until = asked + self._policy.ack_timeout
        acks = [await self._acks.wait(stanza, until - anyio.current_time()) or 0 for stanza in sent.stanzas]
        if any(ack > 0 for ack in acks):
            return sent
        if any(ack < 0 for ack in acks):
            return REFUSED_BY_WHATSAPP
        self._is_silent(asked)
        self._find_out(waiting, has_ended=True, stanza=sent.stanzas[0] if sent.stanzas else None)
        raise _TryAgainError

    async def _sent(self, waiting: _Waiting, sent: Sent) -> None:
        self._is_alive()
        _remember(self._known, waiting.reply.chat)
        traffic = self._record.traffic
        traffic.messages_out += 1
        traffic.last_out_at = self._record.now
        self._record.touched()
        self._observe(
            ReplySent(
                integration=self.integration.id,
                gateway=self.integration.gateway,
                latency=anyio.current_time() - waiting.since,
                attempts=waiting.attempts,
            )
        )
        if not await self._insist(lambda: self._write_down(waiting, sent)):
            self._trouble("a reply was sent, but its stream does not know: the chat is looked at when it comes again")
            self._outbox.give_back(waiting.reply.source)

    async def _write_down(self, waiting: _Waiting, sent: Sent) -> None:
        """Remember the message, so that its acks find the agent, and only then that the reply is settled."""
        for stanza in sent.stanzas:
            self._acks.sent_by(stanza, self._is_alive)
            ack = max(self._acks.of(stanza), 1)  # looked up anew each time: an ack that came before it was written
            message = SentMessage(gateway=self.integration.gateway, stanza=stanza)
            await self._receipts.sent(message, self._receipt(waiting, stanza, ack), ack)
        await self._outbox.settle(waiting.reply.source)

    def _receipt(self, waiting: _Waiting, stanza: StanzaId, ack: int) -> Receipt:
        reply = waiting.reply
        return Receipt(
            agent_id=reply.agent_id,
            status=fate_of_ack(ack),
            at=self._record.now,
            chat_id=reply.chat,
            reply_id=reply.reply_id,
            entry=reply.source.entry,
            message_id=MessageId(from_me=True, chat=reply.chat, stanza=stanza, participant=None).serialized,
            session=self.integration.session,
            integration_id=self.integration.id,
        )

    async def _die(self, waiting: _Waiting, death: Death) -> None:
        reply = waiting.reply
        self._record.traffic.failed_out += 1
        self._record.touched()
        self._typing.stop(reply.chat)
        death = replace(death, attempts=waiting.attempts)
        await self._office.bury(reply.source, death, self.integration, reply)

    async def _leave_all(self, rest: Iterable[_Waiting]) -> None:
        async with anyio.create_task_group() as tasks:
            for waiting in rest:
                tasks.start_soon(self._leave, waiting)

    async def _leave(self, waiting: _Waiting) -> None:
        source = waiting.reply.source
        if source.entry is None:
            await self._die(waiting, INTERRUPTED if waiting.may_be_sent else STOPPED if self._may_send() else MOVED)
            return
        if waiting.is_marked and not waiting.may_be_sent and not await self._insist(lambda: self._outbox.undo(source)):
            self._trouble("a reply was not sent, but its stream says that it was begun: it will be told as interrupted")
        self._outbox.give_back(source)

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> bool:
        return await insist(work, limit=RECORD_TIMEOUT, tell=self._tell)

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        if attempt == 1 and not isinstance(error, _TryAgainError):
            self._trouble(f"a reply waits, next try in {delay:.1f} s: {error}", error)

    def _failed(self, error: BaseException) -> None:
        self._trouble("a reply failed in a way that nobody foresaw", error)

    def _trouble(self, message: str, error: BaseException | None = None) -> None:
        self._observe(Trouble(where="send", message=message, error=error, integration=self.integration.id))


def _stanza_of(reply: Reply) -> StanzaId:
    """Name the message of a reply: for a stream entry always the same, in whatever process."""
    return stanza_for(reply.agent_id, reply.source.entry or f"channel {secrets.token_hex(16)}")


def _remember(chats: OrderedDict[ChatId, None], chat: ChatId) -> None:
    chats[chat] = None
    chats.move_to_end(chat)
    if len(chats) > KNOWN_CHATS:
        chats.popitem(last=False)
