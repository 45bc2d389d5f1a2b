"""Gathers what is seen at both ends while a run goes on: ledgers, agents' logs, streams, dead letters.

It remembers how far it has read, so that looking often costs little. Redis and the gateways are reached by wires of its
own, which nobody cuts; Redis itself may be away, and then a look sees nothing new.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import anyio
import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.benchmarks.chaos.stage import Gateway
from tests.benchmarks.delivery.agents import Agents
from tests.benchmarks.delivery.counting import Letter, Outage, Seen, Sightings, Written, number_of

Entries = list[tuple[bytes, dict[bytes, bytes]]]

Marks = Mapping[str, int]
"""Lengths of the lists of `Sightings` at some moment."""

LOOK = 0.5
"""Seconds between two looks."""

ANSWER = 5.0
"""Seconds that Redis may take to answer; one that is stopped does not."""


class Record:
    """What was seen so far."""

    def __init__(self, gateways: Sequence[Gateway], agents: Sequence[Agents], redis_url: str) -> None:
        self.seen = Sightings()
        self._gateways = gateways
        self._agents = agents
        self._redis = redis.asyncio.Redis.from_url(redis_url, socket_timeout=ANSWER, retry=Retry(NoBackoff(), 0))
        self._read: dict[str, dict[str, int]] = {each.name: {"written": 0, "received": 0} for each in gateways}
        self._looking = anyio.Lock()
        self._last: dict[bytes, bytes] = {}
        self._epoch = datetime.now(UTC).timestamp() - time.monotonic()

    def __repr__(self) -> str:
        return f"<Record of {len(self.seen.written)} messages>"

    async def aclose(self) -> None:
        """Hang up."""
        await self._redis.aclose()

    @property
    def marks(self) -> Marks:
        """How much was seen up to now."""
        return {name: len(getattr(self.seen, name)) for name in Sightings.__slots__}

    def since(self, marks: Marks) -> Sightings:
        """Give what was seen since."""
        return Sightings(**{name: getattr(self.seen, name)[start:] for name, start in marks.items()})

    @property
    def size(self) -> int:
        """How much was seen; whoever sees it grow knows that something still moves."""
        return sum(self.marks.values())

    async def keep_looking(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await anyio.sleep(LOOK)

    async def look(self) -> None:
        """Take down what is new."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        for gateway in self._gateways:
            await self._look_at_ledger(gateway)
        for agents in self._agents:
            self._look_at_log(agents)
        try:
            await self._look_at_streams()
        except (RedisError, OSError):
            return  # it is away; the next look sees it

    def note(self, outage: Outage) -> None:
        """Take down that somebody was away."""
        self.seen.outages.append(outage)

    async def _look_at_ledger(self, gateway: Gateway) -> None:
        read = self._read[gateway.name]
        news = await gateway.look(f"since?written={read['written']}&received={read['received']}")
        for name, entries in news.items():
            read[name] += len(entries)
        self.seen.written += [
            Written(number=number, session=entry["session"], chat=entry["chat"], at=entry["at"])
            for entry in news["written"]
            if (number := number_of(entry["text"]))
        ]
        self.seen.received += [
            Seen(number=number, at=entry["at"], chat=entry["chat"])
            for entry in news["received"]
            if (number := number_of(entry["text"]))
        ]

    def _look_at_log(self, agents: Agents) -> None:
        for line in agents.news():
            number = number_of(line.text)
            if number and line.is_answer and not agents.by_stream:
                self.seen.answered.append(Seen(number=number, at=line.at - self._epoch))
            elif number and not line.is_answer:
                at, is_marked = line.at - self._epoch, line.is_redelivered
                self.seen.heard.append(Seen(number=number, at=at, is_marked=is_marked))

    async def _look_at_streams(self) -> None:
        inputs = [f"agent:{agent}:input".encode() for each in self._agents for agent in each.agents]
        outputs = [f"agent:{agent}:output".encode() for each in self._agents if each.by_stream for agent in each.agents]
        found = await self._entries([*inputs, *outputs, b"wa:dead"])
        for key, entries in found.items():
            for entry, fields in entries:
                self._take(key, entry, fields)

    async def _entries(self, keys: Sequence[bytes]) -> Mapping[bytes, Entries]:
        async with self._redis.pipeline(transaction=False) as together:
            for key in keys:
                last = self._last.get(key)
                together.xrange(key, min=b"(" + last if last else b"-")
            answers = cast("list[Entries]", await together.execute())
        found = dict(zip(keys, answers, strict=True))
        self._last |= {key: entries[-1][0] for key, entries in found.items() if entries}
        return found

    def _take(self, key: bytes, entry: bytes, fields: Mapping[bytes, bytes]) -> None:
        at = int(entry.partition(b"-")[0]) / 1000 - self._epoch
        if key == b"wa:dead":
            letter = msgspec.json.decode(fields[b"letter"])
            number = number_of(letter["payload"])
            self.seen.letters.append(Letter(number=number, reason=letter["reason"], is_unknown=letter["is_unknown"]))
            return
        payload: dict[str, Any] = msgspec.json.decode(fields.get(b"payload", b"{}"))
        if key.endswith(b":input") and (number := number_of(payload.get("text", ""))):
            is_recovered = bool(payload.get("recovered"))
            self.seen.handed.append(Seen(number=number, at=at, is_marked=is_recovered))
        elif number := number_of(str(payload.get("response", fields.get(b"response", b"").decode()))):
            self.seen.answered.append(Seen(number=number, at=at))
