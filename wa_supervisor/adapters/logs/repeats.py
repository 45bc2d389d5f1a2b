"""The same trouble again and again: retries, of which a log wants the first and now and then how many there were."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

MOST_KNOWN = 1000
"""Troubles that are remembered at once; beyond that the oldest are told anew, which is a line too many."""


@dataclass(slots=True)
class _Known:
    told_at: float
    untold: int = 0


class Repeats:
    """Remembers what was told; `quiet` seconds must pass before the same is told again."""

    def __init__(self, monotonic: Callable[[], float], quiet: float) -> None:
        self._monotonic = monotonic
        self._quiet = quiet
        self._known: dict[Hashable, _Known] = {}

    def to_tell(self, what: Hashable) -> int | None:
        """Give how often `what` happened since it was last told, now included; `None`: it was told just now."""
        now = self._monotonic()
        known = self._known.get(what)
        if known is not None and now - known.told_at < self._quiet:
            known.untold += 1
            return None
        count = 1 + (known.untold if known is not None else 0)
        self._known.pop(what, None)
        self._known[what] = _Known(told_at=now)
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return count
