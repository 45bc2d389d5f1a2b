"""Other daemons on the same Redis: what is theirs on the status board is left alone.

Two daemons may follow one wish; each runs what it has the lease of. So a status that another living daemon confirms is
not removed, whatever our own wish says of it, and an announcement is taken back only by the process that made it. A
daemon that has our name as well (two hosts with one configuration file, one unit started twice) is a mistake of the
operator: it harms no session, but each overwrites the other's announcement, and so it is told.

It lives as long as the daemon and wraps the board that the reporter writes to. It deliberately fights nobody and ends
nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.keys import Keys, to_text
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.status import DaemonStatus, LoginOffer, SessionStatus, is_stale
from wa_supervisor.engine.ports import StatusBoard

TellRival = Callable[[DaemonStatus | None], None]
"""Told at every look: a living daemon that has our name, or `None`."""

_T = TypeVar("_T")


class SharedBoard:
    """Port `StatusBoard`, beside other daemons. Raises what the board raises."""

    def __init__(
        self,
        board: StatusBoard,
        client: RedisClient,
        keys: Keys,
        *,
        wall: Callable[[], float],
        tell_rival: TellRival,
    ) -> None:
        self._board = board
        self._client = client
        self._keys = keys
        self._wall = wall
        self._tell_rival = tell_rival
        self._ours: DaemonStatus | None = None
        """What we last began to announce: a cancelled call may have had its effect."""
        self._has_announced = False
        self._rival: DaemonStatus | None = None
        self._rival_until = -math.inf

    async def publish(self, statuses: Sequence[SessionStatus], hub: Mapping[AgentId, Mapping[str, str]]) -> None:
        """Write these; others stay."""
        await self._board.publish(statuses, hub)

    async def keep_only(self, ids: frozenset[IntegrationId], agents: frozenset[AgentId]) -> None:
        """Remove the others, but for those that another living daemon confirms."""
        theirs = await self._confirmed_by_others(ids)
        also = {status.agent_id for status in theirs if status.agent_id is not None}
        await self._board.keep_only(ids | {status.id for status in theirs}, agents | also)

    async def announce(self, daemon: DaemonStatus, ttl: float) -> None:
        """Say that this daemon is alive, and look who else says so under its name."""
        found = await self._announcement(daemon.id)
        if found is not None and not _is_same(found, daemon) and (self._has_announced or _lives_beside(found, daemon)):
            self._rival, self._rival_until = found, self._wall() + ttl
        elif self._wall() >= self._rival_until:
            self._rival = None
        self._tell_rival(self._rival)
        self._ours = daemon
        await self._board.announce(daemon, ttl)
        self._has_announced = True

    async def farewell(self, daemon_id: str) -> None:
        """Take the announcement back if it is ours."""
        found = await self._announcement(daemon_id)
        if found is None or (self._ours is not None and _is_same(found, self._ours)):
            await self._board.farewell(daemon_id)

    async def offer_login(self, integration_id: IntegrationId, offer: LoginOffer | None) -> None:
        """Show or take back what a person needs to log the session in."""
        await self._board.offer_login(integration_id, offer)

    async def _announcement(self, daemon_id: str) -> DaemonStatus | None:
        return _read(await self._client.call(b"GET", self._keys.daemon(daemon_id)), DaemonStatus)

    async def _confirmed_by_others(self, ids: frozenset[IntegrationId]) -> list[SessionStatus]:
        there = cast("Sequence[bytes]", await self._client.call(b"HKEYS", self._keys.status))
        strange = [name for name in there if to_text(name) not in ids]
        if not strange:
            return []
        texts = cast("Sequence[object]", await self._client.call(b"HMGET", self._keys.status, *strange))
        read = [status for text in texts if (status := _read(text, SessionStatus)) is not None]
        fresh = [status for status in read if status.daemon and not is_stale(status, self._wall())]
        alive = await self._alive({status.daemon for status in fresh})
        return [status for status in fresh if (status.daemon, status.pid) in alive]

    async def _alive(self, names: Iterable[str]) -> set[tuple[str, int]]:
        """Give name and process id of those among `names` that are alive and not we."""
        ours = self._ours.id if self._ours else None
        others = sorted(name for name in names if name != ours)
        alive = {(self._rival.id, self._rival.pid)} if self._rival else set()
        if others:
            keys = [self._keys.daemon(name) for name in others]
            texts = cast("Sequence[object]", await self._client.call(b"MGET", *keys))
            read = (_read(text, DaemonStatus) for text in texts)
            alive |= {(daemon.id, daemon.pid) for daemon in read if daemon is not None}
        return alive


def _is_same(one: DaemonStatus, other: DaemonStatus) -> bool:
    return (one.host, one.pid, one.started_at) == (other.host, other.pid, other.started_at)


def _lives_beside(found: DaemonStatus, us: DaemonStatus) -> bool:
    """Whether a process of that id lives on this host. What died without a farewell is a predecessor, and no rival.

    One from elsewhere shows itself when it overwrites our announcement.
    """
    if found.host != us.host or found.pid == us.pid or found.pid <= 0:
        return False
    return Path(f"/proc/{found.pid}").exists()


def _read(text: object, kind: type[_T]) -> _T | None:
    """Read what some daemon wrote; what cannot be read, of another version say, is nobody's word."""
    try:
        return msgspec.json.decode(text, type=kind) if isinstance(text, bytes) else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
