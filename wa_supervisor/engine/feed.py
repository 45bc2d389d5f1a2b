"""The feed: everything that one gateway reports, shared out to its sessions.

One connection per gateway, whatever the number of sessions: the gateway sends every event to every client, so a second
connection would only double the work. The feed keeps the connection up with one backoff, reads each event, and gives it
to the session that it names. An event that names none is matched to a message that we sent, or counted and dropped.

After every connection it tells its sessions that they may have missed something. When too much waits in memory for
Redis it lets the connection go on purpose, until half of that is handed over: what arrives meanwhile is fetched then.

What it does not do: fetch what was missed, or let one session's trouble with an event end it for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import anyio

from wa_supervisor.domain.errors import FeedLostError, GatewayUnreachableError, WaSupervisorError
from wa_supervisor.domain.gateway_events import (
    EVENT_NAMES,
    AckSeen,
    GatewayEvent,
    LoginOffered,
    SessionNudged,
    read_event,
)
from wa_supervisor.domain.messages import InboundMessage, LeftOut, LeftOutReason, OwnMessage
from wa_supervisor.domain.names import GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.observations import (
    EventUnattributed,
    GatewayChanged,
    MessageLeftOut,
    Observer,
    Trouble,
)
from wa_supervisor.engine.acks import Acks
from wa_supervisor.engine.backlog import Backlog
from wa_supervisor.engine.gate import CLOCKS_DISAGREE, Gate
from wa_supervisor.engine.policies import GatePolicy
from wa_supervisor.engine.ports import Gateway, GatewayEvents
from wa_supervisor.engine.retrying import keep_doing

MOST_HELD = 500
"""Messages of one session that wait while it gives way to its successor: that takes seconds at most."""


class Listener(Protocol):
    """A session, as its gateway's feed sees it."""

    @property
    def id(self) -> IntegrationId:
        """Its integration."""

    @property
    def phone(self) -> str | None:
        """Digits that its pairing code is for, if it logs in by one."""

    def take_message(self, message: InboundMessage) -> None:
        """Take a message of a person."""

    def take_own(self, message: OwnMessage) -> None:
        """Take a message that the session's own account sent."""

    def lost_touch(self, cause: str) -> None:
        """Take that messages may have been missed before what comes next."""

    def take_login(self, offer: LoginOffered) -> None:
        """Take a QR or pairing code."""

    def leave_out(self, left_out: LeftOut) -> None:
        """Take that something was not for the agent; it proves the session alive all the same."""

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
        backlog: Backlog | None = None,
        tell_ack: Callable[[AckSeen], None] = lambda _: None,
    ) -> None:
        """`tell_ack` gets every ack for a message that was sent; `backlog` counts what waits, over all gateways."""
        self.acks = Acks()
        self._backlog = backlog
        self._tell_ack = tell_ack
        self._listening = anyio.CancelScope()
        self._gateway = gateway
        self._events = events
        self._gate = gate
        self._policy = policy
        self._observe = observe
        self._listeners: dict[SessionName, Listener] = {}
        self._stands = self._was_refused = False
        self._booted_at: float | None = None
        self._connected_now = anyio.Event()
        self._held: dict[SessionName, list[InboundMessage]] = {}
        gate.on_close = self.look_at_all

    def __repr__(self) -> str:
        return f"<Feed {self.name} for {len(self._listeners)} sessions>"

    @property
    def name(self) -> GatewayName:
        """The gateway's name."""
        return self._gateway.name

    def join(self, session: SessionName, listener: Listener) -> list[InboundMessage]:
        """Give what the gateway reports about `session` to `listener` from now on; returns what was held for it."""
        self._listeners[session] = listener
        return list(self._held.pop(session, ()))

    def leave(self, session: SessionName, listener: Listener, *, holds: bool) -> None:
        """Stop giving it to `listener`. With `holds` its messages wait for the one that joins next."""
        if self._listeners.get(session) is listener:
            del self._listeners[session]
            if holds:
                self.hold(session)

    def hold(self, session: SessionName) -> None:
        """Let the messages of a session that nobody has joined yet wait for somebody who will."""
        self._held.setdefault(session, [])

    def let_go(self, session: SessionName) -> None:
        """Wait no longer: nobody will join. What was held is counted as for an unknown session."""
        for message in self._held.pop(session, ()):
            self._count_unknown(message)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_restarts)
            await keep_doing(
                self._listen_once,
                initial=self._policy.reconnect_initial,
                longest=self._policy.reconnect_max,
                tell=self._tell,
            )

    def connected(self) -> None:
        """Take the word of the adapter that the connection stands."""
        self._stands, self._was_refused = True, False
        self._observe(GatewayChanged(gateway=self.name, what="feed_connected", message=""))
        self._gate.report_feed(stands=True)
        for listener in self._listeners.values():
            listener.lost_touch("reconnected")
        self._connected_now.set()

    async def deliver(self, name: str, payload: object) -> None:
        """Share out one event."""
        event = read_event(name, payload, self.name)
        try:
            if not self._share_out(event):
                self._observe(EventUnattributed(gateway=self.name, event=name))
        except Exception as error:  # noqa: BLE001  # supervision border: one event must not end the connection
            self._observe(Trouble(where="feed", message="an event was lost", error=error, gateway=self.name))
        if self._backlog is not None and self._backlog.is_full:
            self._listening.cancel()
            await anyio.lowlevel.checkpoint()

    def _share_out(self, event: GatewayEvent) -> bool:
        """Say whether it is known whose event it is."""
        match event:
            case InboundMessage():
                self._deliver_message(event)
                return True
            case OwnMessage():
                self._deliver_own(event)
                return True
            case LeftOut():
                self._leave_out(event)
                return True
            case AckSeen():
                if event.is_own:
                    self._tell_ack(event)
                return self.acks.take(event.stanza, event.ack)
            case LoginOffered():
                return self._deliver_login(event)
            case SessionNudged():
                return self._nudge(event.session)
            case _:
                return False

    async def _listen_once(self) -> None:
        if self._was_refused:
            await self._gate.look()  # one question to a gateway that may be away; while it is, nobody else asks
        if not self._gate.answers:
            self._gate.report_feed(stands=False, reason=self._gate.reason)
            await self._gate.wait_answers()
        why = "the event connection ended"
        try:
            with anyio.CancelScope() as self._listening:
                await self._events.listen(self, EVENT_NAMES)
            why = "too much waits for Redis: let go on purpose, and made again when half of it is handed over"
        except FeedLostError as error:
            why = str(error)
            self._was_refused = not self._stands
            raise
        finally:
            if self._stands:
                self._stands = False
                what = "feed_let_go" if self._listening.cancelled_caught else "feed_lost"
                self._observe(GatewayChanged(gateway=self.name, what=what, message=why))
        if self._backlog is not None:
            await self._backlog.wait_room()

    def _deliver_message(self, message: InboundMessage) -> None:
        listener = self._listeners.get(message.session)
        held = self._held.get(message.session)
        if listener is not None:
            listener.take_message(message)
        elif held is not None and len(held) < MOST_HELD:
            held.append(message)
        else:
            self._count_unknown(message)

    def _deliver_own(self, message: OwnMessage) -> None:
        listener = self._listeners.get(message.session)
        if listener is not None:
            listener.take_own(message)
        reason = LeftOutReason.OWN_MESSAGE.value
        name = listener.id if listener else None
        self._observe(MessageLeftOut(gateway=self.name, reason=reason, detail="", integration=name))

    def _count_unknown(self, message: InboundMessage) -> None:
        reason = LeftOutReason.UNKNOWN_SESSION.value
        self._observe(MessageLeftOut(gateway=self.name, reason=reason, detail=message.type))

    def _leave_out(self, left_out: LeftOut) -> None:
        listener = self._listeners.get(left_out.session) if left_out.session else None
        if listener is not None:
            listener.leave_out(left_out)
        self._observe(
            MessageLeftOut(
                gateway=self.name,
                reason=left_out.reason.value,
                detail=left_out.detail,
                integration=listener.id if listener else None,
            )
        )

    def _deliver_login(self, offer: LoginOffered) -> bool:
        concerned = [listener for name, listener in self._listeners.items() if _is_for(offer, name, listener)]
        for listener in concerned:
            listener.take_login(offer)
        return bool(concerned)

    def look_at_all(self) -> None:
        """Let every session look at its gateway now."""
        for listener in list(self._listeners.values()):
            listener.look_again()

    def _nudge(self, session: SessionName | None) -> bool:
        if session is None:
            self.look_at_all()
            return True
        listener = self._listeners.get(session)
        if listener is not None:
            listener.look_again()
        return listener is not None

    async def _watch_restarts(self) -> None:
        while True:
            await self._connected_now.wait()
            self._connected_now = anyio.Event()
            if await self._was_restarted():
                self.look_at_all()

    async def _was_restarted(self) -> bool:
        """Whether the gateway's uptime is less than it would be had it stayed up; unknown counts as yes."""
        try:
            booted_at = await self._gate.began_at()
        except GatewayUnreachableError as error:
            self._gate.report_unreachable(error)
            return True
        except WaSupervisorError:
            return True
        except Exception as error:  # noqa: BLE001  # supervision border: a look must not end the connection
            self._observe(Trouble(where="feed", message="a look failed", error=error, gateway=self.name))
            return True
        before, self._booted_at = self._booted_at, booted_at
        return before is not None and booted_at > before + CLOCKS_DISAGREE

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        del delay
        if attempt >= 2:
            # One quick reconnection is not worth holding every session; a second failure is.
            self._gate.report_feed(stands=False, reason=f"its events cannot be received: {error}")
        if not isinstance(error, WaSupervisorError):
            self._observe(Trouble(where="feed", message="reading events failed", error=error, gateway=self.name))


def _is_for(offer: LoginOffered, name: SessionName, listener: Listener) -> bool:
    if offer.session is not None:
        return offer.session == name
    # After a close and start the gateway forgets whose code it is. A pairing code names its number; a QR code names
    # nothing, and each session knows whether it waits for one.
    return offer.kind == "qr" or (offer.phone is not None and offer.phone == listener.phone)
