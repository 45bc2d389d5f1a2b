"""What is counted of the daemon's own work: reconciling, sessions' transitions, troubles, stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from wa_supervisor.adapters.metrics.labels import Words
from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.domain.lifecycle import Cause, State
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import Abandoned, Reconciled, SessionMoved, Trouble

RECONCILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: ten thousand records are read and compared in some 20 ms."""

ABANDONED = ("session", "closing", "messages_in")
"""What is known to be abandoned at the deadline of a stop: parts of a session, the closing of one that is no longer
wanted, messages on their way to an agent."""

_FAILURES = frozenset({Cause.FAILED, Cause.GIVE_UP})


class Upkeep:
    """Rounds, transitions, troubles and what was abandoned."""

    def __init__(self, registry: CollectorRegistry, gateways: Iterable[GatewayName], wall: Callable[[], float]) -> None:
        self._wall = wall
        self._reason, self._where, self._what = Words(), Words(), Words()
        self._define_rounds(registry)
        self._define_happenings(registry)
        for gateway in gateways:
            for state in State:
                self._moves.labels(gateway, state.value)
            for reason in _reasons(WaSupervisorError):
                self._failures.labels(gateway, self._reason(reason))
        for outcome in ("success", "error"):
            self._rounds.labels(outcome)
        for what in ABANDONED:
            self._abandoned.labels(self._what(what))

    def _define_rounds(self, registry: CollectorRegistry) -> None:
        self._rounds = Counter(
            "wa_reconcile_rounds_total",
            "Comparisons of the wish with what is there, by outcome.",
            ("outcome",),
            registry=registry,
        )
        self._seconds = Histogram(
            "wa_reconcile_duration_seconds",
            "Time that one round took.",
            buckets=RECONCILE_BUCKETS,
            registry=registry,
        )
        self._last = Gauge(
            "wa_reconcile_last_success_timestamp_seconds",
            "When a round last succeeded; 0 before the first.",
            registry=registry,
        )
        self._changes = Counter(
            "wa_reconcile_changes_total", "Integrations added, changed or removed by rounds.", registry=registry
        )
        self._desired = Gauge(
            "wa_sessions_desired", "Integrations in the wish that can be followed.", registry=registry
        )
        self._invalid = Gauge(
            "wa_integrations_invalid", "Integrations in the wish whose record cannot be followed.", registry=registry
        )

    def _define_happenings(self, registry: CollectorRegistry) -> None:
        self._moves = Counter(
            "wa_session_transitions_total",
            "Steps of sessions' lives, by the state they led to.",
            ("gateway", "state"),
            registry=registry,
        )
        self._failures = Counter(
            "wa_session_failures_total",
            "Failed attempts to bring or keep a session up, by reason.",
            ("gateway", "reason"),
            registry=registry,
        )
        self._troubles = Counter(
            "wa_troubles_total", "What went wrong without showing in a state, by place.", ("where",), registry=registry
        )
        self._abandoned = Counter(
            "wa_drain_abandoned_total",
            "Pieces of work that did not end within the deadline of a stop.",
            ("what",),
            registry=registry,
        )

    def readers(self) -> Mapping[type, Callable[[Any], None]]:
        """Say what is done with which observation."""
        return {
            Reconciled: self._reconciled,
            SessionMoved: self._moved,
            Trouble: self._trouble,
            Abandoned: self._left_behind,
        }

    def _reconciled(self, observed: Reconciled) -> None:
        self._seconds.observe(observed.seconds)
        if observed.error is not None:
            # What runs goes on with the last known wish, and so do the gauges.
            self._rounds.labels("error").inc()
            return
        self._rounds.labels("success").inc()
        self._last.set(self._wall())
        self._changes.inc(observed.changed)
        self._desired.set(observed.wanted)
        self._invalid.set(observed.invalid)

    def _moved(self, observed: SessionMoved) -> None:
        gateway, transition = observed.gateway or "", observed.transition
        self._moves.labels(gateway, transition.target.value).inc()
        if transition.cause in _FAILURES:
            self._failures.labels(gateway, self._reason(transition.reason)).inc()

    def _trouble(self, observed: Trouble) -> None:
        self._troubles.labels(self._where(observed.where)).inc()

    def _left_behind(self, observed: Abandoned) -> None:
        kind = observed.what.partition(":")[0]  # what follows names the parts: that is for the log
        self._abandoned.labels(self._what(kind)).inc(observed.count)


def _reasons(kind: type[WaSupervisorError]) -> Iterator[str]:
    for narrower in kind.__subclasses__():
        yield narrower.reason
        yield from _reasons(narrower)
