"""The guard of the wish: a wish that loses much at once is not followed at once.

A hash that was emptied, deleted or overwritten by mistake looks like the wish of an operator who wants nothing to run.
So stops are counted. A stop is a session that ran, as far as its record went (readable, not paused, its gateway
configured), and is no longer declared or can no longer be read; one whose gateway and session another record now names
was renamed and is not lost. A pause is the operator's explicit word and never counts.

Stops are counted in episodes. An episode may make as many as a share of what ran before it began, and always a few. A
round that asks for more is read again after a moment, and only then are any made; the rest is held back and goes on as
it was, until the operator confirms exactly that, or until it is declared again.

One after the other is no episode: the count falls by one every `forget` seconds while nothing is held back, and at none
the episode is over and the next one measures anew what runs. Whoever removes sessions by hand, one every few seconds,
is never held up; a loop that empties the hash field by field is. While something is held back nothing is forgotten, or
an emptied hash would bleed to death slowly.

Nothing here knows a clock or remembers anything: `judge` takes what is remembered and gives what to remember.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.plan import Plan, Wanted
from wa_supervisor.domain.wish import Wish

NOBODY: frozenset[IntegrationId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How many stops an episode may make."""

    share: float
    """Of what ran before the episode."""
    least: int
    """It may always make so many."""
    forget: float
    """Seconds after which one stop counts no more."""

    def of(self, baseline: int) -> int:
        """Give the stops for an episode before which `baseline` sessions ran."""
        return max(self.least, math.floor(self.share * baseline))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What is remembered from one round to the next."""

    baseline: int = 0
    """Sessions that ran before the episode."""
    spent: float = 0.0
    """Stops that it made, as far as they are not forgotten."""
    at: float = 0.0
    """When they were counted; seconds of any steady clock."""
    held: frozenset[IntegrationId] = NOBODY
    """What the wish no longer has, and what goes on all the same."""
    confirmed: frozenset[IntegrationId] = NOBODY
    """What of it the operator gave up."""

    @property
    def lost(self) -> int:
        """Sessions that the wish lost in this episode."""
        return math.ceil(self.spent) + len(self.held)

    def confirm(self) -> Guard:
        """Give up what is held back now, and nothing that is lost later."""
        return replace(self, confirmed=self.held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What of a round may be done."""

    guard: Guard
    """To be remembered."""
    reads_again: bool
    """Nothing may be done yet: the wish must be read again first."""

    @property
    def held(self) -> frozenset[IntegrationId]:
        """What goes on as it was."""
        return self.guard.held


def running(
    present: Mapping[IntegrationId, Wanted], gateways: frozenset[GatewayName], now: float
) -> dict[IntegrationId, Integration]:
    """Give what runs, as far as its record goes; `now` is seconds since the epoch."""
    return {
        name: wanted
        for name, wanted in present.items()
        if isinstance(wanted, Integration) and not wanted.is_paused(now) and wanted.gateway in gateways
    }


def find_losses(plan: Plan, runs: Mapping[IntegrationId, Integration], wish: Wish) -> frozenset[IntegrationId]:
    """Give what of `runs` the plan stops because the wish lost it."""
    renamed = {integration.claim for integration in wish.integrations.values()}
    gone = {*plan.remove, *(wanted.id for wanted in plan.change if isinstance(wanted, InvalidIntegration))}
    return frozenset(name for name in gone if name in runs and runs[name].claim not in renamed)


def judge(
    before: Guard,
    *,
    losses: frozenset[IntegrationId],
    runs: int,
    allowance: Allowance,
    now: float,
    is_second_look: bool,
) -> Verdict:
    """Say which of `losses` may be stopped, `runs` sessions running; `now` is on the clock of `Guard.at`.

    Those that may not are the verdict's `held`; which ones is decided by their ids, so that it stays so.
    """
    guard = _remembered(before, runs, allowance, now)
    asked = losses - before.confirmed
    room = max(0, allowance.of(guard.baseline) - math.ceil(guard.spent))
    if len(asked) > room and not asked <= before.held and not is_second_look:
        return Verdict(guard=before, reads_again=True)
    # What is held stays held: there is no room as long as something is.
    made = frozenset(sorted(asked)[:room])
    held = asked - made
    spent = guard.spent + len(made)
    if before.confirmed and not held:
        spent = 0.0
    return Verdict(guard=replace(guard, spent=spent, held=held, confirmed=NOBODY), reads_again=False)


def _remembered(before: Guard, runs: int, allowance: Allowance, now: float) -> Guard:
    """Give what is left of an episode, or the beginning of one."""
    spent = before.spent if before.held else max(0.0, before.spent - (now - before.at) / allowance.forget)
    baseline = before.baseline if spent or before.held else runs
    return replace(before, baseline=baseline, spent=spent, at=now)
