"""What agents answer, without Redis: a test says it, on the channel or on the stream.

As with the real thing, a channel payload that nobody listens to is gone, a stream entry stays until it is settled, one
process is not given an unsettled entry twice, and an entry that was begun and never settled comes with `begun`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.replies import Begun, IncomingReply
from wa_supervisor.engine.ports import MayLeave, always


@dataclass(slots=True, kw_only=True)
class _Entry:
    agent_id: AgentId
    id: str
    payload: bytes = field(repr=False)
    begun: Begun | None = None
    is_in_flight: bool = False

    def as_reply(self) -> IncomingReply:
        return IncomingReply(agent_id=self.agent_id, payload=self.payload, entry=self.id, begun=self.begun)


class FakeAgentOutbox(Scripted):
    """Port `AgentOutbox`."""

    def __init__(self) -> None:
        super().__init__()
        self.followed: frozenset[AgentId] = frozenset()
        self.begun: list[IncomingReply] = []
        self.undone: list[IncomingReply] = []
        self.settled: list[IncomingReply] = []
        self.given_back: list[IncomingReply] = []
        self.unheard: list[tuple[AgentId, bytes]] = []
        """Channel payloads that nobody listened to."""
        self.passed_on: list[tuple[IncomingReply, str]] = []
        """Entries that were given to another daemon, with its id."""
        self.may_leave = True
        """Whether what was begun may still leave; no: too much time went by since."""
        self.wall: Callable[[], float] = lambda: 0.0
        """Seconds since the epoch, for what is begun."""
        self._entries: dict[tuple[AgentId, str], _Entry] = {}
        self._heard: deque[IncomingReply] = deque()
        self._number = 0

    async def say(self, agent_id: AgentId, payload: bytes, on: Literal["channel", "stream"] = "channel") -> str | None:
        """Speak as an agent; give the entry's id if it went onto the stream."""
        async with self._call("say"):
            if on == "stream":
                return self._add(agent_id, payload).id
            if agent_id in self.followed and self.listening("listen"):
                self._heard.append(IncomingReply(agent_id=agent_id, payload=payload, entry=None))
            else:
                self.unheard.append((agent_id, payload))
            return None

    def leave_behind(self, agent_id: AgentId, payload: bytes, *, begun: Begun | bool) -> str:
        """Put an entry onto the stream that an earlier daemon took up, and perhaps began to send, before it died."""
        entry = self._add(agent_id, payload)
        entry.begun = (Begun(at=self.wall(), is_named=False) if begun else None) if isinstance(begun, bool) else begun
        self._touch()
        return entry.id

    def lose(self, entry: str) -> None:
        """Have another daemon take an entry over: it is not ours any more, and may not leave from here."""
        for key in [key for key in self._entries if key[1] == entry]:
            del self._entries[key]
        self._touch()

    def forget_in_flight(self) -> None:
        """Go on as a new process would: what was delivered and not settled is delivered again."""
        for entry in self._entries.values():
            entry.is_in_flight = False
        self._touch()

    @property
    def unsettled(self) -> list[str]:
        """The entries that are still on the streams, oldest first."""
        return [entry.id for entry in self._entries.values()]

    def follow(self, agents: frozenset[AgentId]) -> None:
        """Listen to exactly these from now on."""
        self.followed = agents
        self._touch()

    async def listen(self, deliver: Callable[[IncomingReply], Awaitable[None]]) -> None:
        """Deliver until cancelled or `break_off("listen")`."""
        async with self._line("listen") as line:
            while True:
                line.check()
                if self._heard:
                    await deliver(self._heard.popleft())
                elif (entry := self._next_entry()) is not None:
                    await self._deliver_entry(entry, deliver)
                else:
                    await self._next_change(line)

    async def begin(self, reply: IncomingReply, *, is_named: bool) -> MayLeave | None:
        """Mark the entry as begun, unless it is not ours (any more)."""
        async with self._call("begin"):
            if reply.entry is None:
                return always
            entry = self._entry(reply)
            if entry is None:
                return None
            self.begun.append(reply)
            entry.begun = Begun(at=self.wall(), is_named=is_named)
            return lambda: self.may_leave and self._entry(reply) is not None

    async def undo(self, reply: IncomingReply) -> None:
        """Take the mark back."""
        async with self._call("undo"):
            self.undone += self._on_stream(reply)
            entry = self._entry(reply)
            if entry is not None:
                entry.begun = None

    async def settle(self, reply: IncomingReply) -> None:
        """Take the entry off the stream."""
        async with self._call("settle"):
            self.settled += self._on_stream(reply)
            self._entries.pop((reply.agent_id, reply.entry or ""), None)

    def give_back(self, reply: IncomingReply) -> None:
        """Take an unsettled entry back: it is delivered again."""
        entry = self._entry(reply)
        if entry is not None:
            entry.is_in_flight = False
            self.given_back.append(reply)
            self._touch()

    async def pass_on(self, reply: IncomingReply, daemon: str) -> None:
        """Give an entry to another daemon."""
        async with self._call("pass_on"):
            if self._entries.pop((reply.agent_id, reply.entry or ""), None) is not None:
                self.passed_on.append((reply, daemon))

    def _entry(self, reply: IncomingReply) -> _Entry | None:
        return self._entries.get((reply.agent_id, reply.entry or ""))

    def _add(self, agent_id: AgentId, payload: bytes) -> _Entry:
        self._number += 1
        entry = _Entry(agent_id=agent_id, id=f"{self._number}-0", payload=payload)
        self._entries[agent_id, entry.id] = entry
        return entry

    def _next_entry(self) -> _Entry | None:
        waiting = (e for e in self._entries.values() if not e.is_in_flight and e.agent_id in self.followed)
        return next(waiting, None)

    @staticmethod
    async def _deliver_entry(entry: _Entry, deliver: Callable[[IncomingReply], Awaitable[None]]) -> None:
        entry.is_in_flight = True
        try:
            await deliver(entry.as_reply())
        except BaseException:
            entry.is_in_flight = False  # it was not taken up, so it comes again
            raise

    @staticmethod
    def _on_stream(reply: IncomingReply) -> list[IncomingReply]:
        return [] if reply.entry is None else [reply]
