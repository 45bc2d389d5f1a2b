"""What is counted of making up for what was missed: catching up, agents that are away, sends that had to be settled.

It also remembers which sessions are behind, from what the engine tells, for the series about sessions; nobody is told
of a session that does not run, because its state says more. Agents have a series only while messages wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from wa_supervisor.adapters.metrics.labels import Names, Words
from wa_supervisor.adapters.metrics.sessions import CONNECTED
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId
from wa_supervisor.domain.observations import (
    AckTold,
    AgentWaiting,
    CaughtUp,
    FellBehind,
    MessagesDropped,
    OutcomeSettled,
    SessionMoved,
)
from wa_supervisor.domain.receipts import Fate

CATCH_UP_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Seconds: a look at which nothing is missing is one request, one after a start takes `catch_up_settle` more, and a
thousand sessions of one gateway have to wait for each other."""

SETTLE_BUCKETS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Seconds: WhatsApp's own word comes at once, a hung page of the gateway takes three minutes to end."""

CAUSES = ("connected", "started", "reconnected", "doubt", "overflow", "store", "failure", "routine")
"""Why is looked for missed messages."""

DROPPED = ("length", "age")

SETTLED = (
    ("sent", "ack"),
    ("sent", "history"),
    ("not_sent", "history"),
    ("unknown", "ack"),
    ("unknown", "history"),
    ("unknown", "nothing"),
)
"""What is found, and what told; that WhatsApp reported an error counts as unknown."""


class Delivery:
    """Catching up, waiting for agents, settling, receipts."""

    def __init__(self, registry: CollectorRegistry, gateways: Iterable[GatewayName], names: Names) -> None:
        self._names = names
        self._behind: set[IntegrationId] = set()
        self._away: set[str] = set()
        self._cause, self._why, self._found, self._by, self._fate = (Words(limit=16) for _ in range(5))
        self._define_catching_up(registry)
        self._define_agents(registry)
        self._define_outcomes(registry)
        for why in DROPPED:
            self._dropped.labels(self._why(why))
        for gateway in gateways:
            self._begin_at_zero(gateway)

    def is_behind(self, integration: IntegrationId) -> bool:
        """Whether messages of this session may be missing until it has caught up; it need not be connected."""
        return integration in self._behind

    def _define_catching_up(self, registry: CollectorRegistry) -> None:
        self._fell_behind = Counter(
            "wa_fell_behind_total",
            "Times that messages of a session that had caught up may have been missed, by cause.",
            ("gateway", "cause"),
            registry=registry,
        )
        self._caught_up = Counter(
            "wa_catch_ups_total",
            "Times that a session was compared with its chats' history to the end, by cause.",
            ("gateway", "cause"),
            registry=registry,
        )
        self._recovered = Counter(
            "wa_messages_recovered_total",
            "Messages that were missed, fetched and handed over; they are among wa_messages_in_total.",
            ("gateway",),
            registry=registry,
        )
        self._seconds = Histogram(
            "wa_catch_up_duration_seconds",
            "Time from the beginning of catching up to its end, waiting for others included.",
            ("gateway",),
            buckets=CATCH_UP_BUCKETS,
            registry=registry,
        )

    def _define_agents(self, registry: CollectorRegistry) -> None:
        self._dropped = Counter(
            "wa_agent_messages_dropped_total",
            "Messages to agents that nobody had heard or read and that are not published any more: length when the "
            "stream was full, age when they waited too long.",
            ("reason",),
            registry=registry,
        )
        self._waiting = Gauge(
            "wa_agent_messages_waiting",
            "Messages that wait for somebody to listen to an agent's channel; absent while none does. Every daemon "
            "tells the same.",
            ("agent",),
            registry=registry,
        )

    def _define_outcomes(self, registry: CollectorRegistry) -> None:
        self._settled = Counter(
            "wa_outcomes_settled_total",
            "Sends of which nobody knew whether they had their effect, by what was found and what told.",
            ("gateway", "found", "by"),
            registry=registry,
        )
        self._settling = Histogram(
            "wa_outcome_settling_duration_seconds",
            "Time from such a send to the end of looking.",
            ("gateway",),
            buckets=SETTLE_BUCKETS,
            registry=registry,
        )
        self._receipts = Counter(
            "wa_receipts_total",
            "Acks of WhatsApp for messages of ours, by what they say.",
            ("gateway", "fate"),
            registry=registry,
        )

    def _begin_at_zero(self, gateway: GatewayName) -> None:
        self._recovered.labels(gateway)
        for histogram in (self._seconds, self._settling):
            histogram.labels(gateway)
        for cause in CAUSES:
            self._fell_behind.labels(gateway, self._cause(cause))
            self._caught_up.labels(gateway, self._cause(cause))
        for found, by in SETTLED:
            self._settled.labels(gateway, self._found(found), self._by(by))
        for fate in Fate:
            self._receipts.labels(gateway, self._fate(fate.value))

    def readers(self) -> Mapping[type, Callable[[Any], None]]:
        """Say what is done with which observation."""
        return {
            SessionMoved: self._moved,
            FellBehind: self._fell,
            CaughtUp: self._caught,
            MessagesDropped: self._gave_up,
            AgentWaiting: self._waits,
            OutcomeSettled: self._found_out,
            AckTold: self._told,
        }

    def _moved(self, observed: SessionMoved) -> None:
        step = observed.transition
        if step.target not in CONNECTED:
            self._behind.discard(observed.integration)
        elif step.source not in CONNECTED:
            self._behind.add(observed.integration)

    def _fell(self, observed: FellBehind) -> None:
        self._behind.add(observed.integration)
        self._fell_behind.labels(observed.gateway, self._cause(observed.cause)).inc()

    def _caught(self, observed: CaughtUp) -> None:
        self._behind.discard(observed.integration)
        self._caught_up.labels(observed.gateway, self._cause(observed.cause)).inc()
        self._recovered.labels(observed.gateway).inc(observed.recovered)
        self._seconds.labels(observed.gateway).observe(observed.seconds)

    def _gave_up(self, observed: MessagesDropped) -> None:
        self._dropped.labels(self._why(observed.reason)).inc(observed.count)

    def _waits(self, observed: AgentWaiting) -> None:
        agent = self._label(observed.agent)
        if observed.waiting:
            self._away.add(agent)
            self._waiting.labels(agent).set(observed.waiting)
        elif agent in self._away:
            self._away.remove(agent)
            self._waiting.remove(agent)

    def _label(self, agent: AgentId) -> str:
        # Names that are no text become one here, as in every other series: prometheus_client writes UTF-8.
        return self._names.plain(agent).encode("utf-8", "backslashreplace").decode()

    def _found_out(self, observed: OutcomeSettled) -> None:
        self._settled.labels(observed.gateway, self._found(observed.found), self._by(observed.by)).inc()
        self._settling.labels(observed.gateway).observe(observed.seconds)

    def _told(self, observed: AckTold) -> None:
        self._receipts.labels(observed.gateway, self._fate(observed.fate)).inc()
