"""Claims: who has which session of which gateway. One at a time; the others are rung when it is free again.

A session may move from one integration to another in one change of the wish. The old keeper still drains and closes
then, and the new one must not begin before that is done, or it would be cut off by it.
"""

from __future__ import annotations

from wa_supervisor.domain.wish import Claim
from wa_supervisor.engine.switch import Bell


class Claims:
    """The claims of one daemon's keepers, each known by its bell."""

    def __init__(self) -> None:
        self._holders: dict[Claim, Bell] = {}
        self._waiting: dict[Claim, list[Bell]] = {}

    def take(self, claim: Claim, who: Bell) -> bool:
        """Have the claim if it is free; else say no, and ring `who` when it may be."""
        holder = self._holders.setdefault(claim, who)
        if holder is who:
            return True
        waiting = self._waiting.setdefault(claim, [])
        if who not in waiting:
            waiting.append(who)
        return False

    def give_up(self, claim: Claim, who: Bell) -> None:
        """Let go of the claim; nothing happens if `who` does not have it."""
        if self._holders.get(claim) is who:
            del self._holders[claim]
            for bell in self._waiting.pop(claim, ()):
                bell.ring()
