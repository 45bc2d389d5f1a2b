"""The way to the agents without Redis: lists and sets that a test can read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.names import AgentId, ChatId, IntegrationId
from wa_supervisor.engine.ports import HandedOver, HandOver, SeenBefore


class FakeAgentInbox(Scripted):
    """Port `AgentInbox`."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: defaultdict[AgentId, list[bytes]] = defaultdict(list)
        """What each agent was given, oldest first."""
        self.handed_over: list[HandOver] = []
        """The same with all their fields, over all agents."""
        self.seen: set[str] = set()
        """Keys of the identities that were handed over."""
        self.owners: dict[tuple[AgentId, ChatId], IntegrationId] = {}
        self.typing: defaultdict[IntegrationId, set[ChatId]] = defaultdict(set)
        """Chats in which "typing" may be shown."""
        self.listeners: defaultdict[AgentId, int] = defaultdict(int)
        """How many listen on each agent's channel; none unless the test says so."""

    async def hand_over(self, handover: HandOver) -> HandedOver | SeenBefore:
        """Hand over what was not seen before."""
        async with self._call("hand_over"):
            return SeenBefore() if handover.identity.key in self.seen else self._take(handover)

    async def owner_of(self, agent_id: AgentId, chat: ChatId) -> IntegrationId | None:
        """Give who last received a message from `chat`."""
        async with self._call("owner_of"):
            return self.owners.get((agent_id, chat))

    async def typing_left_on(self, integration_id: IntegrationId) -> Sequence[ChatId]:
        """Give the chats that are marked, in the order of their ids."""
        async with self._call("typing_left_on"):
            return sorted(self.typing[integration_id])

    async def typing_ended(self, integration_id: IntegrationId, chat: ChatId) -> None:
        """Take the mark away."""
        async with self._call("typing_ended"):
            self.typing[integration_id].discard(chat)

    def _take(self, handover: HandOver) -> HandedOver:
        self.seen.add(handover.identity.key)
        self.handed_over.append(handover)
        self.streams[handover.agent_id].append(handover.payload)
        self.owners[handover.agent_id, handover.chat] = handover.integration_id
        if handover.marks_typing:
            self.typing[handover.integration_id].add(handover.chat)
        return HandedOver(entry=f"{len(self.handed_over)}-0", listeners=self.listeners[handover.agent_id])
