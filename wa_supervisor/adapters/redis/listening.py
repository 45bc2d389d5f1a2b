"""One listening to the agents: from a connection to its loss.

Three tasks run side by side: one hears the channels and delivers what is said there, one reads the streams whose agents
rang and delivers what they hold, one keeps the time for looking at all of them. The bell is level-based: an agent that
rings twice before it is looked at is read once, and one whose ring was missed is read with the next sweep.

Within a stream the order is kept; between an agent's channel and its stream there is none.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

import anyio
import msgspec

from wa_supervisor.adapters.redis.entries import Entry
from wa_supervisor.adapters.redis.keys import to_text
from wa_supervisor.adapters.redis.output_streams import NEW, START, Found, OutputStreams
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.subscription import Heard
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.replies import Begun, IncomingReply

_log = logging.getLogger(__name__)

_ONLY_A_RING = frozenset({b"", b"{}"})

Deliver = Callable[[IncomingReply], Awaitable[None]]


class Taken(Protocol):
    """What is under way, across listenings."""

    def take(self, found: Sequence[Found]) -> list[Found]:
        """Take up those that are not under way."""

    def put_back(self, found: Sequence[Found]) -> None:
        """Forget those again."""

    def was_settled(self, agent: AgentId, entry: str) -> bool:
        """Whether the fate of one is known already."""


class Listening:
    """The state of one listening."""

    def __init__(self, streams: OutputStreams, under_way: Taken, policy: RedisPolicy, deliver: Deliver) -> None:
        self._streams = streams
        self._under_way = under_way
        self._policy = policy
        self._deliver = deliver
        self._agents: Mapping[bytes, AgentId] = {}
        self._followed: frozenset[AgentId] = frozenset()
        self._joined: set[AgentId] = set()
        """Agents whose group is there and whose earlier entries were delivered."""
        self._complained: set[tuple[AgentId, str]] = set()
        self._rung: set[AgentId] = set()
        self._bell = anyio.Event()
        self._is_time_to_tidy = True

    def follow(self, agents: Mapping[bytes, AgentId]) -> None:
        """Go on with these agents, given by channel."""
        followed = frozenset(agents.values())
        self._ring(followed - self._followed)
        self._agents, self._followed = agents, followed
        self._joined &= followed

    def look_back(self, agent: AgentId) -> None:
        """Read an agent's unsettled entries again."""
        self._joined.discard(agent)
        self._ring({agent})

    async def hear(self, heard: Heard) -> None:
        """Take what was heard on a channel."""
        agent = self._agents.get(heard.channel)
        if agent is None:
            return
        self._ring({agent})
        if heard.payload is not None and heard.payload.strip() not in _ONLY_A_RING:
            await self._deliver(IncomingReply(agent_id=agent, payload=heard.payload, entry=None))

    async def keep_time(self) -> None:
        """Ring for everybody every `sweep` seconds, and say every `tidy` seconds that it is time to tidy."""
        tidied_at = anyio.current_time()
        while True:
            await anyio.sleep(self._policy.sweep)
            if anyio.current_time() - tidied_at >= self._policy.tidy:
                tidied_at = anyio.current_time()
                self._is_time_to_tidy = True
            self._ring(self._followed)

    async def read_streams(self) -> None:
        """Read the streams of those who rang, for ever."""
        while True:
            await self._bell.wait()
            self._bell = anyio.Event()
            rung, self._rung = self._rung, set()
            for agents in self._batches(rung):
                await self._read(agents)
            if self._is_time_to_tidy:
                self._is_time_to_tidy = False
                for agents in self._batches(set(self._joined)):
                    await self._tidy(agents)

    def _ring(self, agents: AbstractSet[AgentId]) -> None:
        self._rung |= agents
        self._bell.set()

    def _batches(self, agents: AbstractSet[AgentId]) -> Iterator[list[AgentId]]:
        followed = list(agents & self._followed)
        size = self._policy.batch
        return (followed[start : start + size] for start in range(0, len(followed), size))

    async def _read(self, agents: Sequence[AgentId]) -> None:
        await self._join([agent for agent in agents if agent not in self._joined])
        positions = {agent: NEW for agent in agents if agent in self._joined}
        if positions:
            reading = await self._streams.read(positions)
            fresh = self._under_way.take(reading.entries)
            self._complain(reading.refused)
            if reading.full:
                self._ring(set(reading.full))
            await self._deliver_all(fresh, may_be_begun=False)

    async def _join(self, agents: Sequence[AgentId]) -> None:
        """Make sure of the groups, and deliver what this daemon, under this id, took up before and never settled."""
        if not agents:
            return
        refused = await self._streams.join(agents)
        self._complain(refused)
        self._joined.update(await self._read_own([agent for agent in agents if agent not in refused]))

    async def _read_own(self, agents: Sequence[AgentId]) -> list[AgentId]:
        """Deliver what this daemon has of these agents and is not under way; give those that could be read."""
        joining, positions = list(agents), dict.fromkeys(agents, START)
        while positions:
            reading = await self._streams.read(positions)
            fresh = self._under_way.take(reading.entries)
            self._complain(reading.refused)
            last = {agent: entry.id.encode() for agent, entry in reading.entries}
            positions = {agent: last[agent] for agent in reading.full}
            await self._deliver_all(fresh, may_be_begun=True)
            joining = [agent for agent in joining if agent not in reading.refused]
        return joining

    async def _tidy(self, agents: Sequence[AgentId]) -> None:
        await self._read_own(agents)  # what came back to us without our asking
        stock = await self._streams.look_after(agents)
        for agent, length in stock.too_long.items():
            if self._is_news(agent, "TooLong"):
                _log.warning("an output stream is too long", extra={"agent": agent, "length": length})
        if stock.left:
            fresh = self._under_way.take(await self._streams.take_over(stock.left))
            _log.info("took over what another daemon left", extra={"replies": len(fresh)})
            await self._deliver_all(fresh, may_be_begun=True)

    async def _deliver_all(self, found: Sequence[Found], *, may_be_begun: bool) -> None:
        waiting = deque(found)
        try:
            begun = await self._streams.begun(found) if may_be_begun else {}
            while waiting:
                agent, entry = waiting[0]
                await self._deliver_entry(agent, entry, begun.get((agent, entry.id)))
                waiting.popleft()
        finally:
            self._under_way.put_back(list(waiting))

    async def _deliver_entry(self, agent: AgentId, entry: Entry, begun: Begun | None) -> None:
        if self._under_way.was_settled(agent, entry.id):  # the server has forgotten that
            await self._streams.settle(agent, entry.id)
            self._under_way.put_back([(agent, entry)])
            return
        if entry.fields is None:  # somebody took it out of the stream: there is nothing left to send
            await self._streams.settle(agent, entry.id)
            self._under_way.put_back([(agent, entry)])
            _log.warning("a reply vanished from its stream", extra={"agent": agent, "entry": entry.id})
            return
        payload = payload_of(entry.fields)
        await self._deliver(IncomingReply(agent_id=agent, payload=payload, entry=entry.id, begun=begun))

    def _complain(self, refused: Mapping[AgentId, RefusalError]) -> None:
        self._joined.difference_update(refused)
        for agent, refusal in refused.items():
            if refusal.code == "NOGROUP":
                self._ring({agent})  # the stream was deleted: it is made anew
            elif self._is_news(agent, refusal.code):
                _log.warning("an output stream cannot be read", extra={"agent": agent, "why": str(refusal)})

    def _is_news(self, agent: AgentId, what: str) -> bool:
        is_news = (agent, what) not in self._complained
        self._complained.add((agent, what))
        return is_news


def payload_of(fields: Mapping[bytes, bytes]) -> bytes:
    """Give a reply's JSON: the field `payload`, or an object of all fields."""
    payload = fields.get(b"payload")
    if payload is not None:
        return payload
    return msgspec.json.encode({to_text(name): to_text(value) for name, value in fields.items()})
