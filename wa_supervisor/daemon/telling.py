"""What the daemon tells about itself: to the log, to Prometheus, to whoever asks whether it is ready."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import anyio

from wa_supervisor import __version__
from wa_supervisor.adapters.admin import Readiness
from wa_supervisor.adapters.logs import LogObserver
from wa_supervisor.adapters.metrics import Metrics
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.config import Settings
from wa_supervisor.daemon.summary import by_state
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import Observation, Reconciled
from wa_supervisor.domain.status import DaemonStatus, SessionStatus
from wa_supervisor.engine.retrying import patient

NO_DATABASE = "no database is configured: people are not looked up and nobody is authenticated; set postgres.url"


def wall() -> float:
    """Give the wall clock, seconds since the epoch: for what people and other programs read, never for durations."""
    return datetime.now(UTC).timestamp()


class Telling:
    """The daemon's observers and its own description."""

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        self.is_ready = False
        self.admin_url: str | None = None
        self.statuses: Callable[[], Sequence[SessionStatus]] = list
        self.last_round = anyio.current_time()
        """When the reconcile loop last ended a round, good or bad."""
        self._settings = settings
        self._started_at = wall()
        self._waiting_for = "the wish has not been read yet"
        self._store: RedisStore | None = None
        self._people: PostgresPeople | None = None
        self._people_missing: str | None = NO_DATABASE
        self.metrics = Metrics(
            self._current_statuses,
            per_session=settings.metrics.per_session,
            version=__version__,
            gateways=[GatewayName(name) for name in settings.gateways],
            is_ready=lambda: self.is_ready,
            wall=wall,
        )
        self._log = LogObserver(monotonic=anyio.current_time)

    def note_stores(self, store: RedisStore, people: PostgresPeople | None) -> None:
        """Take the stores whose shortcomings are told."""
        self._store, self._people = store, people
        self._people_missing = NO_DATABASE if people is None else None

    async def prepare_people(self) -> None:
        """Make sure that the people's tables are there; until then say what is missing."""
        if self._people is None:
            return
        async for attempt in patient(1.0, 60.0, tell=self._people_not_ready):
            with attempt:
                await self._people.ensure_schema()
        self._people_missing = None

    def observe(self, observation: Observation) -> None:
        """Tell everybody who listens to the engine."""
        if isinstance(observation, Reconciled):
            self.last_round = anyio.current_time()
            self._waiting_for = observation.error or ""
        self.metrics.observe(observation)
        self._log.observe(observation)

    def flush(self) -> None:
        """Write what the log still holds back."""
        self._log.flush()

    def missing(self) -> tuple[str, ...]:
        """Give what works with less than it could."""
        wish = self._store.wish.missing if self._store else None
        return tuple(text for text in (self._people_missing, wish) if text)

    def readiness(self) -> Readiness:
        """Answer `/readyz`."""
        waiting = () if self.is_ready else (self._waiting_for or "the daemon is stopping",)
        return Readiness(ready=self.is_ready, waiting_for=waiting, missing=self.missing())

    def daemon_status(self, statuses: Sequence[SessionStatus]) -> DaemonStatus:
        """Describe the daemon for `wa:daemon:{id}`."""
        return DaemonStatus(
            id=self._settings.daemon.id,
            host=socket.gethostname(),
            pid=self.pid,
            version=__version__,
            started_at=self._started_at,
            observed_at=wall(),
            ready=self.is_ready,
            sessions=len(statuses),
            by_state=by_state(statuses),
            admin_url=self.admin_url,
            missing=self.missing(),
        )

    def _current_statuses(self) -> Sequence[SessionStatus]:
        return self.statuses()

    def _people_not_ready(self, error: BaseException, delay: float, attempt: int) -> None:
        del delay, attempt
        kind = "" if isinstance(error, StoreUnavailableError) else f"{type(error).__name__}: "
        self._people_missing = f"people cannot be looked up: {kind}{error}"
