"""What is told of gateways: whether each can be used, why its gate closed, how fast it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import GatewayAnswered, GatewayChanged

POLL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: a poll costs the gateway some 50 ms of bcrypt, one that waits behind a hundred others seconds."""

CLOSURES = ("unreachable", "feed", "sessions_failed")
"""Why a gate closes: nothing answers, its events cannot be received, too many of its sessions fail at once."""


class Gateways:
    """Whether each gateway can be used, and how it answers."""

    def __init__(self, registry: CollectorRegistry, gateways: Iterable[GatewayName]) -> None:
        self._define_use(registry)
        self._define_work(registry)
        self._state: dict[GatewayName, tuple[bool, bool]] = {}
        """Gate closed, feed connected."""
        for gateway in gateways:
            self._begin_at_zero(gateway)

    def _define_use(self, registry: CollectorRegistry) -> None:
        self._up = _gauge(registry, "wa_gateway_up", "1 while the gate is open and the event connection stands.")
        self._closed = _gauge(registry, "wa_gateway_gate_closed", "1 while all sessions of the gateway are held.")
        self._feed = _gauge(registry, "wa_gateway_feed_connected", "1 while the gateway's event connection stands.")

    def _define_work(self, registry: CollectorRegistry) -> None:
        self._changes = Counter(
            "wa_gateway_changes_total",
            "How often the gate opened or closed and the event connection came or went.",
            ("gateway", "what"),
            registry=registry,
        )
        self._closures = Counter(
            "wa_gateway_gate_closures_total",
            "How often the gate closed, by why.",
            ("gateway", "why"),
            registry=registry,
        )
        self._polls = Histogram(
            "wa_gateway_poll_duration_seconds",
            "Time that the gateway took to answer a poll or a probe.",
            ("gateway",),
            buckets=POLL_BUCKETS,
            registry=registry,
        )

    def _begin_at_zero(self, gateway: GatewayName) -> None:
        self._show(gateway, closed=False, connected=False)
        self._polls.labels(gateway)
        for what in _CHANGES:
            self._changes.labels(gateway, what)
        for why in CLOSURES:
            self._closures.labels(gateway, why)

    def readers(self) -> Mapping[type, Callable[[Any], None]]:
        """Say what is done with which observation."""
        return {GatewayChanged: self._changed, GatewayAnswered: self._answered}

    def _changed(self, observed: GatewayChanged) -> None:
        change = _CHANGES.get(observed.what)
        if change is None:
            raise ValueError(f"a gateway's change must be one of {', '.join(_CHANGES)}, not {observed.what!r}")
        self._changes.labels(observed.gateway, observed.what).inc()
        if change.get("closed"):
            self._closures.labels(observed.gateway, observed.why).inc()
        closed, connected = self._state.get(observed.gateway, (False, False))
        self._show(observed.gateway, **{"closed": closed, "connected": connected, **change})

    def _answered(self, observed: GatewayAnswered) -> None:
        self._polls.labels(observed.gateway).observe(observed.seconds)

    def _show(self, gateway: GatewayName, *, closed: bool, connected: bool) -> None:
        self._state[gateway] = (closed, connected)
        self._closed.labels(gateway).set(closed)
        self._feed.labels(gateway).set(connected)
        self._up.labels(gateway).set(connected and not closed)


_CHANGES: Mapping[str, Mapping[str, bool]] = {
    "gate_opened": {"closed": False},
    "gate_closed": {"closed": True},
    "feed_connected": {"connected": True},
    "feed_lost": {"connected": False},
    "feed_let_go": {"connected": False},
}


def _gauge(registry: CollectorRegistry, name: str, text: str) -> Gauge:
    return Gauge(name, text, ("gateway",), registry=registry)
