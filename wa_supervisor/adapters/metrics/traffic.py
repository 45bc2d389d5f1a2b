"""What is counted of messages and replies: by gateway, and by reason where something was not carried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from wa_supervisor.adapters.metrics.labels import Words
from wa_supervisor.domain.gateway_events import EVENT_NAMES
from wa_supervisor.domain.messages import LeftOutReason
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import (
    DuplicateDropped,
    EventUnattributed,
    MessageHandedOver,
    MessageLeftOut,
    ReplyDead,
    ReplySent,
)

HAND_OVER_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Seconds: a healthy hand-over takes a millisecond or two, one that waits for Redis as long as Redis takes."""

SEND_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Seconds: a healthy send takes a tenth to a few seconds; a reply may wait an hour for its session."""


class Traffic:
    """Counters and latencies of what is carried. No label is a session, a chat or a number."""

    def __init__(self, registry: CollectorRegistry, gateways: Iterable[GatewayName]) -> None:
        self._define_inbound(registry)
        self._define_outbound(registry)
        self._event, self._reason, self._dead_reason = Words(), Words(), Words()
        for gateway in gateways:
            self._begin_at_zero(gateway)

    def _define_inbound(self, registry: CollectorRegistry) -> None:
        by_gateway = ("gateway",)
        self._in = Counter(
            "wa_messages_in_total", "Messages of people that were handed over.", by_gateway, registry=registry
        )
        self._unheard = Counter(
            "wa_messages_in_unheard_total",
            "Messages handed over while no agent listened on the channel; they wait in the stream.",
            by_gateway,
            registry=registry,
        )
        self._hand_over = Histogram(
            "wa_hand_over_duration_seconds",
            "Time from a message's arrival to its hand-over.",
            by_gateway,
            buckets=HAND_OVER_BUCKETS,
            registry=registry,
        )
        self._duplicates = Counter(
            "wa_messages_duplicate_total",
            "Messages that had been handed over before and were dropped.",
            by_gateway,
            registry=registry,
        )
        self._left_out = Counter(
            "wa_messages_left_out_total",
            "Payloads that are not for an agent, by reason.",
            ("gateway", "reason"),
            registry=registry,
        )
        self._unattributed = Counter(
            "wa_events_unattributed_total",
            "Gateway events that name no session and no message of ours.",
            ("gateway", "event"),
            registry=registry,
        )

    def _define_outbound(self, registry: CollectorRegistry) -> None:
        by_gateway = ("gateway",)
        self._out = Counter("wa_messages_out_total", "Replies that a gateway took.", by_gateway, registry=registry)
        self._retries = Counter(
            "wa_send_retries_total", "Tries beyond the first of replies that were sent.", by_gateway, registry=registry
        )
        self._send = Histogram(
            "wa_send_duration_seconds",
            "Time from a reply's arrival to the gateway's answer.",
            by_gateway,
            buckets=SEND_BUCKETS,
            registry=registry,
        )
        self._dead = Counter(
            "wa_dead_letters_total",
            "Replies that became dead letters: not_sent, or unknown when they may have been sent all the same.",
            ("gateway", "fate"),
            registry=registry,
        )
        self._dead_reasons = Counter(
            "wa_dead_letter_reasons_total",
            "Replies that became dead letters, by reason.",
            ("reason",),
            registry=registry,
        )

    def _begin_at_zero(self, gateway: GatewayName) -> None:
        for family in (self._in, self._unheard, self._duplicates, self._out, self._retries):
            family.labels(gateway)
        for histogram in (self._hand_over, self._send):
            histogram.labels(gateway)
        for reason in LeftOutReason:
            self._left_out.labels(gateway, self._reason(reason.value))
        for event in sorted(EVENT_NAMES):
            self._unattributed.labels(gateway, self._event(event))
        for fate in ("not_sent", "unknown"):
            self._dead.labels(gateway, fate)

    def readers(self) -> Mapping[type, Callable[[Any], None]]:
        """Say what is done with which observation."""
        return {
            MessageHandedOver: self._handed_over,
            DuplicateDropped: self._duplicate,
            MessageLeftOut: self._not_for_agent,
            EventUnattributed: self._nobodys,
            ReplySent: self._sent,
            ReplyDead: self._died,
        }

    def _handed_over(self, observed: MessageHandedOver) -> None:
        self._in.labels(observed.gateway).inc()
        self._hand_over.labels(observed.gateway).observe(observed.latency)
        if observed.listeners == 0:
            self._unheard.labels(observed.gateway).inc()

    def _duplicate(self, observed: DuplicateDropped) -> None:
        self._duplicates.labels(observed.gateway).inc()

    def _not_for_agent(self, observed: MessageLeftOut) -> None:
        self._left_out.labels(observed.gateway, self._reason(observed.reason)).inc()

    def _nobodys(self, observed: EventUnattributed) -> None:
        self._unattributed.labels(observed.gateway, self._event(observed.event)).inc()

    def _sent(self, observed: ReplySent) -> None:
        self._out.labels(observed.gateway).inc()
        self._send.labels(observed.gateway).observe(observed.latency)
        self._retries.labels(observed.gateway).inc(max(observed.attempts - 1, 0))

    def _died(self, observed: ReplyDead) -> None:
        self._dead.labels(observed.gateway or "", "unknown" if observed.is_unknown else "not_sent").inc()
        self._dead_reasons.labels(self._dead_reason(observed.reason)).inc()
