"""Lua scripts on a server: called by digest, sent whole where the server does not know them (any more)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.lua import read_script
from wa_supervisor.adapters.redis.packing import Command
from wa_supervisor.adapters.redis.refusals import RefusalError


class Script:
    """One script on one server."""

    def __init__(self, client: RedisClient, name: str) -> None:
        self._client = client
        self._text = read_script(name)
        self._digest = hashlib.sha1(self._text, usedforsecurity=False).hexdigest().encode()

    async def call(self, keys: Sequence[bytes], arguments: Sequence[bytes]) -> object:
        """Run it. Raises `StoreUnavailableError`; a `RefusalError` names the first key."""
        try:
            return await self._client.call(*_command(b"EVALSHA", self._digest, keys, arguments))
        except RefusalError as error:
            if error.code != "NOSCRIPT":
                raise
        return await self._client.call(*_command(b"EVAL", self._text, keys, arguments))


def _command(verb: bytes, script: bytes, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Command:
    return (verb, script, b"%d" % len(keys), *keys, *arguments)
