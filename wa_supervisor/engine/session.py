"""One session: its life at the gateway and the carriage of its messages, in one task group.

The life may fail and begin again as often as it must; what waits to be carried is not touched by that. A newer record
of the same session at the same gateway for the same agent begins the life anew only where it has to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from wa_supervisor.domain.gateway_events import LoginOffered
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.lifecycle import TRANSITIONS, Cause, State
from wa_supervisor.domain.messages import InboundMessage, LeftOut, LeftOutReason, OwnMessage
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.observations import FellBehind, Observer
from wa_supervisor.domain.replies import Reply
from wa_supervisor.domain.status import LoginOffer
from wa_supervisor.domain.succession import must_close, needs_new_life
from wa_supervisor.engine.backlog import Backlog
from wa_supervisor.engine.catch_up import CatchUp
from wa_supervisor.engine.dead_letter_office import DeadLetterOffice
from wa_supervisor.engine.gap import Gap
from wa_supervisor.engine.inbound import Inbound
from wa_supervisor.engine.life import Life, Restart
from wa_supervisor.engine.line import Line
from wa_supervisor.engine.outbound import Outbound
from wa_supervisor.engine.people import CachedPeople
from wa_supervisor.engine.policies import InboundPolicy, OutboundPolicy, SessionPolicy, TypingPolicy
from wa_supervisor.engine.ports import AgentInbox, AgentOutbox, MayLeave, Receipts, StatusBoard, always
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.settling import Settling
from wa_supervisor.engine.situation import Situation
from wa_supervisor.engine.typing_indicator import TypingIndicator


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every session of a daemon shares."""

    inbox: AgentInbox
    outbox: AgentOutbox
    receipts: Receipts
    backlog: Backlog
    office: DeadLetterOffice
    people: CachedPeople
    board: StatusBoard
    observe: Observer
    sessions: SessionPolicy
    inbound: InboundPolicy
    outbound: OutboundPolicy
    typing: TypingPolicy


