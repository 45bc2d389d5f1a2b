"""One session: its life at the gateway and the carriage of its messages, in one task group.

The life may fail and begin again as often as it must; what waits to be carried is not touched by that. A newer record
of the same session at the same gateway for the same agent begins the life anew only where it has to.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.domain.gateway_events import LoginOffered
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.lifecycle import Cause, State
from wa_supervisor.domain.messages import InboundMessage
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.observations import Observer, Trouble
from wa_supervisor.domain.replies import Reply
from wa_supervisor.domain.status import LoginOffer
from wa_supervisor.domain.succession import must_close, needs_new_life
from wa_supervisor.engine.dead_letter_office import DeadLetterOffice
from wa_supervisor.engine.inbound import Inbound
from wa_supervisor.engine.life import Life, Restart
from wa_supervisor.engine.outbound import Outbound
from wa_supervisor.engine.people import CachedPeople
from wa_supervisor.engine.policies import InboundPolicy, OutboundPolicy, SessionPolicy, TypingPolicy
from wa_supervisor.engine.ports import AgentInbox, AgentOutbox, StatusBoard
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.situation import Situation
from wa_supervisor.engine.typing_indicator import TypingIndicator


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every session of a daemon shares."""

    inbox: AgentInbox
    outbox: AgentOutbox
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

    def __init__(self, integration: Integration, record: Record, room: GatewayRoom, services: Services) -> None:
        self._services = services
        self._record = record
        self._room = room
        self._life_scope = anyio.CancelScope()
        self._life_ended = anyio.Event()
        self._here = Situation(
            integration=integration,
            record=record,
            gateway=room.gateway,
            gate=room.gate,
            policy=services.sessions,
            show_login=self._show_login,
        )
        self._typing = TypingIndicator(
            integration=integration.id,
            access=self._here.access,
            gateway=room.gateway,
            inbox=services.inbox,
            serving=record.serving,
            policy=services.typing,
            observe=services.observe,
        )
        self._inbound = self._make_inbound(integration)
        self._outbound = self._make_outbound(integration)
        self._life = Life(self._here, on_running=self._typing.switch_off_leftovers, observe=services.observe)

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
            tasks.start_soon(self._typing.run)
            tasks.start_soon(self._inbound.run)
            tasks.start_soon(self._outbound.run)
            try:
                with self._life_scope:
                    await self._life.keep()
            finally:
                self._life_ended.set()
            await anyio.sleep_forever()  # draining: what waits is carried on

    def follow(self, integration: Integration) -> None:
        """Follow a newer record of the same session, at the same gateway, for the same agent."""
        old, is_serving = self.integration, self._record.serving.is_on
        self._here.integration = integration
        self._record.wanted = integration
        self._inbound.integration = integration
        self._outbound.integration = integration
        self._typing.access = self._here.access
        self._record.touched()
        if needs_new_life(old, integration, is_serving=is_serving):
            closes_first = must_close(old, integration) or integration.phone != old.phone
            self.restart(Restart(reason="RecordChanged", message="the record changed", closes_first=closes_first))

    def restart(self, restart: Restart) -> None:
        """Begin the life anew."""
        self._life.restart(restart)

    async def drain(self, deadline: float) -> None:
        """End the life and carry what is in flight, for at most `deadline` seconds."""
        self._life_scope.cancel()
        await self._life_ended.wait()  # it may take one more step before the cancellation reaches it
        self._record.move(Cause.DRAIN, "Draining", "finishing what is in flight")
        with anyio.move_on_after(deadline):
            await self._inbound.wait_empty()
            await self._outbound.wait_empty()

    async def finish(self, deadline: float) -> None:
        """Carry what arrived in the last instants, when nothing more can arrive."""
        with anyio.move_on_after(deadline):
            await self._inbound.wait_empty()

    async def take_message(self, message: InboundMessage) -> None:
        """Take a message of a person; waits while too many wait already."""
        self._here.prove_alive()
        await self._inbound.take(message)

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

    def count_left_out(self) -> None:
        """Count a payload that was not for the agent; it proves the session alive all the same."""
        self._here.prove_alive()
        self._record.traffic.left_out += 1
        self._record.touched()

    def look_again(self) -> None:
        """Look at the gateway now rather than at the next poll."""
        self._here.bell.ring()

    async def _show_login(self, offer: LoginOffer | None) -> None:
        try:
            await self._services.board.offer_login(self.id, offer)
        except WaSupervisorError as error:
            message = f"the login cannot be shown: {error}"
            self._services.observe(Trouble(where="login", message=message, integration=self.id))

    def _make_inbound(self, integration: Integration) -> Inbound:
        services = self._services
        return Inbound(
            integration=integration,
            record=self._record,
            people=services.people,
            inbox=services.inbox,
            typing=self._typing,
            policy=services.inbound,
            observe=services.observe,
        )

    def _make_outbound(self, integration: Integration) -> Outbound:
        services = self._services
        return Outbound(
            integration=integration,
            record=self._record,
            gateway=self._room.gateway,
            acks=self._room.feed.acks,
            outbox=services.outbox,
            office=services.office,
            typing=self._typing,
            policy=services.outbound,
            observe=services.observe,
            is_alive=self._here.prove_alive,
            look_again=self.look_again,
        )
