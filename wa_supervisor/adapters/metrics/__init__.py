"""What Prometheus sees: counters fed by observations, and series about sessions written from the live snapshot.

`Metrics.observe` is an observer; `Metrics.exposition` is one scrape; `Metrics.process` takes what only the daemon
knows. Durations, sizes and times are in base units, times are timestamps and not ages, and every known combination of
labels starts at 0, so that the first event shows as an increase. Labels are gateways, reasons and the operator's own
names; never a chat, a text or a phone number.

This is not where anything is decided, and nothing reads these numbers back: what the daemon needs to know it keeps
itself.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from wa_supervisor.adapters.metrics.delivery import Delivery
from wa_supervisor.adapters.metrics.gateways import Gateways
from wa_supervisor.adapters.metrics.labels import Names
from wa_supervisor.adapters.metrics.process import Process
from wa_supervisor.adapters.metrics.sessions import PerSession, Sessions
from wa_supervisor.adapters.metrics.steering import Steering
from wa_supervisor.adapters.metrics.traffic import Traffic
from wa_supervisor.adapters.metrics.upkeep import Upkeep
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import Observation
from wa_supervisor.domain.status import SessionStatus

__all__ = ["CONTENT_TYPE", "Metrics", "PerSession"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The text format that every Prometheus since 2.0 reads."""

logger = logging.getLogger(__name__)


class Metrics:
    """All numbers of one daemon, in a registry of its own.

    `snapshot` gives everything that is told of every integration as a sequence that does not change afterwards; it is
    called once at the beginning of each scrape, where the scrape is asked for. `wall` gives seconds since the epoch.
    """

    def __init__(
        self,
        snapshot: Callable[[], Sequence[SessionStatus]],
        *,
        per_session: PerSession,
        version: str,
        gateways: Iterable[GatewayName],
        is_ready: Callable[[], bool],
        wall: Callable[[], float],
    ) -> None:
        self._snapshot = snapshot
        known, names = tuple(gateways), Names(secrets.token_bytes(16))
        self._registry = registry = CollectorRegistry()
        delivery = Delivery(registry, known, names)
        self._sessions = Sessions(per_session=per_session, gateways=known, names=names, is_behind=delivery.is_behind)
        self.process = Process(registry, version=version, is_ready=is_ready, wall=wall)
        self._observer_errors = Counter(
            "wa_metrics_observer_errors_total", "Observations that could not be counted.", registry=registry
        )
        parts = (
            Traffic(registry, known),
            Upkeep(registry, known, wall),
            Gateways(registry, known),
            Steering(registry),
            delivery,
        )
        self._readers: dict[type, list[Callable[[Any], None]]] = {}
        for part in parts:
            for kind, reader in part.readers().items():
                self._readers.setdefault(kind, []).append(reader)

    def observe(self, observation: Observation) -> None:
        """Count one observation. Never raises: a number that cannot be kept must not disturb the engine."""
        try:
            for reader in self._readers[type(observation)]:
                reader(observation)
        except Exception:  # the border between the engine and its observers; the engine must go on
            self._observer_errors.inc()
            logger.exception("observation could not be counted", extra={"observation": type(observation).__name__})

    def exposition(self) -> tuple[Iterator[bytes], str]:
        """Give one scrape as pieces of text, to be sent one after the other, and its content type.

        The snapshot is taken at once; each piece takes well below a millisecond, so that the event loop can run between
        two of them.
        """
        return self._pieces(self._snapshot()), CONTENT_TYPE

    def render(self) -> tuple[bytes, str]:
        """Give one whole scrape and its content type."""
        pieces, content_type = self.exposition()
        return b"".join(pieces), content_type

    def _pieces(self, statuses: Sequence[SessionStatus]) -> Iterator[bytes]:
        for family in self._registry.collect():
            yield generate_latest(_OneFamily(family))
        yield from self._sessions.pieces(statuses)


class _OneFamily(Collector):
    """One family to be written, without the `_created` series that prometheus_client adds to every counter."""

    def __init__(self, family: Metric) -> None:
        family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)