class Session:
    """A declared session while it is wanted."""

    def __init__(
        self,
        integration: Integration,
        record: Record,
        room: GatewayRoom,
        services: Services,
        *,
        may_send: MayLeave = always,
    ) -> None:
        """`may_send` says whether nobody else can be sending for this session now."""
        self._services = services
        self._may_send = may_send
        self._record = record
        self._room = room
        self._line = Line(room.gateway, services.sessions.call_timeout)
        self._parts: set[str] = set()
        self._life_scope = anyio.CancelScope()
        self._life_ended = anyio.Event()
        self._here = Situation(
            integration=integration,
            record=record,
            gateway=self._line,
            gate=room.gate,
            policy=services.sessions,
            put_login_up=lambda offer: services.board.offer_login(integration.id, offer),
            observe=services.observe,
            lost_touch=self.lost_touch,
        )
        self._gap = Gap("connected", tell_open=self._tell_behind)
        self._typing = TypingIndicator(
            integration=integration.id,
            access=self._here.access,
            gateway=self._line,
            inbox=services.inbox,
            serving=record.serving,
            policy=services.typing,
            observe=services.observe,
        )
        self._inbound = self._make_inbound(integration)
        self._settling = self._make_settling(integration)
        self._outbound = self._make_outbound(integration)
        self._catch_up = self._make_catch_up(integration)
        self._life = Life(self._here, on_running=self._typing.switch_off_leftovers)

    def __repr__(self) -> str:
        return f"<Session {self.id} {self._record.state.value}>"

    @property
    def id(self) -> IntegrationId:
        """Its integration."""
        return self.integration.id

    @property
    def integration(self) -> Integration:
        """The record that it follows now."""
        return self._here.integration

    @property
    def agent_id(self) -> AgentId:
        """Whose session it is."""
        return self.integration.agent_id

    @property
    def phone(self) -> str | None:
        """Digits that its pairing code is for, if it logs in by one."""
        return self.integration.phone

    @property
    def room(self) -> GatewayRoom:
        """Its gateway."""
        return self._room

    async def run(self) -> None:
        """Live and carry until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run_part, "typing", self._typing.run)
            tasks.start_soon(self._run_part, "inbound", self._inbound.run)
            tasks.start_soon(self._run_part, "outbound", self._outbound.run)
            try:
                with self._life_scope:
                    await self._live()
            finally:
                self._life_ended.set()
            await anyio.sleep_forever()  # draining: what waits is carried on

    async def _live(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run_part, "catch_up", self._catch_up.run)
            await self._run_part("life", self._life.keep)

    def unfinished(self) -> tuple[str, ...]:
        """Name its parts that have not ended."""
        return tuple(sorted(self._parts))

    def cut_off(self) -> None:
        """Let it do nothing more at its gateway: it did not stop when it was told to, and is left to itself."""
        self._line.cut()

    async def _run_part(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._parts.add(name)
        try:
            await work()
        finally:
            self._parts.discard(name)

    def follow(self, integration: Integration) -> None:
        """Follow a newer record of the same session, at the same gateway, for the same agent."""
        old, is_serving = self.integration, self._record.serving.is_on
        self._here.integration = integration
        self._record.wanted = integration
        self._inbound.integration = integration
        self._outbound.integration = integration
        self._settling.integration = integration
        self._catch_up.integration = integration
        self._typing.access = self._here.access
        self._record.touched()
        is_quarantined = self._record.state is State.QUARANTINED
        if is_quarantined or needs_new_life(old, integration, is_serving=is_serving):
            self._life.restart(
                Restart(
                    cause=Cause.CHANGED,
                    reason="RecordChanged",
                    message="the record changed",
                    closes_first=must_close(old, integration) or integration.phone != old.phone,
                )
            )

    def restart(self, message: str) -> bool:
        """Begin the life anew, browser and all; False: it is quarantined, which only a release ends."""
        if (self._record.state, Cause.RESTART) not in TRANSITIONS:
            return False
        self._life.restart(Restart(cause=Cause.RESTART, reason="OperatorRestart", message=message, closes_first=True))
        return True

    def release(self, message: str) -> bool:
        """End the quarantine; False: it is in none."""
        if self._record.state is not State.QUARANTINED:
            return False
        self._life.restart(Restart(cause=Cause.RELEASE, reason="Released", message=message, closes_first=False))
        return True

    async def drain(self, deadline: float) -> None:
        """End the life and carry what is in flight, for at most `deadline` seconds."""
        self._life_scope.cancel()
        try:
            await self._life_ended.wait()  # it may take one more step before the cancellation reaches it
        finally:
            if (self._record.state, Cause.DRAIN) in TRANSITIONS:
                self._record.move(Cause.DRAIN, "Draining", "finishing what is in flight")
        with anyio.move_on_after(deadline):
            await self._inbound.wait_empty()
            await self._outbound.wait_empty()

    async def finish(self, deadline: float) -> None:
        """Carry what arrived in the last instants, when nothing more can arrive."""
        with anyio.move_on_after(deadline):
            await self._inbound.wait_empty()

    def take_message(self, message: InboundMessage) -> None:
        """Take a message of a person."""
        self._here.prove_alive()
        self._inbound.take(message)

    def take_own(self, message: OwnMessage) -> None:
        """Take a message that the session's own account sent: it proves it alive, and may settle a send."""
        self._here.prove_alive()
        self._outbound.own_seen(message)
        self._inbound.pass_by(message.place)
        self._record.traffic.left_out += 1
        self._record.touched()

    def lost_touch(self, cause: str) -> None:
        """Take that messages may have been missed before what comes next."""
        self._gap.open(cause)

    def store_restarted(self) -> None:
        """Take that the store may have forgotten the last that it was told."""
        self._inbound.store_restarted()
        self._gap.open("store")

    async def take_reply(self, reply: Reply) -> None:
        """Take a reply of the agent."""
        await self._outbound.take(reply)

    def take_login(self, offer: LoginOffered) -> None:
        """Take a pairing code, which no poll gives; for a QR code look at the gateway, which gives its text.

        A QR code without a name may be anybody's: only those that wait for one look.
        """
        if offer.session is None and self._record.state not in {State.STARTING, State.AWAITING_LOGIN}:
            return
        if offer.kind == "code":
            self._here.login_code = LoginOffer(kind="code", data=offer.data, offered_at=self._record.now)
        self.look_again()

    def leave_out(self, left_out: LeftOut) -> None:
        """Take that something was not for the agent; it proves the session alive all the same."""
        self._here.prove_alive()
        if left_out.place is not None:
            is_undecrypted = left_out.reason is LeftOutReason.AWAITING_DECRYPTION
            self._inbound.pass_by(left_out.place, is_undecrypted=is_undecrypted)
        self._record.traffic.left_out += 1
        self._record.touched()

    def look_again(self) -> None:
        """Look at the gateway now rather than at the next poll."""
        self._here.bell.ring()

    def _make_inbound(self, integration: Integration) -> Inbound:
        services = self._services
        return Inbound(
            integration=integration,
            record=self._record,
            people=services.people,
            inbox=services.inbox,
            typing=self._typing,
            gap=self._gap,
            backlog=services.backlog,
            policy=services.inbound,
            observe=services.observe,
        )

    def _make_outbound(self, integration: Integration) -> Outbound:
        services = self._services
        return Outbound(
            integration=integration,
            record=self._record,
            gateway=self._line,
            acks=self._room.feed.acks,
            inbox=services.inbox,
            outbox=services.outbox,
            receipts=services.receipts,
            office=services.office,
            settling=self._settling,
            may_send=self._may_send,
            typing=self._typing,
            policy=services.outbound,
            observe=services.observe,
            is_alive=self._here.prove_alive,
            is_silent=self._here.doubt_send,
            look_again=self.look_again,
        )

    def _make_settling(self, integration: Integration) -> Settling:
        services = self._services
        return Settling(
            integration=integration,
            record=self._record,
            gateway=self._line,
            gate=self._room.gate,
            acks=self._room.feed.acks,
            receipts=services.receipts,
            policy=services.outbound,
            settle=services.inbound.settle,
            observe=services.observe,
        )

    def _make_catch_up(self, integration: Integration) -> CatchUp:
        services = self._services
        return CatchUp(
            integration=integration,
            record=self._record,
            gateway=self._line,
            gate=self._room.gate,
            inbox=services.inbox,
            inbound=self._inbound,
            gap=self._gap,
            policy=services.inbound,
            observe=services.observe,
            own_seen=self._settling.own_seen,
        )

    def _tell_behind(self, cause: str) -> None:
        integration = self.integration
        self._services.observe(FellBehind(integration=integration.id, gateway=integration.gateway, cause=cause))
