"""In: from a gateway's event to the agent's stream, for one session.

A message goes into its chat's lane, so one chat stays in order and a slow one holds up nobody else's. The hand-over is
repeated until Redis takes it; it is atomic with the seen-check, so repeating cannot double it. A full queue makes the
caller wait: that is back-pressure down to the gateway's socket, not a loss. What cannot be handed over because the
session ends is counted and told.

What it does not do: decide what is for the agent, or fetch what was missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from wa_supervisor.domain.agent_input import agent_input
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.messages import InboundMessage
from wa_supervisor.domain.names import ChatId
from wa_supervisor.domain.observations import (
    Abandoned,
    DuplicateDropped,
    MessageHandedOver,
    Observer,
    Trouble,
)
from wa_supervisor.engine.lanes import Lanes, LanesOverError
from wa_supervisor.engine.people import CachedPeople
from wa_supervisor.engine.policies import InboundPolicy
from wa_supervisor.engine.ports import AgentInbox, HandedOver, HandOver
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.typing_indicator import TypingIndicator


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrived:
    message: InboundMessage
    at: float


class Inbound:
    """Carries one session's messages to its agent."""

    def __init__(
        self,
        *,
        integration: Integration,
        record: Record,
        people: CachedPeople,
        inbox: AgentInbox,
        typing: TypingIndicator,
        policy: InboundPolicy,
        observe: Observer,
    ) -> None:
        self.integration = integration
        self._record = record
        self._people = people
        self._inbox = inbox
        self._typing = typing
        self._policy = policy
        self._observe = observe
        self._lanes: Lanes[ChatId, _Arrived] = Lanes(
            self._carry, bound=policy.queue_per_session, side_by_side=policy.queue_per_session, on_error=self._failed
        )

    def __repr__(self) -> str:
        return f"<Inbound {self.integration.id} {self._lanes.count} messages>"

    async def run(self) -> None:
        """Carry until cancelled; then say how many are left behind."""
        try:
            await self._lanes.run()
        finally:
            self._abandon(len(self._lanes.take_rest()))

    async def take(self, message: InboundMessage) -> None:
        """Take one message; waits while too many wait already."""
        try:
            await self._lanes.put(message.chat, _Arrived(message=message, at=anyio.current_time()))
        except LanesOverError:
            self._abandon(1)
        except anyio.get_cancelled_exc_class():
            self._abandon(1)
            raise

    async def wait_empty(self) -> None:
        """Wait until everything taken is handed over."""
        await self._lanes.wait_empty()

    async def _carry(self, chat: ChatId, arrived: _Arrived) -> None:
        policy = self._policy
        async for attempt in patient(policy.retry_initial, policy.retry_max, tell=self._tell):
            with attempt:
                await self._hand_over(chat, arrived)

    async def _hand_over(self, chat: ChatId, arrived: _Arrived) -> None:
        integration = self.integration
        person = await self._people.person(integration.agent_id, arrived.message.sender)
        handover = HandOver(
            agent_id=integration.agent_id,
            integration_id=integration.id,
            identity=arrived.message.identity,
            chat=chat,
            payload=agent_input(arrived.message, person, integration.id),
            marks_typing=integration.typing and self._typing.can_start(chat),
        )
        done = await self._inbox.hand_over(handover)
        if isinstance(done, HandedOver):
            self._count(done, arrived)
            if handover.marks_typing:
                self._typing.start(chat)
        else:
            self._record.traffic.duplicates += 1
            self._observe(DuplicateDropped(integration=integration.id, gateway=integration.gateway))
        self._record.touched()

    def _count(self, done: HandedOver, arrived: _Arrived) -> None:
        traffic = self._record.traffic
        traffic.messages_in += 1
        traffic.last_in_at = self._record.now
        self._observe(
            MessageHandedOver(
                integration=self.integration.id,
                gateway=self.integration.gateway,
                listeners=done.listeners,
                latency=anyio.current_time() - arrived.at,
            )
        )

    def _abandon(self, count: int) -> None:
        if count:
            self._observe(Abandoned(integration=self.integration.id, what="messages_in", count=count))

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        if attempt == 1:
            message = f"a message waits for Redis, next try in {delay:.1f} s: {error}"
            self._trouble(message, error)

    def _failed(self, error: BaseException) -> None:
        self._trouble("a message was not handed over", error)

    def _trouble(self, message: str, error: BaseException) -> None:
        self._observe(Trouble(where="hand_over", message=message, error=error, integration=self.integration.id))
