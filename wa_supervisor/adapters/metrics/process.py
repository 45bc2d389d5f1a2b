"""What is told of the process itself: version, readiness, configuration, event loop, and what it has to do without.

Most of it is known to the daemon alone and not observed in the engine, so it is set by calls.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, GCCollector, Histogram, PlatformCollector, ProcessCollector

LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: an idle loop wakes a task within a millisecond; one that is late by half a minute is nearly dead."""


class Process:
    """Gauges about the process, and how late its event loop is."""

    def __init__(
        self, registry: CollectorRegistry, *, version: str, is_ready: Callable[[], bool], wall: Callable[[], float]
    ) -> None:
        self._wall = wall
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._define_state(registry, version, is_ready)
        self._define_loop(registry)
        self.reloaded(succeeded=True)
        self.people(are_available=False)
        self.rivals(0)

    def _define_state(self, registry: CollectorRegistry, version: str, is_ready: Callable[[], bool]) -> None:
        build = Gauge("wa_build_info", "Always 1; says which version runs.", ("version",), registry=registry)
        build.labels(version).set(1)
        ready = Gauge("wa_ready", "1 while the daemon is ready, as /readyz says.", registry=registry)
        ready.set_function(is_ready)
        self._reload_success = Gauge(
            "wa_config_last_reload_successful", "1 if the configuration was good when last read.", registry=registry
        )
        self._reload_at = Gauge(
            "wa_config_last_reload_success_timestamp_seconds",
            "When a good configuration was last read.",
            registry=registry,
        )
        self._people = Gauge(
            "wa_people_available",
            "1 while people can be looked up; at 0 messages go on with those that are remembered.",
            registry=registry,
        )
        self._rivals = Gauge(
            "wa_daemon_rivals", "Other living daemons that call themselves as this one does.", registry=registry
        )

    def _define_loop(self, registry: CollectorRegistry) -> None:
        self._lag = Histogram(
            "wa_event_loop_lag_seconds",
            "How late the event loop woke a task that measures it.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self._worst_lag = Gauge(
            "wa_event_loop_lag_worst_seconds", "The worst such lateness of the last minute.", registry=registry
        )
        self._tasks = Gauge("wa_event_loop_tasks", "Tasks of the event loop, some three a session.", registry=registry)

    def reloaded(self, *, succeeded: bool) -> None:
        """Say whether the configuration was good when it was last read; a start counts as a good one."""
        self._reload_success.set(succeeded)
        if succeeded:
            self._reload_at.set(self._wall())

    def lagged(self, seconds: float, worst: float) -> None:
        """Count one measurement of the event loop; `worst` is the worst of the last minute."""
        self._lag.observe(seconds)
        self._worst_lag.set(worst)

    def at_work(self, tasks: int) -> None:
        """Say how many tasks the event loop has."""
        self._tasks.set(tasks)

    def people(self, *, are_available: bool) -> None:
        """Say whether people can be looked up."""
        self._people.set(are_available)

    def rivals(self, count: int) -> None:
        """Say how many other living daemons have this one's name."""
        self._rivals.set(count)
