"""The feed: everything that one gateway reports, shared out to its sessions.

One connection per gateway, whatever the number of sessions: the gateway sends every event to every client, so a second
connection would only double the work. The feed keeps the connection up with one backoff, reads each event, and gives it
to the session that it names. An event that names none is matched to a message that we sent, or counted and dropped.
"""

from __future__ import annotations

from typing import NoReturn, Protocol

import anyio

from wa_supervisor.domain.errors import GatewayUnreachableError, WaSupervisorError
from wa_supervisor.domain.gateway_events import (
    EVENT_NAMES,
    AckSeen,
    LoginOffered,
    SessionNudged,
    read_event,
)
from wa_supervisor.domain.messages import InboundMessage, LeftOut, LeftOutReason
from wa_supervisor.domain.names import GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.observations import (
    EventUnattributed,
    GatewayChanged,
    MessageLeftOut,
    Observer,
    Trouble,
)
from wa_supervisor.engine.acks import Acks
from wa_supervisor.engine.gate import Gate
from wa_supervisor.engine.policies import GatePolicy
from wa_supervisor.engine.ports import Gateway, GatewayEvents
from wa_supervisor.engine.retrying import keep_doing

CLOCKS_DISAGREE = 5.0
"""Seconds by which the gateway's uptime may seem to fall although it did not restart: a slow answer, two clocks."""


class Listener(Protocol):
    """A session, as its gateway's feed sees it."""

    @property
    def id(self) -> IntegrationId:
        """Its integration."""

    @property
    def phone(self) -> str | None:
        """Digits that its pairing code is for, if it logs in by one."""

    async def take_message(self, message: InboundMessage) -> None:
        """Take a message; waits while too many wait already."""

    def take_login(self, offer: LoginOffered) -> None:
        """Take a QR or pairing code."""

    def count_left_out(self) -> None:
        """Count a payload that was not for the agent; it proves the session alive all the same."""

    def look_again(self) -> None:
        """Look at the gateway's status now."""


class Feed:
    """The event connection of one gateway."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        events: GatewayEvents,
        gate: Gate,
        policy: GatePolicy,
        observe: Observer,
    ) -> None:
        self.acks = Acks()
        self._gateway = gateway
        self._events = events
        self._gate = gate
        self._policy = policy
        self._observe = observe
        self._listeners: dict[SessionName, Listener] = {}
        self._booted_at: float | None = None
        self._connected_now = anyio.Event()
        self._left = anyio.Event()
        gate.on_close = self.look_at_all

    def __repr__(self) -> str:
        return f"<Feed {self.name} for {len(self._listeners)} sessions>"

    @property
    def name(self) -> GatewayName:
        """The gateway's name."""
        return self._gateway.name

    def join(self, session: SessionName, listener: Listener) -> None:
        """Give what the gateway reports about `session` to `listener` from now on."""
        self._listeners[session] = listener

    def leave(self, session: SessionName, listener: Listener) -> None:
        """Stop giving it to `listener`."""
        if self._listeners.get(session) is listener:
            del self._listeners[session]
            self._left.set()
            self._left = anyio.Event()

    async def wait_left(self) -> None:
        """Wait until nobody listens any more."""
        while self._listeners:
            await self._left.wait()

    async def run(self) -> NoReturn:
        """Stay connected until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_restarts)
            await keep_doing(
                self._listen_once,
                initial=self._policy.reconnect_initial,
                longest=self._policy.reconnect_max,
                tell=self._tell,
            )
        raise AssertionError("keep_doing ends by cancellation only")

    def connected(self) -> None:
        """Take the word of the adapter that the connection stands."""
        self._observe(GatewayChanged(gateway=self.name, what="feed_connected", message=""))
        self._gate.report_feed(stands=True)
        self._connected_now.set()

    async def deliver(self, name: str, payload: object) -> None:
        """Share out one event."""
        event = read_event(name, payload, self.name)
        match event:
            case InboundMessage():
                await self._deliver_message(event)
            case LeftOut():
                self._leave_out(event)
            case AckSeen():
                if not self.acks.take(event.stanza, event.ack):
                    self._observe(EventUnattributed(gateway=self.name, event=name))
            case LoginOffered():
                self._deliver_login(event)
            case SessionNudged():
                self._nudge(event.session)
            case _:
                self._observe(EventUnattributed(gateway=self.name, event=name))

    async def _listen_once(self) -> None:
        try:
            await self._events.listen(self, EVENT_NAMES)
        finally:
            self._observe(GatewayChanged(gateway=self.name, what="feed_lost", message="the event connection ended"))

    async def _deliver_message(self, message: InboundMessage) -> None:
        listener = self._listeners.get(message.session)
        if listener is None:
            reason = LeftOutReason.UNKNOWN_SESSION.value
            self._observe(MessageLeftOut(gateway=self.name, reason=reason, detail=message.type))
            return
        await listener.take_message(message)

    def _leave_out(self, left_out: LeftOut) -> None:
        listener = self._listeners.get(left_out.session) if left_out.session else None
        if listener is not None:
            listener.count_left_out()
        self._observe(
            MessageLeftOut(
                gateway=self.name,
                reason=left_out.reason.value,
                detail=left_out.detail,
                integration=listener.id if listener else None,
            )
        )

    def _deliver_login(self, offer: LoginOffered) -> None:
        if offer.session is not None:
            listener = self._listeners.get(offer.session)
            if listener is not None:
                listener.take_login(offer)
            return
        # After a close and start the gateway forgets whose code it is. A pairing code names its number; a QR code
        # names nothing, and those who start must look for themselves.
        for candidate in list(self._listeners.values()):
            if offer.phone is not None and candidate.phone == offer.phone:
                candidate.take_login(offer)
            elif offer.phone is None:
                candidate.look_again()

    def look_at_all(self) -> None:
        """Let every session look at its gateway now."""
        for listener in list(self._listeners.values()):
            listener.look_again()

    def _nudge(self, session: SessionName | None) -> None:
        if session is None:
            self.look_at_all()
        elif session in self._listeners:
            self._listeners[session].look_again()

    async def _watch_restarts(self) -> None:
        while True:
            await self._connected_now.wait()
            self._connected_now = anyio.Event()
            if await self._was_restarted():
                self.look_at_all()

    async def _was_restarted(self) -> bool:
        """Whether the gateway's uptime is less than it would be had it stayed up; unknown counts as yes."""
        try:
            uptime = (await self._gateway.health()).uptime
        except GatewayUnreachableError as error:
            self._gate.report_unreachable(error)
            return True
        except WaSupervisorError:
            return True
        booted_at, before = anyio.current_time() - uptime, self._booted_at
        self._booted_at = booted_at
        return before is not None and booted_at > before + CLOCKS_DISAGREE

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        del delay
        if attempt >= 2:
            # One quick reconnection is not worth holding every session; a second failure is.
            self._gate.report_feed(stands=False, reason=f"its events cannot be received: {error}")
        if not isinstance(error, WaSupervisorError):
            self._observe(Trouble(where="feed", message="reading events failed", error=error, gateway=self.name))
