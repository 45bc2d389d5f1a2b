"""The agents' output streams: one consumer group, in which every daemon is a consumer by its id.

An entry is ours from the moment it is read until its fate is known (`settle`). A daemon that comes back under its id
finds its own entries again; those of one that is neither announced nor heard of for `claim_after` are taken over.
Marks beside the streams say which entries were about to be sent, when, and by whichever daemon; they have no ttl,
because a daemon that was stopped must not outlive them. To mark an entry is to ask whether it still is ours.

The streams are read for many agents in one command. One agent's key that is of a wrong type, or whose stream was
deleted, makes the server refuse the whole command: it is then read for each alone, so that it is one agent's trouble.

Nothing is remembered here; `outbox.py` knows what is under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import msgspec

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.entries import Entry, read_entries, read_streams
from wa_supervisor.adapters.redis.keys import Keys, agent_output, to_bytes, to_text
from wa_supervisor.adapters.redis.packing import Command
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.scripts import Script
from wa_supervisor.adapters.redis.wire import as_refusal
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.replies import Begun

GROUP = b"wa-supervisor"

PAGE = 100
"""Most entries of one stream read at once: a burst of one agent does not make the others wait."""

NEW = b">"
START = b"0"

_OF_ONE_AGENT = frozenset({"WRONGTYPE", "NOGROUP", "NOPERM", "ERR"})
"""Refusals that are about one key; any other is about the server."""

Found = tuple[AgentId, Entry]


@dataclass(slots=True)
class Reading:
    """What one reading brought: entries in each agent's order, and the agents that could not be read."""

    entries: list[Found] = field(default_factory=list)
    full: list[AgentId] = field(default_factory=list)
    """There may be more of these."""
    refused: dict[AgentId, RefusalError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What looking after the streams showed."""

    left: Mapping[AgentId, Sequence[bytes]]
    """Ids of entries that dead daemons left."""
    too_long: Mapping[AgentId, int]
    """Streams that stay longer than their bound, because nobody knows the fate of what is in them."""


class OutputStreams:
    """The streams of many agents, for one daemon. Methods raise `StoreUnavailableError`."""

    def __init__(self, client: RedisClient, keys: Keys, daemon_id: str) -> None:
        self._client = client
        self._keys = keys
        self._consumer = to_bytes(daemon_id)
        self._look_after = Script(client, "look_after")
        self._begin = Script(client, "begin_reply")
        self._undo = Script(client, "undo_reply")
        self._pass_on = Script(client, "pass_on_reply")

    async def join(self, agents: Sequence[AgentId]) -> dict[AgentId, RefusalError]:
        """Make the group, and the stream, where there is none yet; give the agents for which that was refused."""
        commands = [(b"XGROUP", b"CREATE", agent_output(agent), GROUP, START, b"MKSTREAM") for agent in agents]
        answers = await self._client.call_all(commands)
        refused: dict[AgentId, RefusalError] = {}
        for agent, answer in zip(agents, answers, strict=True):
            if isinstance(answer, RefusalError) and answer.code != "BUSYGROUP":
                refused[agent] = _about_one(answer)
        return refused

    async def read(self, positions: Mapping[AgentId, bytes]) -> Reading:
        """Read on from a position each: `NEW`, or an id after which our own unsettled entries are given again."""
        reading = Reading()
        answer: object = await self._client.call_all([self._read_command(positions)])
        (answer,) = cast("list[object]", answer)
        if isinstance(answer, RefusalError):
            await self._read_each(positions, reading)
        else:
            _gather(reading, positions, answer)
        return reading

    async def look_after(self, agents: Sequence[AgentId]) -> Stock:
        """Find what dead daemons left, and trim what is settled where a stream is too long."""
        policy = self._client.policy
        arguments = (
            GROUP,
            self._consumer,
            b"%d" % round(policy.claim_after * 1000),
            self._keys.daemon(""),
            b"%d" % policy.replies_maxlen,
            b"%d" % PAGE,
        )
        answer = await self._look_after.call([agent_output(agent) for agent in agents], arguments)
        left, too_long = cast("tuple[list[list[object]], list[list[int]]]", answer)
        return Stock(
            left={agents[cast("int", row[0]) - 1]: cast("list[bytes]", row[1:]) for row in left},
            too_long={agents[number - 1]: length for number, length in too_long},
        )

    async def take_over(self, left: Mapping[AgentId, Sequence[bytes]]) -> list[Found]:
        """Make entries of dead daemons ours; what another daemon took over meanwhile is not given."""
        idle = b"%d" % round(self._client.policy.claim_after * 1000)
        commands = [
            (b"XCLAIM", agent_output(agent), GROUP, self._consumer, idle, *entries) for agent, entries in left.items()
        ]
        taken = zip(left, await self._client.call_all(commands), strict=True)
        return [(agent, entry) for agent, answer in taken for entry in read_entries(_unless_about_one(answer))]

    async def begun(self, found: Sequence[Found]) -> dict[tuple[AgentId, str], Begun]:
        """Give the entries that were about to be sent, and when."""
        commands = [(b"HGET", self._keys.sending(agent), entry.id.encode()) for agent, entry in found]
        answers = await self._client.call_all(commands)
        marks = zip(found, map(_unless_about_one, answers), strict=True)
        return {(agent, entry.id): _read_begun(mark) for (agent, entry), mark in marks if mark is not None}

    async def begin(self, agent: AgentId, entry: str, *, is_named: bool) -> bool:
        """Remember that an entry is about to be sent, and have it for `claim_after` again; False: it is not ours."""
        mark = _Mark(at=datetime.now(UTC).timestamp(), named=is_named, daemon=to_text(self._consumer))
        keys = (agent_output(agent), self._keys.sending(agent))
        arguments = (GROUP, self._consumer, entry.encode(), msgspec.json.encode(mark))
        return bool(await self._begin.call(keys, arguments))

    async def pass_on(self, agent: AgentId, entry: str, daemon: str) -> None:
        """Make an entry of ours another daemon's, which looks at what it has every `tidy` seconds."""
        arguments = (GROUP, self._consumer, entry.encode(), to_bytes(daemon))
        await self._pass_on.call([agent_output(agent)], arguments)

    async def unmark(self, agent: AgentId, entry: str) -> None:
        """Forget it, unless another daemon began it since."""
        await self._undo.call([self._keys.sending(agent)], (self._consumer, entry.encode()))

    async def settle(self, agent: AgentId, entry: str) -> None:
        """Say that the fate of an entry is known. The mark goes after the entry, never before."""
        acknowledged, _ = await self._client.call_all(
            [
                (b"XACK", agent_output(agent), GROUP, entry.encode()),
                (b"HDEL", self._keys.sending(agent), entry.encode()),
            ]
        )
        as_refusal(acknowledged)

    async def _read_each(self, positions: Mapping[AgentId, bytes], reading: Reading) -> None:
        commands = [self._read_command({agent: position}) for agent, position in positions.items()]
        answers = await self._client.call_all(commands)
        for (agent, position), answer in zip(positions.items(), answers, strict=True):
            if isinstance(answer, RefusalError):
                reading.refused[agent] = _about_one(answer)
            else:
                _gather(reading, {agent: position}, answer)

    def _read_command(self, positions: Mapping[AgentId, bytes]) -> Command:
        head = (b"XREADGROUP", b"GROUP", GROUP, self._consumer, b"COUNT", b"%d" % PAGE, b"STREAMS")
        return (*head, *map(agent_output, positions), *positions.values())


class _Mark(msgspec.Struct):
    """That an entry was about to be sent."""

    at: float = 0.0
    named: bool = False
    daemon: str = ""


def _read_begun(mark: object) -> Begun:
    try:
        read = msgspec.json.decode(cast("bytes", mark), type=_Mark)
    except msgspec.DecodeError:  # somebody's writing: begun, and nothing more is known
        return Begun(at=0.0, is_named=False)
    return Begun(at=read.at, is_named=read.named)


def _gather(reading: Reading, agents: Iterable[AgentId], answer: object) -> None:
    streams = read_streams(answer)
    for agent in agents:
        entries = streams.get(agent_output(agent), [])
        reading.entries += [(agent, entry) for entry in entries]
        if len(entries) >= PAGE:
            reading.full.append(agent)


def _unless_about_one(answer: object) -> object:
    """Give an answer, or nothing for a refusal that is about one agent's key, which keeps no other agent waiting."""
    if isinstance(answer, RefusalError):
        _about_one(answer)
        return None
    return answer


def _about_one(refusal: RefusalError) -> RefusalError:
    if refusal.code not in _OF_ONE_AGENT:
        raise refusal
    return refusal
