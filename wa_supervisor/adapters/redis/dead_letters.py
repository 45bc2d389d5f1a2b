"""Port `DeadLetters`: a stream with one field, `letter`, a `DeadLetter` as JSON."""

from __future__ import annotations

import msgspec

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.keys import Keys
from wa_supervisor.domain.dead_letters import DeadLetter


class RedisDeadLetters:
    """The stream of what could not be delivered."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._key = keys.dead
        self._maxlen = b"%d" % client.policy.dead_maxlen

    async def bury(self, letter: DeadLetter) -> None:
        """Keep one letter; the oldest go when there are too many. Raises `StoreUnavailableError`."""
        encoded = msgspec.json.encode(letter)
        await self._client.call(b"XADD", self._key, b"MAXLEN", b"~", self._maxlen, b"*", b"letter", encoded)
