"""One run of the daemon.

Comes up in this order: embedded servers, Redis and PostgreSQL clients, the admin server (so that `/healthz` answers and
`/readyz` says what is missing), the supervisor. Ready means: configuration valid, Redis answered, first plan made; not
that every session is up. Ends in this order: nothing new is taken, what is in flight is finished within the deadline,
what is left is named, the last statuses are written, everything is closed. Sessions stay logged in at their gateways.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

from wa_supervisor.adapters.admin import admin_server
from wa_supervisor.adapters.logs import set_up_logging
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.adapters.systemd import ServiceManager
from wa_supervisor.config import Settings
from wa_supervisor.daemon import policies
from wa_supervisor.daemon.gateways import build_room
from wa_supervisor.daemon.pulse import Pulse
from wa_supervisor.daemon.reload import changed_gateways, needs_restart
from wa_supervisor.daemon.stores import with_people, with_redis, with_servers
from wa_supervisor.daemon.summary import one_line
from wa_supervisor.daemon.telling import Telling, wall
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.status import SessionStatus
from wa_supervisor.engine.dead_letter_office import DeadLetterOffice
from wa_supervisor.engine.people import CachedPeople
from wa_supervisor.engine.ports import People
from wa_supervisor.engine.reporter import Reporter
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.session import Services
from wa_supervisor.engine.supervisor import Supervisor

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a daemon says when its admin server answers; it may not be ready yet."""

    admin_url: str | None
    redis_url: str
    """Where commands for it go; may hold a password."""


class Daemon:
    """Runs until `stop`; follows new settings on `reload`."""

    def __init__(self, settings: Settings, *, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._stopping = anyio.Event()
        self._manager = ServiceManager(environ)
        self._telling = Telling(settings)
        self._rooms: dict[GatewayName, GatewayRoom] = {}
        self._supervisor: Supervisor | None = None
        self.ready = anyio.Event()
        """Set when the first plan is made."""
        self.stopped = anyio.Event()
        """Set when everything is closed."""

    def __repr__(self) -> str:
        return f"<Daemon {self._settings.daemon.id}, {'ready' if self.ready.is_set() else 'coming up'}>"

    def statuses(self) -> list[SessionStatus]:
        """Give the status of every integration now."""
        return self._supervisor.statuses() if self._supervisor else []

    def stop(self) -> None:
        """End soon: drain, then close everything."""
        self._stopping.set()

    def reload(self, load: Callable[[], Settings]) -> None:
        """Follow what `load` gives. Whatever it raises, the old settings stay, and the caller says why."""
        self._manager.reloading()
        try:
            new = load()
            self._follow(new)
        except Exception:
            self._telling.metrics.reloaded(succeeded=False)
            raise
        else:
            self._telling.metrics.reloaded(succeeded=True)
        finally:
            self._manager.ready()

    async def run(self, *, task_status: TaskStatus[Started] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`. Started when the admin server answers."""
        async with (
            with_servers(self._settings) as settings,
            with_people(settings) as people,
            with_redis(settings) as store,
        ):
            self._telling.note_stores(store, people)
            supervisor = self._supervisor = self._build(store, people)
            self._telling.statuses = supervisor.statuses
            async with self._admin() as admin_url:
                self._telling.admin_url = admin_url
                task_status.started(Started(admin_url=admin_url, redis_url=settings.redis.url.get_secret_value()))
                await self._supervise(supervisor, store)
        self.stopped.set()

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[str | None]:
        given = self._settings.admin
        if not given.enabled:
            yield None
            return
        telling = self._telling
        async with admin_server(
            given.host, given.port, metrics=telling.metrics.exposition, readiness=telling.readiness
        ) as url:
            yield url

    async def _supervise(self, supervisor: Supervisor, store: RedisStore) -> None:
        telling, policy = self._telling, policies.supervisor_policy(self._settings)
        reporter = Reporter(
            board=store.board,
            statuses=supervisor.statuses,
            describe=telling.daemon_status,
            daemon=self._settings.daemon.id,
            pid=telling.pid,
            policy=policy,
            observe=telling.observe,
        )
        supervisor.changed = reporter.note
        pulse = Pulse(self._manager, telling, longest_round=2 * policy.resync + 4 * policy.retry_max)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pulse.run)
            tasks.start_soon(telling.prepare_people)
            tasks.start_soon(self._come_up, supervisor, reporter)
            await self._stopping.wait()
            await self._end(supervisor, reporter, store, policy.drain_timeout + policy.cancel_timeout)
            tasks.cancel_scope.cancel()

    async def _come_up(self, supervisor: Supervisor, reporter: Reporter) -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(supervisor.run)
            self._telling.is_ready = True
            self.ready.set()
            self._manager.ready()
            _logger.info("ready", extra={"summary": one_line(supervisor.statuses())})
            tasks.start_soon(reporter.run)

    async def _end(self, supervisor: Supervisor, reporter: Reporter, store: RedisStore, deadline: float) -> None:
        self._manager.stopping()
        self._telling.is_ready = False
        _logger.info("stopping: finishing what is in flight", extra={"seconds": deadline})
        self._manager.extend_timeout(deadline + 10.0)
        await supervisor.drain(deadline)
        with anyio.move_on_after(policies.LAST_WORDS):
            try:
                await reporter.write(everything=True)
                await store.board.farewell(self._settings.daemon.id)
            except StoreUnavailableError as error:
                _logger.warning("the last statuses could not be written", extra={"error": str(error)})
        self._telling.flush()
        _logger.info("stopped")

    def _build(self, store: RedisStore, people: People | None) -> Supervisor:
        settings, observe = self._settings, self._telling.observe
        self._rooms = {GatewayName(name): build_room(name, given, observe) for name, given in settings.gateways.items()}
        office = DeadLetterOffice(letters=store.dead_letters, outbox=store.outbox, wall=wall, observe=observe)
        services = Services(
            inbox=store.inbox,
            outbox=store.outbox,
            office=office,
            people=CachedPeople(people, policies.people_policy(settings), observe),
            board=store.board,
            observe=observe,
            sessions=policies.session_policy(settings),
            inbound=policies.inbound_policy(settings),
            outbound=policies.outbound_policy(settings),
            typing=policies.typing_policy(settings),
        )
        return Supervisor(
            wish=store.wish,
            commands=store.commands,
            outbox=store.outbox,
            services=services,
            defaults=policies.defaults_of(settings),
            rooms=tuple(self._rooms.values()),
            policy=policies.supervisor_policy(settings),
            observe=observe,
            wall=wall,
        )

    def _follow(self, new: Settings) -> None:
        old, self._settings = self._settings, new
        set_up_logging(new.daemon.log_level, new.daemon.log_format)
        changed = changed_gateways(old, new)
        self._rooms = {
            GatewayName(name): build_room(name, given, self._telling.observe)
            if name in changed
            else self._rooms[GatewayName(name)]
            for name, given in new.gateways.items()
        }
        if self._supervisor is not None and self.ready.is_set():
            self._supervisor.replace_gateways(tuple(self._rooms.values()), policies.defaults_of(new))
        waiting = needs_restart(old, new)
        extra = {"gateways_changed": sorted(changed), "needs_restart": waiting}
        _logger.info("configuration reloaded", extra=extra)
