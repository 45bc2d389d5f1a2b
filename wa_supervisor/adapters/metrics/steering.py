"""What is counted of how the daemon is steered: commands, wishes that were not followed at once, leases, events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from wa_supervisor.adapters.metrics.labels import Words
from wa_supervisor.domain.observations import CommandAnswered, EventsDropped, LeasesChanged, WishGuarded

VERBS = ("restart", "release", "confirm")
"""Commands that there are; a word that is none is counted all the same, for its sender sees it refused."""

_RESULTS = ("accepted", "refused")


class Steering:
    """Commands, the guarded wish, leases and events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._verb = Words(limit=16)
        self._commands = Counter(
            "wa_commands_total", "Commands of operators, by what became of them.", ("verb", "result"), registry=registry
        )
        self._held_back = Gauge(
            "wa_wish_stops_held_back",
            "Sessions that the wish would stop and that wait for the operator's word; 0 when it is followed whole.",
            registry=registry,
        )
        self._guarded = Counter(
            "wa_wish_guarded_total", "Times that a wish shrank by so much that not all was followed.", registry=registry
        )
        self._dropped = Counter(
            "wa_events_dropped_total", "Events that could not be kept until Redis took them.", registry=registry
        )
        self._held = Gauge("wa_leases_held", "Integrations that this daemon has the lease of.", registry=registry)
        self._elsewhere = Gauge("wa_leases_elsewhere", "Wanted integrations that others run.", registry=registry)
        self._is_guarded = False
        for verb in VERBS:
            for result in _RESULTS:
                self._commands.labels(self._verb(verb), result)

    def readers(self) -> Mapping[type, Callable[[Any], None]]:
        """Say what is done with which observation."""
        return {
            CommandAnswered: self._answered,
            WishGuarded: self._guard,
            EventsDropped: self._events_dropped,
            LeasesChanged: self._leases_changed,
        }

    def _answered(self, observed: CommandAnswered) -> None:
        self._commands.labels(self._verb(observed.verb), _RESULTS[not observed.is_accepted]).inc()

    def _guard(self, observed: WishGuarded) -> None:
        before, self._is_guarded = self._is_guarded, observed.held_back > 0
        if self._is_guarded and not before:
            self._guarded.inc()
        self._held_back.set(observed.held_back)

    def _events_dropped(self, observed: EventsDropped) -> None:
        self._dropped.inc(observed.count)

    def _leases_changed(self, observed: LeasesChanged) -> None:
        self._held.set(observed.held)
        self._elsewhere.set(observed.elsewhere)
