"""Port `EventLog`: a stream with one field, `event`, an `Event` as JSON.

A batch is added by one script, which remembers its number for this run of the daemon: one that is repeated because its
answer was lost adds nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.keys import Keys
from wa_supervisor.adapters.redis.scripts import Script
from wa_supervisor.domain.history import Event


class RedisEventLog:
    """The stream of events. Make one for each run of a daemon: its batches are numbered from 1."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._append = Script(client, "append_events")
        self._keys = (keys.events, keys.batch(uuid.uuid4().hex))
        self._limits = (b"%d" % client.policy.events_maxlen, b"%d" % max(1, round(client.policy.batch_ttl)))

    async def append(self, batch: int, events: Sequence[Event]) -> None:
        """Add events, in order, all or none. Raises `StoreUnavailableError`; it may then be repeated."""
        await self._append.call(self._keys, (b"%d" % batch, *self._limits, *map(msgspec.json.encode, events)))
