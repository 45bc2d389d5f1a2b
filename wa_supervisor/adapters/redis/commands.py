"""Port `Commands`: a stream with the fields `verb`, `integration_id`, `reason`, `by`, and a key for each answer.

Read from the moment of the first listening on: what was commanded before, perhaps to a daemon that has done it, is not
repeated. Later listenings go on where the last one ended, so that nothing is missed in between. With several daemons
each answers every command; what one has accepted, the refusals of the others do not hide.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import msgspec

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.entries import Entry, read_entries, read_streams
from wa_supervisor.adapters.redis.keys import Keys, to_text
from wa_supervisor.adapters.redis.wire import Wire, as_refusal, open_wire
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.status import CommandResult
from wa_supervisor.engine.ports import Command

_log = logging.getLogger(__name__)


class RedisCommands:
    """The stream of one-off commands."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._address = client.address
        self._policy = client.policy
        self._key = keys.commands
        self._after: str | None = None

    async def listen(self, take: Callable[[Command], None]) -> None:
        """Give every command from now on to `take`, in order, until cancelled. Raises `StoreUnavailableError`."""
        async with open_wire(self._address, self._policy) as wire:
            newest = await self._newest(wire)
            if self._after is None or _order(newest) < _order(self._after):
                self._after = newest  # also when the server lost what it had: its numbers begin anew
            while True:
                for entry in await self._read(wire, self._after):
                    self._after = entry.id
                    command = _command(entry)
                    if command is not None:
                        take(command)

    async def answer(self, result: CommandResult) -> None:
        """Keep the answer. Raises `StoreUnavailableError`; it may then be repeated."""
        ttl = b"%d" % max(1, round(self._policy.answer_ttl * 1000))
        only_if_none = () if result.accepted else (b"NX",)
        answer = msgspec.json.encode(result)
        await self._client.call(b"SET", self._keys.answer(result.id), answer, b"PX", ttl, *only_if_none)

    async def _newest(self, wire: Wire) -> str:
        await wire.send([(b"XREVRANGE", self._key, b"+", b"-", b"COUNT", b"1")])
        entries = read_entries(as_refusal(await self._answer(wire, 0)))
        return entries[0].id if entries else "0-0"

    async def _read(self, wire: Wire, after: str) -> list[Entry]:
        block = self._policy.block
        milliseconds = b"%d" % max(1, round(block * 1000))
        key = self._key
        await wire.send([(b"XREAD", b"BLOCK", milliseconds, b"COUNT", b"100", b"STREAMS", key, after.encode())])
        return read_streams(as_refusal(await self._answer(wire, block))).get(key, [])

    async def _answer(self, wire: Wire, block: float) -> object:
        return await wire.receive(f"reading {to_text(self._key)}", within=block + self._policy.command_timeout)


def _order(entry: str) -> tuple[int, int]:
    time, _, number = entry.partition("-")
    return int(time), int(number or 0)


def _command(entry: Entry) -> Command | None:
    fields: Mapping[bytes, bytes] = entry.fields or {}
    verb, integration = fields.get(b"verb"), fields.get(b"integration_id")
    if not verb:
        _log.warning("left out a command that names no verb", extra={"command": entry.id})
        return None
    return Command(
        id=entry.id,
        verb=to_text(verb),
        integration_id=IntegrationId(to_text(integration)) if integration else None,
        reason=to_text(fields.get(b"reason", b"")),
        by=to_text(fields.get(b"by", b"")),
    )
