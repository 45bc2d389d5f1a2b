"""People who write to every session, agents who answer, and who heard what how often.

Every text is written once in a run, so that whoever hears it twice has heard a duplicate. What people write while their
gateway is down is not written at all; what they write while the daemon is away is lost live, which is counted.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import anyio
import msgspec
from redis.exceptions import RedisError

from tests.benchmarks.chaos.book import Book, Declared
from tests.benchmarks.chaos.stage import Gateway
from wa_supervisor.simulator.agent import EchoAgent

PEOPLE = 60
"""Chats of the whole run: what is remembered about people is full long before the end."""

PAUSE = 0.15
"""Seconds between two messages, about."""

AGAIN = 0.5
"""Seconds after which an agent that could not begin begins again."""


class Messages(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the texts."""

    written: int
    emitted: int
    """Shown to whoever was connected to the gateway."""
    heard: int
    """By agents, each text counted once."""
    replied: int
    """Answers that agents could publish; those of a moment without Redis are lost by them."""
    answered: int
    """Answers that people received, each counted once."""
    lost_in: int
    """Emitted and never heard."""
    lost_out: int
    """Heard, and the answer never received."""
    heard_twice: list[str]
    received_twice: list[str]

    @property
    def duplicates(self) -> int:
        """Texts that somebody got more than once."""
        return len(self.heard_twice) + len(self.received_twice)


class Traffic:
    """Everybody who writes and answers."""

    def __init__(
        self, seed: int, book: Book, gateways: dict[str, Gateway], redis_url: str, agents: Iterable[str]
    ) -> None:
        self.is_flowing = True
        self.heard: Counter[str] = Counter()
        self._dice = random.Random(seed)
        self._book = book
        self._gateways = gateways
        self._agent = EchoAgent(redis_url, agents, reply=self._reply)
        self._emitted: dict[str, bool] = {}

    async def run(self) -> None:
        """Write and answer until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._answer)
            tasks.start_soon(self._write_on)

    async def write(self, declared: Declared) -> str:
        """Let somebody write to a session; the text, empty when its gateway was away."""
        text = f"message {len(self._emitted)} to {declared.id}"
        person = {"id": f"55119{self._dice.randrange(PEOPLE):08}@c.us", "name": "Anna Braga"}
        self._emitted[text] = False
        emitted = await self._gateways[declared.gateway].write(
            {"session": declared.session, "person": person, "text": text}
        )
        if emitted is None:
            del self._emitted[text]
            return ""
        self._emitted[text] = emitted
        return text

    async def count(self) -> Messages:
        """Count what became of everything so far."""
        received = Counter([text for each in self._gateways.values() for text in await each.received()])
        answers = Counter({text.removeprefix("echo: "): number for text, number in received.items()})
        shown = [text for text, emitted in self._emitted.items() if emitted]
        return Messages(
            written=len(self._emitted),
            emitted=len(shown),
            heard=len(self.heard),
            replied=self._agent.answered.total(),
            answered=len(answers),
            lost_in=sum(1 for text in shown if not self.heard[text]),
            lost_out=sum(1 for text in self.heard if not answers[text]),
            heard_twice=[text for text, number in self.heard.items() if number > 1],
            received_twice=[text for text, number in answers.items() if number > 1],
        )

    async def _write_on(self) -> None:
        while True:
            await anyio.sleep(self._dice.uniform(0.5, 1.5) * PAUSE)
            if self.is_flowing and self._book.declared:
                await self.write(self._dice.choice(list(self._book.declared.values())))

    async def _answer(self) -> None:
        while True:
            try:
                await self._agent.run()
            except* (RedisError, OSError):
                await anyio.sleep(AGAIN)

    def _reply(self, text: str) -> str:
        self.heard[text] += 1
        return f"echo: {text}"
