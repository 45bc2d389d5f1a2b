"""Reconcile: what is wanted and what is there become a plan. Pure, so that a round is one test.

Level, not edge: the plan is made from the whole wish every time; which notification woke the loop does not matter.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.wish import Wish

Wanted = Integration | InvalidIntegration


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one round changes, in the order in which it must be done: stops, then changes, then starts."""

    remove: tuple[IntegrationId, ...] = ()
    change: tuple[Wanted, ...] = ()
    add: tuple[Wanted, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.remove or self.change or self.add)

    @property
    def size(self) -> int:
        """How many integrations it is about."""
        return len(self.remove) + len(self.change) + len(self.add)

    def without(self, held: Container[IntegrationId]) -> Plan:
        """Give the plan that leaves what is `held` back as it is."""
        return Plan(
            remove=tuple(name for name in self.remove if name not in held),
            change=tuple(wanted for wanted in self.change if wanted.id not in held),
            add=self.add,
        )


def make_plan(wish: Wish, present: Mapping[IntegrationId, Wanted]) -> Plan:
    """Compare the wish with what each present integration follows now."""
    wanted: dict[IntegrationId, Wanted] = {**wish.integrations, **wish.invalid}
    return Plan(
        remove=tuple(sorted(name for name in present if name not in wanted)),
        change=tuple(wanted[name] for name in sorted(present) if name in wanted and wanted[name] != present[name]),
        add=tuple(wanted[name] for name in sorted(wanted) if name not in present),
    )
