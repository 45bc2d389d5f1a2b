"""What an operator does, over Redis as the command line does it: write the wish, give commands, look at the status.

Redis may be away: everything is tried again until it works, within a limit that no fault reaches.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import anyio
import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.benchmarks.chaos.book import Book
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import DaemonStatus, SessionStatus

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds within which Redis must take something; no fault keeps it away for so long."""

AGAIN = 0.2
"""Seconds between two tries."""

ANSWER = 2.0
"""Seconds that one try may take."""


class Operator:
    """One operator, with one book."""

    def __init__(self, url: str, book: Book) -> None:
        self.book = book
        self.wished = anyio.Lock()
        """Held while the wish is written: the hash always is what the book was at some moment."""
        self._redis = redis.asyncio.Redis.from_url(url, socket_timeout=ANSWER, retry=Retry(NoBackoff(), 0))

    async def aclose(self) -> None:
        """Hang up."""
        await self._redis.aclose()

    async def write_wish(self) -> None:
        """Make the hash what the book says."""
        async with self.wished:
            await self._insist(self._write_wish)

    async def command(self, verb: str, name: str) -> None:
        """Give a one-off command."""
        fields: dict[Any, Any] = {"verb": verb, "integration_id": name, "reason": "chaos", "by": "chaos"}
        await self._insist(lambda: self._redis.xadd("wa:commands", fields, maxlen=1000))

    async def statuses(self) -> dict[str, SessionStatus]:
        """Give the status of every integration."""
        found = await self._insist(lambda: cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall("wa:status")))
        return {name.decode(): msgspec.json.decode(data, type=SessionStatus) for name, data in found.items()}

    async def daemon(self) -> DaemonStatus | None:
        """Give what the living daemon tells about itself."""
        data = await self._insist(lambda: self._redis.get("wa:daemon:chaos"))
        return None if data is None else msgspec.json.decode(data, type=DaemonStatus)

    async def dead_letters(self) -> int:
        """Give how many replies could not be delivered."""
        return await self._insist(lambda: self._redis.xlen("wa:dead"))

    async def now(self) -> float:
        """Give the wall clock, seconds since the epoch, as the server has it, which is this machine."""
        seconds, micros = await self._insist(self._redis.time)
        return float(seconds) + float(micros) / 1e6

    async def release(self, names: list[str]) -> None:
        """Release those of `names` that are quarantined, once."""
        found = await self.statuses()
        for name in names:
            if name in found and found[name].state is State.QUARANTINED:
                await self.command("release", name)

    async def _write_wish(self) -> None:
        wish = self.book.wish()
        async with self._redis.pipeline(transaction=True) as together:
            together.delete("wa:integrations")
            if wish:
                together.hset("wa:integrations", mapping=cast("dict[Any, Any]", wish))
            together.publish("wa:bell", "written")
            await together.execute()

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    return await work()
                except (RedisError, OSError):
                    await anyio.sleep(AGAIN)
