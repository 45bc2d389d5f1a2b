"""What the daemon tells about itself: to the log, to Prometheus, to whoever asks whether it is ready."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

import anyio

from wa_supervisor import __version__
from wa_supervisor.adapters.admin import Readiness
from wa_supervisor.adapters.logs import LogObserver
from wa_supervisor.adapters.metrics import Metrics
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.redis.persistence import Persistence
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.config import Settings
from wa_supervisor.daemon.summary import by_state, one_line
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import Observation, Observer, Reconciled, Trouble
from wa_supervisor.domain.status import DaemonStatus, SessionStatus
from wa_supervisor.engine.retrying import patient

_logger = logging.getLogger(__name__)

Phase = Literal["coming up", "ready", "stopping"]
"""Where a run of the daemon stands; ready: the first plan is made."""

NO_DATABASE = "no database is configured: people are not looked up and nobody is authenticated; set postgres.url"

STALE_WISH = "the wish cannot be read, and what runs goes on with the last known one"

PEOPLE_AWAY, PEOPLE_BACK = "people_away", "people_back"
"""Where the engine says that the database went and came."""
PEOPLE_TROUBLES = frozenset({PEOPLE_AWAY, PEOPLE_BACK})

FIRST_PAUSE = 1.0
"""Seconds at most before the database is asked for its tables a second time."""
LONGEST_PAUSE = 60.0
"""Seconds at most between two such questions: messages ask it too, and need no tables to be told so."""


def wall() -> float:
    """Give the wall clock, seconds since the epoch: for what people and other programs read, never for durations."""
    return datetime.now(UTC).timestamp()


class Telling:
    """The daemon's observers and its own description. `statuses` gives every integration's status now."""

    def __init__(self, settings: Settings, statuses: Callable[[], Sequence[SessionStatus]]) -> None:
        self.pid = os.getpid()
        self.phase: Phase = "coming up"
        self.admin_url: str | None = None
        self.last_round = anyio.current_time()
        """When the reconcile loop last ended a round, good or bad."""
        self._id = settings.daemon.id
        self._statuses = statuses
        self._started_at = wall()
        self._why_no_round = "the wish has not been read yet"
        self._store: RedisStore | None = None
        self._people: PostgresPeople | None = None
        self._people_missing: str | None = None
        self._rival: DaemonStatus | None = None
        self._listeners: list[Observer] = []
        self.metrics = Metrics(
            statuses,
            per_session=settings.metrics.per_session,
            version=__version__,
            gateways=[GatewayName(name) for name in settings.gateways],
            is_ready=lambda: self.is_ready,
            wall=wall,
        )
        self._log = LogObserver(monotonic=anyio.current_time)

    @property
    def is_ready(self) -> bool:
        """Whether the first plan is made and it is not stopping."""
        return self.phase == "ready"

    def note_stores(self, store: RedisStore, people: PostgresPeople | None) -> None:
        """Take the stores whose shortcomings are told."""
        self._store, self._people = store, people
        if people is None:
            self._note_people(NO_DATABASE)
            _logger.warning("works with less than it could", extra={"why": NO_DATABASE})

    async def prepare_people(self) -> None:
        """Make sure that the people's tables are there; until then say what is missing."""
        if self._people is None:
            return
        async for attempt in patient(FIRST_PAUSE, LONGEST_PAUSE, tell=self._people_not_ready):
            with attempt:
                await self._people.ensure_schema()
        if self._people_missing is not None:
            _logger.info("people can be looked up")
        self._note_people(None)

    async def look_at_persistence(self) -> None:
        """Say in the log, once, what Redis may forget when it dies: the promises about messages lean on it."""
        if self._store is None:
            return
        ask = patient(FIRST_PAUSE, LONGEST_PAUSE, tell=lambda *_: None)
        found: Persistence = await ask(self._store.persistence)
        for weakness in found.weaknesses():
            level = logging.INFO if found.keeps_nearly_all else logging.WARNING
            _logger.log(level, "what Redis may forget", extra={"why": weakness})

    def note_rival(self, rival: DaemonStatus | None) -> None:
        """Take a living daemon that has this one's name, or that there is none (any more)."""
        before, self._rival = self._rival, rival
        self.metrics.process.rivals(0 if rival is None else 1)
        if rival is None:
            if before is not None:
                _logger.info("no other daemon has this name any more", extra={"daemon": self._id})
        elif before is None or (before.host, before.pid) != (rival.host, rival.pid):
            extra = {"daemon": self._id, "host": rival.host, "pid": rival.pid, "why": _rivalry(rival)}
            _logger.error("another daemon has the same name", extra=extra)

    def subscribe(self, listener: Observer) -> None:
        """Tell `listener` too, after those who are told already."""
        self._listeners.append(listener)

    def observe(self, observation: Observation) -> None:
        """Tell everybody who listens to the engine."""
        if isinstance(observation, Reconciled):
            self.last_round = anyio.current_time()
            self._why_no_round = observation.error or ""
        elif isinstance(observation, Trouble) and observation.where in PEOPLE_TROUBLES:
            self._note_people(observation.message if observation.where == PEOPLE_AWAY else None)
        self.metrics.observe(observation)
        self._log.observe(observation)
        for listener in self._listeners:
            listener(observation)

    def lagged(self, seconds: float, worst: float) -> None:
        """Take how late the event loop was, and count its tasks on that occasion."""
        self.metrics.process.lagged(seconds, worst)
        self.metrics.process.at_work(len(asyncio.all_tasks()))

    def flush(self) -> None:
        """Write what the log still holds back."""
        self._log.flush()

    def headline(self) -> str:
        """Say in one line how it goes, for `systemctl status`."""
        if self.phase == "coming up":
            return f"coming up: {self._why_no_round}" if self._why_no_round else "coming up"
        line = one_line(self._statuses())
        return line if self.is_ready else f"stopping: {line}"

    def missing(self) -> tuple[str, ...]:
        """Give what works with less than it could."""
        stale = f"{STALE_WISH}: {self._why_no_round}" if self.is_ready and self._why_no_round else None
        notifications = self._store.wish.missing if self._store else None
        rivalry = _rivalry(self._rival) if self._rival else None
        return tuple(text for text in (rivalry, stale, self._people_missing, notifications) if text)

    def readiness(self) -> Readiness:
        """Answer `/readyz`."""
        waiting_for = {
            "coming up": (self._why_no_round or "the first plan is being made",),
            "ready": (),
            "stopping": ("the daemon is stopping",),
        }
        return Readiness(ready=self.is_ready, waiting_for=waiting_for[self.phase], missing=self.missing())

    def daemon_status(self, statuses: Sequence[SessionStatus]) -> DaemonStatus:
        """Describe the daemon for `wa:daemon:{id}`."""
        return DaemonStatus(
            id=self._id,
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

    def _people_not_ready(self, error: BaseException, delay: float, attempt: int) -> None:
        del delay, attempt
        kind = "" if isinstance(error, StoreUnavailableError) else f"{type(error).__name__}: "
        before = self._people_missing
        self._note_people(f"people cannot be looked up: {kind}{error}")
        if self._people_missing != before:
            _logger.warning("works with less than it could", extra={"why": self._people_missing})

    def _note_people(self, missing: str | None) -> None:
        self._people_missing = missing
        self.metrics.process.people(are_available=missing is None)


def _rivalry(rival: DaemonStatus) -> str:
    return (
        f"another daemon named {rival.id!r} is alive (process {rival.pid} on {rival.host}): each session runs in one "
        "of them, but status shows only one; give each a daemon.id of its own, or stop one"
    )
