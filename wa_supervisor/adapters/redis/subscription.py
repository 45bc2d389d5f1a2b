"""Listening on channels: a connection of its own, level-based, and honest about its end.

Say at any time which channels are wanted; the difference is subscribed and unsubscribed. The library's own PubSub
reconnects and subscribes again behind one's back, so that nobody learns of what was missed; here a lost connection ends
the listening with `StoreUnavailableError`, and whoever listens again looks at everything again.

A connection that died silently is noticed: every `ping_interval` a ping is sent, and what was said to the one before
must have arrived. While the listener itself is busy with a message, it is not the server that is silent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import anyio

from wa_supervisor.adapters.redis.address import RedisAddress
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.together import run_together
from wa_supervisor.adapters.redis.wire import Wire, as_refusal, open_wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Something on a channel."""

    channel: bytes
    payload: bytes | None = field(repr=False)
    """`None`: listening on this channel begins now."""


class Subscription:
    """The channels that are wanted, over the connections that come and go."""

    def __init__(self, address: RedisAddress, policy: RedisPolicy, channels: Iterable[bytes] = ()) -> None:
        self._address = address
        self._policy = policy
        self._wanted = frozenset(channels)
        self._changed = anyio.Event()

    def want(self, channels: Iterable[bytes]) -> None:
        """Listen to exactly these from now on."""
        self._wanted = frozenset(channels)
        self._changed.set()

    async def listen(self, take: Callable[[Heard], Awaitable[None]]) -> None:
        """Give everything that is heard to `take`, in order, until cancelled. Raises `StoreUnavailableError`."""
        async with open_wire(self._address, self._policy) as wire:
            ear = _Ear(wire, take)
            await run_together(ear.hear, lambda: self._speak(wire, ear))

    async def _speak(self, wire: Wire, ear: _Ear) -> None:
        subscribed: frozenset[bytes] = frozenset()
        asked_at: float | None = None
        while True:
            wanted, self._changed = self._wanted, anyio.Event()
            await self._send(wire, b"UNSUBSCRIBE", sorted(subscribed - wanted))
            await self._send(wire, b"SUBSCRIBE", sorted(wanted - subscribed))
            subscribed = wanted
            with anyio.move_on_after(self._policy.ping_interval) as waited:
                await self._changed.wait()
            if waited.cancelled_caught:
                ear.check(asked_at, self._policy.ping_interval)
                asked_at = anyio.current_time()
                await wire.send([(b"PING",)])

    async def _send(self, wire: Wire, verb: bytes, channels: Sequence[bytes]) -> None:
        for start in range(0, len(channels), self._policy.batch):
            await wire.send([(verb, *channels[start : start + self._policy.batch])])


class _Ear:
    """Reads what comes in, and knows since when it has been waiting for anything to come."""

    def __init__(self, wire: Wire, take: Callable[[Heard], Awaitable[None]]) -> None:
        self._wire = wire
        self._take = take
        self._waiting_since: float | None = None

    async def hear(self) -> None:
        while True:
            self._waiting_since = anyio.current_time()
            answer = as_refusal(await self._wire.receive("listening on channels", within=None))
            self._waiting_since = None
            heard = _read(answer)
            if heard is not None:
                await self._take(heard)

    def check(self, asked_at: float | None, within: float) -> None:
        """Raise if it has been waiting in vain since the server was last asked for a sign of life."""
        if asked_at is not None and self._waiting_since is not None and self._waiting_since < asked_at:
            raise self._wire.server.silent("listening on channels", within)


def _read(answer: object) -> Heard | None:
    words = cast("Sequence[bytes]", answer)
    if words[0] == b"message":
        return Heard(channel=words[1], payload=words[2])
    if words[0] == b"subscribe":
        return Heard(channel=words[1], payload=None)
    return None  # an unsubscription or an answer to a ping
