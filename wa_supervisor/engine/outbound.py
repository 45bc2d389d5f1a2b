"""Out: an agent's replies to the people of one session.

A reply goes into its chat's lane: in order within the chat, side by side across chats. It waits until the session is
connected, is sent, and its fate is recorded: sent, or a dead letter with its reason. What certainly was not sent is
tried again; what may have been sent never is.

When the daemon stops, a stream reply that was not begun stays in its stream for the next daemon; one from the channel,
which nobody else keeps, becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
from wa_supervisor.engine.dead_letter_office import DeadLetterOffice, Death
from wa_supervisor.engine.lanes import Lanes, LanesFullError
from wa_supervisor.engine.policies import OutboundPolicy
from wa_supervisor.engine.ports import AgentOutbox, Gateway
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.situation import access_of
from wa_supervisor.engine.typing_indicator import TypingIndicator

RECORD_TIMEOUT = 10.0
"""Seconds that recording a reply's fate may take, also while everything is being cancelled."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    reply: Reply
    since: float
    attempts: int = 0
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
        self._look_again = look_again
        self._in_flight = anyio.CapacityLimiter(policy.in_flight_per_session)
        self._lanes: Lanes[ChatId, _Waiting] = Lanes(
            self._carry, bound=policy.queue_per_session, side_by_side=policy.queue_per_session, on_error=self._failed
        )

    @property
    def waiting(self) -> int:
        """Replies whose fate is not known yet."""
        return self._lanes.count

    async def run(self) -> None:
        """Carry until cancelled; then see to what still waits."""
        try:
            await self._lanes.run()
        finally:
            with anyio.move_on_after(RECORD_TIMEOUT, shield=True):
                await self._leave_rest()

    async def take(self, reply: Reply) -> None:
        """Take one reply, in order within its chat; never waits for the session."""
        try:
            self._lanes.put_nowait(reply.chat, _Waiting(reply=reply, since=anyio.current_time()))
        except LanesFullError as error:
            waiting = _Waiting(reply=reply, since=anyio.current_time())
            await self._die(waiting, Death(reason="QueueFull", message=f"{error} in this session"))

    async def wait_empty(self) -> None:
        """Wait until the fate of everything taken is known."""
        await self._lanes.wait_empty()

    async def _carry(self, chat: ChatId, waiting: _Waiting) -> None:
        del chat
        try:
            death = await self._send_patiently(waiting)
        except anyio.get_cancelled_exc_class():
            await self._shielded(self._leave, waiting)
            raise
        await self._shielded(self._sent, waiting) if death is None else await self._shielded(self._die, waiting, death)

    async def _shielded(self, record: Callable[..., Awaitable[None]], waiting: _Waiting, *rest: Death) -> None:
        """Record a fate even if everything is being cancelled: a fate that is known must not become unknown."""
        with anyio.move_on_after(RECORD_TIMEOUT, shield=True) as scope:
            await record(waiting, *rest)
        if scope.cancelled_caught:
            self._failed(TimeoutError(f"the fate of a reply could not be recorded in {RECORD_TIMEOUT:g} s"))

    async def _send_patiently(self, waiting: _Waiting) -> Death | None:
        outcome: SendOutcome | None = None
        policy = self._policy
        async for attempt in patient(policy.backoff_initial, policy.backoff_max):
            with attempt:
                if not await self._connected_in_time(waiting):
                    return Death(reason="NotConnected", message="the session was not connected in time")
                outcome = await self._send(waiting)
                if self._may_try_again(outcome, waiting):
                    raise _TryAgainError
        return await self._death_of(outcome)

    async def _connected_in_time(self, waiting: _Waiting) -> bool:
        with anyio.move_on_at(waiting.since + self._policy.hold_longest):
            await self._record.serving.wait_on()
        return self._record.serving.is_on

    async def _send(self, waiting: _Waiting) -> SendOutcome:
        reply, access = waiting.reply, access_of(self.integration)
        async with self._in_flight:
            self._typing.stop(reply.chat)
            await self._outbox.begin(reply.source)
            waiting.attempts += 1
            waiting.is_in_air = True
            outcome = await self._gateway.send_text(access, reply.chat, reply.text)
        if isinstance(outcome, NotSent):
            waiting.is_in_air = False
            with suppress(StoreUnavailableError):  # the next `begin` or `settle` stands in for it
                await self._outbox.undo(reply.source)
        return outcome

    def _may_try_again(self, outcome: SendOutcome, waiting: _Waiting) -> bool:
        if not isinstance(outcome, NotSent) or outcome.repeat is Repeat.NEVER:
            return False
        if outcome.repeat is Repeat.WHEN_CONNECTED:
            self._look_again()
            return anyio.current_time() < waiting.since + self._policy.hold_longest
        return waiting.attempts < self._policy.attempts

    async def _death_of(self, outcome: SendOutcome | None) -> Death | None:
        match outcome:
            case Sent():
                return await self._death_without_ack(outcome)
            case Unknown():
                return Death(reason=outcome.reason, message=outcome.message, is_unknown=True)
            case NotSent():
                return Death(reason=outcome.reason, message=outcome.message)
            case None:
                raise AssertionError("a patient send ends with an outcome")

    async def _death_without_ack(self, sent: Sent) -> Death | None:
        for stanza in sent.stanzas:
            self._acks.sent_by(stanza, self._is_alive)
        if sent.acknowledged:
            return None
        for stanza in sent.stanzas:
            ack = await self._acks.wait(stanza, self._policy.ack_timeout)
            if ack is None:
                message = f"the gateway took it, but WhatsApp did not confirm it in {self._policy.ack_timeout:g} s"
                return Death(reason="NoAck", message=message, is_unknown=True)
            if ack < 0:
                return Death(reason="AckError", message="WhatsApp reported an error for the message", is_unknown=True)
        if not sent.stanzas:
            return Death(reason="NoAck", message="the gateway's answer names no message", is_unknown=True)
        return None

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
        async for attempt in patient(0.2, 2.0, attempts=5):
            with attempt:
                await self._outbox.settle(waiting.reply.source)

    async def _die(self, waiting: _Waiting, death: Death) -> None:
        reply = waiting.reply
        self._record.traffic.failed_out += 1
        self._record.touched()
        self._typing.stop(reply.chat)
        death = replace(death, attempts=waiting.attempts)
        await self._office.bury(reply.source, death, self.integration, reply.chat)

    async def _leave(self, waiting: _Waiting) -> None:
        if waiting.reply.source.entry is not None:
            self._outbox.give_back(waiting.reply.source)  # a mark in its stream says whether it was begun
            return
        if waiting.is_in_air:
            death = Death(reason="Interrupted", message="the session stopped while sending it", is_unknown=True)
        else:
            death = Death(reason="Stopped", message="the session stopped before it was sent")
        await self._die(waiting, death)

    async def _leave_rest(self) -> None:
        for _, waiting in self._lanes.take_rest():
            await self._leave(waiting)

    def _failed(self, error: Exception) -> None:
        self._observe(
            Trouble(
                where="send",
                message="a reply's fate could not be recorded",
                error=error,
                integration=self.integration.id,
            )
        )
