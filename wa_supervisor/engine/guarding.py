"""Guarding: what a wish that lost much at once may stop, told to whom it concerns.

The decision is the domain's (`wa_supervisor.domain.guard`); here is what it remembers between two rounds, and the words
for it: one for the observer whenever what is held back changes, and a notice for each session that is. What it does not
do: stop anything, or read the wish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from wa_supervisor.domain.guard import Allowance, Guard, Verdict, find_losses, judge, running
from wa_supervisor.domain.integration import InvalidIntegration
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.observations import Observer, WishGuarded
from wa_supervisor.domain.plan import Plan, Wanted
from wa_supervisor.domain.wish import Wish
from wa_supervisor.engine.policies import SupervisorPolicy

SOONEST = 1.0
"""Seconds after which one stop may be forgotten at the soonest, however short the second look is."""

CONFIRM = "wa-supervisor apply --confirm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the wish found."""

    wish: Wish
    plan: Plan
    present: Mapping[IntegrationId, Wanted]
    gateways: frozenset[GatewayName]
    """Those that are configured."""
    at: float
    """Seconds since the epoch."""


class Guarding:
    """Holds back what a sudden loss would stop."""

    def __init__(self, policy: SupervisorPolicy, observe: Observer) -> None:
        self.notices: Mapping[IntegrationId, str] = {}
        """What each session that is held back says of it."""
        self._allowance = Allowance(
            share=policy.shrink_share, least=policy.shrink_least, forget=max(policy.shrink_look, SOONEST)
        )
        self._observe = observe
        self._guard = Guard()

    def __repr__(self) -> str:
        return f"<Guarding {len(self._guard.held)} held back>"

    def doubts(self, look: Look) -> bool:
        """Whether so much is lost at once that the wish is to be read again before anything is done."""
        return self._judge(look, is_second_look=False).reads_again

    def weigh(self, look: Look) -> Plan:
        """Give what of the plan may be done."""
        before, self._guard = self._guard, self._judge(look, is_second_look=True).guard
        if self._guard.held != before.held:
            self._tell(look.wish)
        return look.plan.without(self._guard.held)

    def confirm(self) -> int:
        """Give up what is held back now; say how many sessions that is."""
        self._guard = self._guard.confirm()
        return len(self._guard.held)

    def _judge(self, look: Look, *, is_second_look: bool) -> Verdict:
        runs = running(look.present, look.gateways, look.at)
        return judge(
            self._guard,
            losses=find_losses(look.plan, runs, look.wish),
            runs=len(runs),
            allowance=self._allowance,
            now=anyio.current_time(),
            is_second_look=is_second_look,
        )

    def _tell(self, wish: Wish) -> None:
        guard = self._guard
        self.notices = {name: _notice(wish.invalid.get(name), guard.lost - 1) for name in guard.held}
        message = (
            f"the wish lost {guard.lost} of {guard.baseline} sessions at once: {guard.lost - len(guard.held)} are "
            f"stopped, {len(guard.held)} go on until: {CONFIRM}"
            if guard.held
            else "nothing is held back any more"
        )
        self._observe(WishGuarded(stops_wanted=guard.lost, held_back=len(guard.held), message=message))


def _notice(unreadable: InvalidIntegration | None, others: int) -> str:
    if unreadable is None:
        return f"removed from the wish together with {others} others; goes on until: {CONFIRM}"
    return (
        f"its record can no longer be read ({unreadable.message}), lost together with {others} others; "
        f"goes on as before until: {CONFIRM}"
    )
