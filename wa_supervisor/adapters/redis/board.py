"""Port `StatusBoard`: how things are, for operators, for the hub and for the next daemon.

Of the hub's hashes only those are ever removed that we wrote; a set remembers their agents. Fields of a hash cannot
expire on the oldest server that is supported, so every status carries its own ttl, and its reader compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from wa_supervisor.adapters.redis import keys as names
from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.keys import Keys, to_bytes, to_text
from wa_supervisor.adapters.redis.packing import Command
from wa_supervisor.adapters.redis.wire import as_refusal
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.status import DaemonStatus, LoginOffer, SessionStatus


class RedisStatusBoard:
    """The status hash, the hub's hashes, announcements and login offers. All raise `StoreUnavailableError`."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._policy = client.policy

    async def publish(self, statuses: Sequence[SessionStatus], hub: Mapping[AgentId, Mapping[str, str]]) -> None:
        """Write these; others stay."""
        commands: list[Command] = []
        if statuses:
            pairs = [word for status in statuses for word in (to_bytes(status.id), msgspec.json.encode(status))]
            commands.append((b"HSET", self._keys.status, *pairs))
        if hub:
            commands.append((b"SADD", self._keys.hub_agents, *map(to_bytes, hub)))
        for agent_id, fields in hub.items():
            key = names.hub_status(agent_id)
            words = [to_bytes(word) for pair in fields.items() for word in pair]
            if not words:
                continue
            commands += [(b"HSET", key, *words), (b"PEXPIRE", key, _milliseconds(self._policy.hub_ttl))]
        await self._do(commands)

    async def keep_only(self, ids: frozenset[IntegrationId], agents: frozenset[AgentId]) -> None:
        """Remove the statuses and login offers of other integrations, and what we wrote for other agents."""
        answers = await self._do([(b"HKEYS", self._keys.status), (b"SMEMBERS", self._keys.hub_agents)])
        there, written = (cast("Sequence[bytes]", answer) for answer in answers)
        gone = [name for name in there if to_text(name) not in ids]
        gone_agents = [name for name in written if to_text(name) not in agents]
        commands: list[Command] = []
        if gone:
            logins = [self._keys.login(IntegrationId(to_text(name))) for name in gone]
            commands += [(b"HDEL", self._keys.status, *gone), (b"DEL", *logins)]
        if gone_agents:
            hashes = [names.hub_status(AgentId(to_text(name))) for name in gone_agents]
            # Forgotten after they were removed: a failure in between leaves nothing behind for ever.
            commands += [(b"DEL", *hashes), (b"SREM", self._keys.hub_agents, *gone_agents)]
        await self._do(commands)

    async def announce(self, daemon: DaemonStatus, ttl: float) -> None:
        """Say that this daemon is alive, and forget those that no longer are."""
        key, everybody = self._keys.daemon(daemon.id), self._keys.daemons
        answers = await self._do(
            [
                (b"SET", key, msgspec.json.encode(daemon), b"PX", _milliseconds(ttl)),
                (b"SADD", everybody, to_bytes(daemon.id)),
                (b"SMEMBERS", everybody),
            ]
        )
        others = [name for name in cast("Sequence[bytes]", answers[2]) if to_text(name) != daemon.id]
        alive = await self._do([(b"EXISTS", self._keys.daemon(to_text(name))) for name in others])
        dead = [name for name, is_alive in zip(others, alive, strict=True) if not is_alive]
        if dead:
            await self._do([(b"SREM", everybody, *dead)])

    async def farewell(self, daemon_id: str) -> None:
        """Take the announcement back."""
        await self._do([(b"DEL", self._keys.daemon(daemon_id)), (b"SREM", self._keys.daemons, to_bytes(daemon_id))])

    async def offer_login(self, integration_id: IntegrationId, offer: LoginOffer | None) -> None:
        """Show or take back what a person needs to log the session in."""
        key = self._keys.login(integration_id)
        if offer is None:
            await self._client.call(b"DEL", key)
        else:
            ttl = _milliseconds(self._policy.login_ttl)
            await self._client.call(b"SET", key, msgspec.json.encode(offer), b"PX", ttl)

    async def _do(self, commands: Sequence[Command]) -> list[object]:
        return [as_refusal(answer) for answer in await self._client.call_all(commands)]


def _milliseconds(seconds: float) -> bytes:
    return b"%d" % max(1, round(seconds * 1000))
