"""The way to the agents without Redis: lists and sets that a test can read.

As with the real thing, what nobody hears waits, in order, until `publish_waiting` finds somebody (`listeners`), unless
the agent reads its stream by a group (`groups`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import anyio

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.marks import Mark
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, IntegrationId, SessionName
from wa_supervisor.engine.ports import HandedOver, HandOver, Marks, Published, SeenBefore

_Session = tuple[GatewayName, SessionName]


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
        self.seconds = 0.0
        """How long each hand-over takes."""
        self.groups: set[AgentId] = set()
        """Agents that read their stream by a consumer group of their own."""
        self.published: defaultdict[AgentId, list[bytes]] = defaultdict(list)
        """What somebody heard on each agent's channel, in order."""
        self.bound: int | None = None
        """How many messages a stream keeps."""
        self.marked: defaultdict[_Session, dict[ChatId, Mark]] = defaultdict(dict)
        """The marks of each session."""
        self.since: dict[_Session, float] = {}
        """From when on each session is ours."""
        self._unhad: defaultdict[AgentId, int] = defaultdict(int)
        """How many of the newest in a stream nobody had: they wait, or the agent's group has not read them."""
        self._too_old: defaultdict[AgentId, int] = defaultdict(int)
        self._lost: defaultdict[AgentId, int] = defaultdict(int)

    def waiting(self, agent_id: AgentId) -> int:
        """Give how many messages wait for somebody to listen."""
        return 0 if agent_id in self.groups else self._unhad[agent_id]

    def read_all(self, agent_id: AgentId) -> None:
        """Read, as the agent's group, all that is in its stream."""
        self._unhad[agent_id] = 0

    def grow_old(self, agent_id: AgentId, count: int) -> None:
        """Let the oldest `count` that wait have waited too long."""
        self._unhad[agent_id] -= count
        self._too_old[agent_id] += count

    def lose(self, agent_id: AgentId, count: int) -> None:
        """Take the oldest `count` that wait out of the stream, as somebody else might."""
        oldest = len(self.streams[agent_id]) - self._unhad[agent_id]
        del self.streams[agent_id][oldest : oldest + count]
        self._unhad[agent_id] -= count
        self._lost[agent_id] += count

    async def hand_over(self, handover: HandOver) -> HandedOver | SeenBefore:
        """Hand over what was not seen before."""
        async with self._call("hand_over"):
            if self.seconds:
                await anyio.sleep(self.seconds)
            if handover.mark is not None:
                self._advance((handover.identity.gateway, handover.identity.session), handover.mark)
            return SeenBefore() if handover.identity.key in self.seen else self._take(handover)

    async def publish_waiting(self) -> Sequence[Published]:
        """Publish what waits for those who listen."""
        async with self._call("publish_waiting"):
            agents = {agent for known in (self._unhad, self._too_old, self._lost) for agent in known if known[agent]}
            return [self._publish_to(agent) for agent in sorted(agents - self.groups)]

    async def marks(self, gateway: GatewayName, session: SessionName, now: float) -> Marks:
        """Give a session's marks, and make it ours."""
        async with self._call("marks"):
            since = self.since.setdefault((gateway, session), now)
            return Marks(since=since, by_chat=dict(self.marked[gateway, session]))

    async def advance(self, gateway: GatewayName, session: SessionName, mark: Mark) -> None:
        """Set a mark, unless there is a later one."""
        async with self._call("advance"):
            self._advance((gateway, session), mark)

    async def forget_marks(self, gateway: GatewayName, session: SessionName, marks: Sequence[Mark]) -> None:
        """Forget those that are still there."""
        async with self._call("forget_marks"):
            known = self.marked[gateway, session]
            for mark in marks:
                if known.get(mark.chat) == mark:
                    del known[mark.chat]

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
        agent, stream = handover.agent_id, self.streams[handover.agent_id]
        self.seen.add(handover.identity.key)
        self.handed_over.append(handover)
        stream.append(handover.payload)
        self.owners[agent, handover.chat] = handover.integration_id
        if handover.marks_typing:
            self.typing[handover.integration_id].add(handover.chat)
        listeners = self._publish_or_wait(agent, handover.payload)
        return HandedOver(
            entry=f"{len(self.handed_over)}-0",
            listeners=listeners,
            is_waiting=self.waiting(agent) > 0,
            dropped=self._trim(agent),
        )

    def _publish_or_wait(self, agent: AgentId, payload: bytes) -> int:
        listeners = 0 if self.waiting(agent) else self.listeners[agent]
        if listeners:
            self.published[agent].append(payload)
        if agent in self.groups or not listeners:
            self._unhad[agent] += 1
        return listeners

    def _trim(self, agent: AgentId) -> int:
        stream = self.streams[agent]
        if self.bound is not None and len(stream) > self.bound:
            del stream[: len(stream) - self.bound]
        dropped = max(0, self._unhad[agent] - len(stream))
        self._unhad[agent] -= dropped
        return dropped

    def _publish_to(self, agent: AgentId) -> Published:
        unhad = self._unhad[agent]
        published = unhad if self.listeners[agent] else 0
        if published:
            self.published[agent] += self.streams[agent][-published:]
            self._unhad[agent] = 0
        return Published(
            agent_id=agent,
            published=published,
            waiting=self._unhad[agent],
            too_old=self._too_old.pop(agent, 0),
            lost=self._lost.pop(agent, 0),
        )

    def _advance(self, session: _Session, mark: Mark) -> None:
        before = self.marked[session].get(mark.chat)
        if before is None or before.at <= mark.at:
            self.marked[session][mark.chat] = mark
