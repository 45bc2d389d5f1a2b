"""What the suites of the Redis ports share: the two sides, a store on the test's server, and waiting for a state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import anyio

from wa_supervisor.adapters.redis.address import read_address
from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.store import RedisStore, open_store

KINDS = [("fake", "asyncio"), ("fake", "trio"), ("redis", "asyncio")]
"""Which implementation runs on which loop; redis-py knows asyncio only."""

SOON = 20.0
"""Seconds after which something that does not happen is a failure; a busy machine needs a fraction of one."""

FAST = RedisPolicy(sweep=0.02, tidy=0.02, claim_after=0.001, block=0.5)
"""A daemon that looks again so soon that a test need not wait, and takes over from the dead at once."""


@asynccontextmanager
async def real_store(url: str, daemon_id: str = "one", policy: RedisPolicy = FAST) -> AsyncIterator[RedisStore]:
    """Give a daemon's store on the test's server."""
    async with open_store(read_address(url), daemon_id=daemon_id, policy=policy) as store:
        yield store


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds that only asking can tell."""
    with anyio.fail_after(SOON):
        while not await holds():  # noqa: ASYNC110 - the server does not say when
            await anyio.sleep(0.005)


async def clients(client: RedisClient, what: str) -> list[int]:
    """Give the server's numbers of the connections whose description contains `what`."""
    answer = cast("bytes", await client.call(b"CLIENT", b"LIST")).decode()
    rows = [dict(word.split("=", 1) for word in line.split()) for line in answer.splitlines() if what in line]
    return [int(row["id"]) for row in rows]


async def hang_up(client: RedisClient, what: str) -> None:
    """Cut those connections off, as a failing server or network does."""
    for number in await clients(client, what):
        await client.call(b"CLIENT", b"KILL", b"ID", b"%d" % number)
