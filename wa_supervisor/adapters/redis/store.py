"""Everything a daemon needs of Redis, over one connection for calls and one for each listening."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from wa_supervisor.adapters.redis.address import RedisAddress
from wa_supervisor.adapters.redis.board import RedisStatusBoard
from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.commands import RedisCommands
from wa_supervisor.adapters.redis.dead_letters import RedisDeadLetters
from wa_supervisor.adapters.redis.events import RedisEventLog
from wa_supervisor.adapters.redis.inbox import RedisAgentInbox
from wa_supervisor.adapters.redis.keys import Keys, to_text
from wa_supervisor.adapters.redis.leases import RedisLeases
from wa_supervisor.adapters.redis.outbox import RedisAgentOutbox
from wa_supervisor.adapters.redis.persistence import Persistence, read_persistence
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.receipts import RedisReceipts
from wa_supervisor.adapters.redis.wish import RedisWish


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStore:
    """The ports that Redis implements."""

    client: RedisClient
    wish: RedisWish
    inbox: RedisAgentInbox
    outbox: RedisAgentOutbox
    commands: RedisCommands
    events: RedisEventLog
    board: RedisStatusBoard
    dead_letters: RedisDeadLetters
    receipts: RedisReceipts
    leases: RedisLeases

    async def persistence(self) -> Persistence:
        """Ask what the server may forget. Raises `StoreUnavailableError`."""
        names = ("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy")
        *answers, info = await self.client.call_all(
            [*((b"CONFIG", b"GET", name.encode()) for name in names), (b"INFO", b"persistence")]
        )
        config: dict[str, str] = {}
        for answer in answers:
            if isinstance(answer, list) and len(answer) == 2:
                config[to_text(answer[0])] = to_text(answer[1])
        return read_persistence(config, to_text(info) if isinstance(info, bytes) else "")

    async def ping(self) -> None:
        """Ask for a sign of life. Raises `StoreUnavailableError`, which tells an operator what to do."""
        await self.client.call(b"PING")


@asynccontextmanager
async def open_store(
    address: RedisAddress,
    *,
    daemon_id: str,
    keys: Keys | None = None,
    policy: RedisPolicy | None = None,
    may_configure: bool = True,
) -> AsyncIterator[RedisStore]:
    """Give the ports, which work until the end of the block; nothing is connected before the first call.

    `daemon_id` names this daemon among those that share the server and should stay the same over restarts: by it the
    daemon finds the replies again that it had taken up. `may_configure` allows switching keyspace notifications on.
    Raises `ConfigurationError` for a URL that is none.
    """
    keys = keys or Keys()
    client = RedisClient(address, policy or RedisPolicy())
    async with anyio.create_task_group() as group:
        group.start_soon(client.run)
        yield RedisStore(
            client=client,
            wish=RedisWish(client, keys, may_configure=may_configure),
            inbox=RedisAgentInbox(client, keys),
            outbox=RedisAgentOutbox(client, keys, daemon_id),
            commands=RedisCommands(client, keys),
            events=RedisEventLog(client, keys),
            board=RedisStatusBoard(client, keys),
            dead_letters=RedisDeadLetters(client, keys),
            receipts=RedisReceipts(client, keys),
            leases=RedisLeases(client, keys, daemon_id=daemon_id, instance=secrets.token_hex(8)),
        )
        group.cancel_scope.cancel()
