"""Out: an agent's replies to the people of one session.

A reply goes into its chat's lane: in order within the chat, side by side across chats. It waits until the session is
connected, is sent, and its fate is recorded: sent, or a dead letter with its reason. What certainly was not sent is
tried again; what may have been sent never is.

When the session ends, a stream reply is given back to its stream, with the mark that it was begun only if it may have
been sent; one from the channel, which nobody else keeps, becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import anyio

from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.names import ChatId
from wa_supervisor.domain.observations import Observer, ReplySent, Trouble
from wa_supervisor.domain.replies import Reply
from wa_supervisor.domain.sending import NotSent, Repeat, SendOutcome, Sent, Unknown
from wa_supervisor.engine.acks import Acks
from wa_supervisor.engine.dead_letter_office import RECORD_TIMEOUT, DeadLetterOffice, Death
from wa_supervisor.engine.lanes import Lanes, LanesFullError, LanesOverError
from wa_supervisor.engine.policies import OutboundPolicy
from wa_supervisor.engine.ports import AgentOutbox, Gateway
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.retrying import insist, patient
from wa_supervisor.engine.situation import access_of
from wa_supervisor.engine.switch import Switch
from wa_supervisor.engine.typing_indicator import TypingIndicator

NOT_CONNECTED = Death(reason="NotConnected", message="the session was not connected in time")
STOPPED = Death(reason="Stopped", message="the session stopped before it was sent")
INTERRUPTED = Death(reason="Interrupted", message="it was cut off while it was being sent", is_unknown=True)
NOT_NAMED = Death(reason="NoAck", message="the gateway's answer names no message", is_unknown=True)
REFUSED_BY_WHATSAPP = Death(reason="AckError", message="WhatsApp reported an error for the message", is_unknown=True)


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
    """It was given to the gateway, and nothing proved that it was not sent."""


class _TryAgainError(Exception):
    pass


class Outbound:
    """Carries one session's replies to the gateway."""

    def __init__(
        self,
        *,
        integration: Integration,
        record: Record,
        gateway: Gateway,
        acks: Acks,
        outbox: AgentOutbox,
        office: DeadLetterOffice,
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
        self._outbox = outbox
        self._office = office
        self._typing = typing
        self._policy = policy
        self._observe = observe
        self._is_alive = is_alive
        self._is_silent = is_silent
        self._look_again = look_again
        self._in_flight = anyio.CapacityLimiter(policy.in_flight_per_session)
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

    async def _carry(self, chat: ChatId, waiting: _Waiting) -> None:
        del chat
        policy = self._policy
        try_for_ever = patient(policy.backoff_initial, policy.backoff_max, tell=self._tell)
        death: Death | None = await try_for_ever(self._try_to_send, waiting)
        await (self._sent(waiting) if death is None else self._die(waiting, death))
        self._put_in_air(waiting, is_in_air=False)

    async def _try_to_send(self, waiting: _Waiting) -> Death | None:
        """Give why it cannot be sent, or `None` if it was. Raises what may be tried again."""
        if waiting.is_in_air:  # a cancellation that was not ours cut the last try off
            return INTERRUPTED
        if not await self._is_connected_in_time(waiting):
            return NOT_CONNECTED
        outcome = await self._send(waiting)
        if outcome is None or self._may_try_again(outcome, waiting):
            raise _TryAgainError
        return await self._death_of(outcome)

    async def _is_connected_in_time(self, waiting: _Waiting) -> bool:
        with anyio.CancelScope(deadline=waiting.since + self._policy.hold_longest):
            await self._record.serving.wait_on()
        return self._record.serving.is_on

    async def _send(self, waiting: _Waiting) -> SendOutcome | None:
        """Send in turn. `None`: the session was not connected any more when its turn came."""
        async with self._in_flight:
            outcome = await self._begin_and_send(waiting)
        if waiting.is_marked and not waiting.is_in_air:
            with suppress(StoreUnavailableError):  # the next `begin`, `undo` or `settle` stands in for it
                await self._outbox.undo(waiting.reply.source)
                waiting.is_marked = False
        return outcome

    async def _begin_and_send(self, waiting: _Waiting) -> SendOutcome | None:
        if self._record.serving.is_on:
            self._typing.stop(waiting.reply.chat)
            waiting.is_marked = True
            await self._outbox.begin(waiting.reply.source)
        if self._record.serving.is_on:
            return await self._give_to_gateway(waiting)
        return None

    async def _give_to_gateway(self, waiting: _Waiting) -> SendOutcome:
        reply, access = waiting.reply, access_of(self.integration)
        waiting.attempts += 1
        self._put_in_air(waiting, is_in_air=True)
        outcome: SendOutcome
        try:
            outcome = await self._gateway.send_text(access, reply.chat, reply.text)
        except Exception as error:  # noqa: BLE001  # supervision border: nobody knows, so it must not be tried again
            self._failed(error)
            outcome = Unknown(reason="InternalError", message=f"{type(error).__name__}: {error}")
        if isinstance(outcome, NotSent):
            self._put_in_air(waiting, is_in_air=False)
        return outcome

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

    async def _death_of(self, outcome: SendOutcome) -> Death | None:
        if isinstance(outcome, Sent):
            return await self._death_without_ack(outcome)
        return Death(reason=outcome.reason, message=outcome.message, is_unknown=isinstance(outcome, Unknown))

    async def _death_without_ack(self, sent: Sent) -> Death | None:
        for stanza in sent.stanzas:
            self._acks.sent_by(stanza, self._is_alive)
        if sent.acknowledged:
            return None
        until = anyio.current_time() + self._policy.ack_timeout
        for stanza in sent.stanzas:
            ack = await self._acks.wait(stanza, until - anyio.current_time())
            if ack is None:
                self._is_silent(until - self._policy.ack_timeout)
                message = f"the gateway took it, but WhatsApp did not confirm it in {self._policy.ack_timeout:g} s"
                return Death(reason="NoAck", message=message, is_unknown=True)
            if ack < 0:
                return REFUSED_BY_WHATSAPP
        return None if sent.stanzas else NOT_NAMED

    async def _sent(self, waiting: _Waiting) -> None:
        self._is_alive()
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
        source = waiting.reply.source
        if not await self._insist(lambda: self._outbox.settle(source)):
            self._trouble("a reply was sent, but its stream does not know: it will be told as interrupted")
            self._outbox.give_back(source)

    async def _die(self, waiting: _Waiting, death: Death) -> None:
        reply = waiting.reply
        self._record.traffic.failed_out += 1
        self._record.touched()
        self._typing.stop(reply.chat)
        death = replace(death, attempts=waiting.attempts)
        await self._office.bury(reply.source, death, self.integration, reply.chat)

    async def _leave_all(self, rest: Iterable[_Waiting]) -> None:
        async with anyio.create_task_group() as tasks:
            for waiting in rest:
                tasks.start_soon(self._leave, waiting)

    async def _leave(self, waiting: _Waiting) -> None:
        source = waiting.reply.source
        if source.entry is None:
            await self._die(waiting, INTERRUPTED if waiting.is_in_air else STOPPED)
            return
        if waiting.is_marked and not waiting.is_in_air and not await self._insist(lambda: self._outbox.undo(source)):
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
