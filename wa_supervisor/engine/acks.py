"""WhatsApp's acks for the messages that we sent, by stanza.

An ack may come before the gateway's answer to the send, or after, or never; it names no session. So the last ones are
remembered for a while (bounded), and whoever sent a message can ask for its ack or wait for it.

What it does not do: decide what a missing ack means.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import anyio

from wa_supervisor.domain.names import StanzaId

REMEMBERED = 4096
"""Acks of one gateway that are remembered: minutes of a busy gateway, far more than an answer is late."""

PENDING = 0
"""WhatsApp's ack for a message that its servers do not have yet: no news."""


class Acks:
    """Acks of one gateway."""

    def __init__(self) -> None:
        self._seen: OrderedDict[StanzaId, int] = OrderedDict()
        self._waiting: dict[StanzaId, anyio.Event] = {}
        self._senders: OrderedDict[StanzaId, Callable[[], None]] = OrderedDict()

    def sent_by(self, stanza: StanzaId, is_alive: Callable[[], None]) -> None:
        """Remember whose message this is: an ack for it proves that its session lives."""
        self._senders[stanza] = is_alive
        if len(self._senders) > REMEMBERED:
            self._senders.popitem(last=False)

    def of(self, stanza: StanzaId) -> int:
        """Give the ack that is known of a message; 0 if none is."""
        return self._seen.get(stanza, PENDING)

    def is_sent(self, stanza: StanzaId) -> bool:
        """Whether a message is known to be one that we sent."""
        return stanza in self._senders

    def take(self, stanza: StanzaId, ack: int) -> bool:
        """Take an ack; say whether it is for a message of ours."""
        self._remember(stanza, ack)
        if ack != PENDING and stanza in self._waiting:
            self._waiting[stanza].set()
        is_alive = self._senders.get(stanza)
        if is_alive is not None and ack > PENDING:
            is_alive()
        return is_alive is not None

    async def wait(self, stanza: StanzaId, seconds: float) -> int | None:
        """Give the ack of a sent message that is not pending any more; `None` if it did not come in time."""
        if self._seen.get(stanza, PENDING) == PENDING:
            waiter = self._waiting.setdefault(stanza, anyio.Event())
            try:
                with anyio.move_on_after(seconds):
                    await waiter.wait()
            finally:
                self._waiting.pop(stanza, None)
        ack = self._seen.get(stanza, PENDING)
        return ack if ack != PENDING else None

    def _remember(self, stanza: StanzaId, ack: int) -> None:
        known = self._seen.get(stanza, PENDING)
        # An error is news after "pending", and the highest of the others counts, in whatever order they come.
        self._seen[stanza] = max(known, ack) if known and ack else known or ack
        self._seen.move_to_end(stanza)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
