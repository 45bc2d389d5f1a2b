"""The restart budget: how many failures a session has had lately, each counting half after every half-life.

A failure that comes once a day is forgotten before the next; failures that come one upon the other add up. What is
charged can be taken back, because it may turn out later whose fault it was.

Pure: whoever charges says what time it is, in seconds of any clock that only goes forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

HALF_LIVES = 8
"""Half-lives after which a charge weighs less than half a percent and is forgotten."""

MOST = 256
"""Charges that are remembered at most; a score near this is far beyond any limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Failures of one session, or closures of one gate."""

    limit: float
    half_life: float
    charges: tuple[float, ...] = ()
    """When they happened, oldest first."""

    def charged(self, now: float) -> Budget:
        """Give the budget after one more failure."""
        oldest = now - HALF_LIVES * self.half_life
        return replace(self, charges=(*(at for at in self.charges if at > oldest), now)[-MOST:])

    def refunded(self, since: float) -> Budget:
        """Give the budget as if nothing had failed since then."""
        return replace(self, charges=tuple(at for at in self.charges if at < since))

    def score(self, now: float) -> float:
        """Give the failures that still count."""
        return sum(math.pow(0.5, max(now - at, 0.0) / self.half_life) for at in self.charges)

    def is_spent(self, now: float) -> bool:
        """Whether more failed than may."""
        return self.score(now) > self.limit
