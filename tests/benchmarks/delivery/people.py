"""People who write to every session: directly, in groups, and from privacy ids.

Each text is written once in a run and begins with its number. Several people write at the same time, each on his own
dice; who wrote when is in the ledgers, whatever this program believes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio
import httpx

from tests.benchmarks.chaos.stage import Gateway

CHATS = 6
"""Chats of each session: four people, a group, and a privacy id."""

WRITERS = 4
"""Who write to one gateway at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One session: who answers for it, and where it is."""

    session: str
    agent: str
    gateway: str
    index: int

    def body(self, chat: int, text: str) -> dict[str, object]:
        """Give what somebody in one of its chats writes, as the control interface takes it."""
        person: dict[str, object] = {"id": f"55119{self.index:04}{chat:04}@c.us", "name": "Anna Braga"}
        body: dict[str, object] = {"session": self.session, "person": person, "text": text}
        if chat == CHATS - 2:
            body["group"] = f"1203630{self.index:05}{chat:06}@g.us"
        elif chat == CHATS - 1:
            person |= {"id": f"1234{self.index:05}{chat:06}@lid", "phone": f"55118{self.index:04}{chat:04}@c.us"}
        return body


class People:
    """Everybody who writes."""

    def __init__(self, seed: int, numbers: Sequence[Number], gateways: Mapping[str, Gateway], rate: float) -> None:
        """`rate`: messages a second, all together."""
        self.is_writing = False
        self.unwritten = 0
        """Tries of which the gateway said nothing; the ledger knows."""
        self._seed = seed
        self._numbers = numbers
        self._gateways = gateways
        self._rate = rate
        self._count = 0
        self._writing = 0

    async def run(self) -> None:
        """Write until cancelled, while it is wanted."""
        async with anyio.create_task_group() as tasks:
            for gateway in self._gateways.values():
                for writer in range(WRITERS):
                    tasks.start_soon(self._write, gateway, random.Random(f"{self._seed} {gateway.name} {writer}"))

    async def stop(self) -> None:
        """Write no more; wait for what is being written."""
        self.is_writing = False
        while self._writing:  # noqa: ASYNC110  # milliseconds
            await anyio.sleep(0.01)

    async def _write(self, gateway: Gateway, dice: random.Random) -> None:
        numbers = [each for each in self._numbers if each.gateway == gateway.name]
        each_rate = self._rate * len(numbers) / len(self._numbers) / WRITERS
        while numbers:
            await anyio.sleep(dice.expovariate(each_rate))
            if self.is_writing:
                self._writing += 1
                try:
                    await self._write_one(gateway, dice.choice(numbers), dice.randrange(CHATS))
                finally:
                    self._writing -= 1

    async def _write_one(self, gateway: Gateway, number: Number, chat: int) -> None:
        self._count += 1
        try:
            done = await gateway.write(number.body(chat, f"n{self._count:06} to {number.session}"))
        except httpx.HTTPStatusError:
            done = None
        self.unwritten += done is None
