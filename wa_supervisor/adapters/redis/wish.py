"""Port `Wish`: the hash of desired integrations, and every way of hearing that it changed.

Two bells ring: the server's keyspace notification for the hash, where the server gives any, and a channel of ours that
our own command line rings after writing. Whether the server notifies is asked, and changed if that is allowed, with
each new listening, because a restarted server may have forgotten. A server that does not is no error: `missing` says so
for the operator, and the engine's resync finds every change anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from anyio.lowlevel import checkpoint

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.keys import Keys, keyspace_channel, to_text
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.subscription import Heard, Subscription

_log = logging.getLogger(__name__)

_SETTING = b"notify-keyspace-events"


class RedisWish:
    """The wish hash on one server."""

    def __init__(self, client: RedisClient, keys: Keys, *, may_configure: bool = True) -> None:
        self._client = client
        self._key = keys.integrations
        self._bell = keys.bell
        self._may_configure = may_configure
        channels = [keyspace_channel(client.address.database, self._key), self._bell]
        self._subscription = Subscription(client.address, client.policy, channels)
        self.missing: str | None = None
        """Why a change of the wish may be noticed only at the next resync, if so; known once somebody watches."""

    async def read(self) -> Mapping[str, bytes]:
        """Give the whole hash. Raises `StoreUnavailableError`."""
        flat = cast("Sequence[bytes]", await self._client.call(b"HGETALL", self._key))
        return {to_text(name): record for name, record in zip(flat[::2], flat[1::2], strict=True)}

    async def watch(self, ring: Callable[[], None]) -> None:
        """Ring with every change until cancelled. Raises `StoreUnavailableError`."""
        before, self.missing = self.missing, await self._see_to_notifications()
        if self.missing and self.missing != before:
            _log.warning("changes of the wish are not notified", extra={"why": self.missing})

        async def heard(what: Heard) -> None:
            await checkpoint()
            # Channels are confirmed in the order of their names: with the last one, listening is complete.
            if what.payload is not None or what.channel == self._bell:
                ring()

        await self._subscription.listen(heard)

    async def _see_to_notifications(self) -> str | None:
        wanted = "set the server's notify-keyspace-events to Kh, or more"
        try:
            answer = cast("Sequence[bytes]", await self._client.call(b"CONFIG", b"GET", _SETTING))
            flags = to_text(answer[1]) if answer else ""
            lacking = lacking_flags(flags)
            if not lacking:
                return None
            if not self._may_configure:
                return f"Redis does not notify of changes to the wish; {wanted}"
            await self._client.call(b"CONFIG", b"SET", _SETTING, (flags + lacking).encode())
        except RefusalError as error:
            return f"Redis may not notify of changes to the wish, and does not let us see to it; {wanted} ({error})"
        _log.info("switched keyspace notifications on", extra={"added": lacking})
        return None


def lacking_flags(flags: str) -> str:
    """Say which letters `notify-keyspace-events` lacks so that changes of hashes are published by key."""
    keyspace = "" if "K" in flags else "K"
    hashes = "" if "h" in flags or "A" in flags else "h"
    return keyspace + hashes
