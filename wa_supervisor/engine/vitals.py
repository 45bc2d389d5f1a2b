"""A session's signs of life: what came from WhatsApp and when, what should have come and did not.

Messages and acks prove it alive; they are counted by the minute, because people talk in waves and a wave is one sign
that the session is used, not fifty. What to think of it says `wa_supervisor.domain.evidence`.
"""

from __future__ import annotations

import math

import anyio

from wa_supervisor.domain.evidence import Evidence

REMEMBERED = 7200.0
"""Seconds after which a minute of traffic counts half in what is expected: people's habits change within a day."""

KNOWN_AFTER = 600.0
"""Seconds of watching before anything is expected."""

ENOUGH = 5.0
"""Minutes with traffic before anything is expected."""

MINUTE = 60.0


class Vitals:
    """What is known of one session since it was connected: then nothing speaks against it, and nothing is expected."""

    def __init__(self) -> None:
        self.last_proof = -math.inf
        """When something from WhatsApp last proved it alive, by the engine's clock."""
        self.silent_sends = 0
        """Messages since then that WhatsApp did not acknowledge."""
        self.pages_gone = 0
        """Looks in a row that found its page not connected."""
        self.since = anyio.current_time()
        """When it was connected, by the engine's clock."""
        self._counted_at = -math.inf
        self._minutes = 0.0

    def proof(self) -> None:
        """Take a message or an ack."""
        now = anyio.current_time()
        self.last_proof = now
        self.silent_sends = self.pages_gone = 0
        if now - self._counted_at >= MINUTE:
            self._minutes = self._minutes * self._faded(now - self._counted_at) + 1
            self._counted_at = now

    def silent_send(self) -> None:
        """Take that WhatsApp did not acknowledge a message in time."""
        self.silent_sends += 1

    def page(self, *, is_there: bool) -> None:
        """Take what a look at its page found."""
        self.pages_gone = 0 if is_there else self.pages_gone + 1

    def evidence(self) -> Evidence:
        """Give what is known now."""
        now = anyio.current_time()
        return Evidence(
            pages_gone=self.pages_gone,
            silent_sends=self.silent_sends,
            silence=max(now - max(self.last_proof, self.since), 0.0),
            rate=self._rate(),
        )

    def _rate(self) -> float:
        """Minutes with traffic a second, when it was last heard."""
        watched = self._counted_at - self.since
        if watched < KNOWN_AFTER or self._minutes < ENOUGH:
            return 0.0
        return self._minutes / (REMEMBERED / math.log(2) * (1 - self._faded(watched)))

    @staticmethod
    def _faded(seconds: float) -> float:
        return float(0.5 ** (seconds / REMEMBERED))
