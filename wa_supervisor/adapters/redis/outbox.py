"""Port `AgentOutbox`: what the agents say, on the channel and on the stream `agent:{agent_id}:output`.

The channel is how today's agents answer: what is published while nobody listens is gone. The stream keeps a reply until
its fate is known. A stream entry has the reply's JSON in the field `payload`, or the reply's own fields (`chat_id`,
`response`, ...) as its fields. Whatever is published on the channel is also a doorbell for the stream, which is then
read at once; without one it is read within `sweep` seconds.

An agent that adds a reply to the stream must ring with an *empty* payload (or `{}`), which is not delivered: the same
reply on both would be sent twice, because nothing in it tells that it is the same.

What is under way in this process is remembered here, across lost connections, so that no entry is delivered twice while
it is unsettled; `give_back` returns one that will not be settled by whoever took it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.elapsed import boot_seconds
from wa_supervisor.adapters.redis.keys import Keys, agent_output
from wa_supervisor.adapters.redis.listening import Listening
from wa_supervisor.adapters.redis.output_streams import Found, OutputStreams
from wa_supervisor.adapters.redis.subscription import Subscription
from wa_supervisor.adapters.redis.together import run_together
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.replies import IncomingReply
from wa_supervisor.engine.ports import MayLeave, always


class RedisAgentOutbox:
    """The agents' output channels and streams, for one daemon."""

    def __init__(self, client: RedisClient, keys: Keys, daemon_id: str) -> None:
        self._policy = client.policy
        self._streams = OutputStreams(client, keys, daemon_id)
        self._subscription = Subscription(client.address, client.policy)
        self._agents: dict[bytes, AgentId] = {}
        self._under_way = UnderWay()
        self._listening: Listening | None = None
        self._left: deque[IncomingReply] = deque(maxlen=SETTLED_REMEMBERED)
        self._has_left = anyio.Event()

    def follow(self, agents: frozenset[AgentId]) -> None:
        """Listen to exactly these agents from now on."""
        self._agents = {agent_output(agent): agent for agent in agents}
        self._subscription.want(self._agents)
        if self._listening is not None:
            self._listening.follow(self._agents)

    async def listen(self, deliver: Callable[[IncomingReply], Awaitable[None]]) -> None:
        """Deliver what they say until cancelled. Raises `StoreUnavailableError`, and whatever `deliver` raises."""
        listening = Listening(self._streams, self._under_way, self._policy, deliver)
        listening.follow(self._agents)
        self._listening = listening
        try:
            await run_together(
                lambda: self._subscription.listen(listening.hear),
                listening.keep_time,
                listening.read_streams,
                self._let_go,
            )
        finally:
            self._listening = None

    async def begin(self, reply: IncomingReply, *, is_named: bool) -> MayLeave | None:
        """Record that it is about to be sent, if it still is ours. Raises `StoreUnavailableError`."""
        if reply.entry is None:
            return always
        # Another daemon may take it over once it was idle for `claim_after`, and its idle time begins after this.
        until = boot_seconds() + SURELY_OURS * self._policy.claim_after
        if not await self._streams.begin(reply.agent_id, reply.entry, is_named=is_named):
            self._under_way.end(reply.agent_id, reply.entry)
            return None
        return lambda: boot_seconds() < until

    async def undo(self, reply: IncomingReply) -> None:
        """Take `begin` back. Raises `StoreUnavailableError`."""
        if reply.entry is not None:
            await self._streams.unmark(reply.agent_id, reply.entry)

    async def settle(self, reply: IncomingReply) -> None:
        """Say that its fate is known. Raises `StoreUnavailableError`; it may then be repeated."""
        if reply.entry is not None:
            await self._streams.settle(reply.agent_id, reply.entry)
            self._under_way.settle(reply.agent_id, reply.entry)

    async def pass_on(self, reply: IncomingReply, daemon: str) -> None:
        """Give an entry to another daemon. Raises `StoreUnavailableError`; the entry then comes again."""
        if reply.entry is not None:
            await self._streams.pass_on(reply.agent_id, reply.entry, daemon)
            self._under_way.end(reply.agent_id, reply.entry)

    def give_back(self, reply: IncomingReply) -> None:
        """Return an unsettled entry: it is delivered again, perhaps to a session that can send it."""
        if reply.entry is None:
            return
        self._under_way.end(reply.agent_id, reply.entry)
        if reply.agent_id not in self._agents.values():  # whoever follows its agent now is to have it
            self._left.append(reply)
            self._has_left.set()
        elif self._listening is not None:
            self._listening.look_back(reply.agent_id)

    async def _let_go(self) -> None:
        """Give what was given back for agents that are not followed any more to nobody, from whom others take it."""
        while True:
            while self._left:
                await self.pass_on(self._left[0], NOBODY)
                self._left.popleft()
            self._has_left = anyio.Event()
            await self._has_left.wait()


NOBODY = "nobody"
"""Consumer that no daemon is: what it has is taken over as a dead daemon's is."""

SURELY_OURS = 0.75
"""Share of the time after which an entry may be taken over in which it certainly still is ours."""

SETTLED_REMEMBERED = 10_000
"""Entries settled last that are remembered: a server that began anew may give the last second's again."""


class UnderWay:
    """The entries that were delivered in this process and are not settled, and those that were settled last."""

    def __init__(self) -> None:
        self._entries: set[tuple[AgentId, str]] = set()
        self._settled: OrderedDict[tuple[AgentId, str], None] = OrderedDict()

    def take(self, found: Iterable[Found]) -> list[Found]:
        """Take up those that are not under way yet.

        Must be called with a reading as soon as it is there, without an await in between: answers come in the order of
        their commands, so an entry that is settled meanwhile is still known here, and not delivered a second time.
        """
        fresh = [(agent, entry) for agent, entry in found if (agent, entry.id) not in self._entries]
        self._entries.update((agent, entry.id) for agent, entry in fresh)
        return fresh

    def put_back(self, found: Sequence[Found]) -> None:
        """Forget those that could not be delivered after all: they come again."""
        self._entries.difference_update((agent, entry.id) for agent, entry in found)

    def settle(self, agent: AgentId, entry: str) -> None:
        """Forget one whose fate is known, but not that it is."""
        self.end(agent, entry)
        self._settled[agent, entry] = None
        if len(self._settled) > SETTLED_REMEMBERED:
            self._settled.popitem(last=False)

    def was_settled(self, agent: AgentId, entry: str) -> bool:
        """Whether its fate is known here, although the server gives it again."""
        return (agent, entry) in self._settled

    def end(self, agent: AgentId, entry: str) -> None:
        """Forget one."""
        self._entries.discard((agent, entry))
