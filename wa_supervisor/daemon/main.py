"""One run of the daemon.

Comes up in this order: embedded servers, Redis and PostgreSQL clients, the admin server (so that `/healthz` answers and
`/readyz` says what is missing), the supervisor. Ready means: configuration valid, Redis answered, first plan made; not
that every session is up. Ends in this order: nothing new is taken, what is in flight is finished within the deadline,
what is left is named, the last statuses and events are written, everything is closed. Sessions stay logged in at their
gateways. Told to stop before the supervisor runs, it has nothing to finish and ends at once. When something keeps it
from ending, the last resort that it was given ends the process.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import anyio
from anyio.abc import TaskGroup, TaskStatus

from wa_supervisor.adapters.admin import admin_server
from wa_supervisor.adapters.logs import set_up_logging
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.adapters.systemd import ServiceManager
from wa_supervisor.config import Settings
from wa_supervisor.daemon import policies
from wa_supervisor.daemon.contacts import Contacts
from wa_supervisor.daemon.lag import LoopLag
from wa_supervisor.daemon.last_resort import LastResort
from wa_supervisor.daemon.plainly import told_plainly
from wa_supervisor.daemon.pulse import Pulse
from wa_supervisor.daemon.reload import changed_gateways, tell_reload
from wa_supervisor.daemon.stores import with_people, with_redis, with_servers
from wa_supervisor.daemon.summary import one_line
from wa_supervisor.daemon.supervision import (
    Rooms,
    build_chronicle,
    build_reporter,
    build_rooms,
    build_supervisor,
)
from wa_supervisor.daemon.telling import Telling
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.status import SessionStatus
from wa_supervisor.engine.backlog import Backlog
from wa_supervisor.engine.chronicle import Chronicle
from wa_supervisor.engine.ports import People
from wa_supervisor.engine.reporter import Reporter
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.supervisor import Supervisor

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a daemon says when its admin server answers; it may not be ready yet."""

    admin_url: str | None
    redis_url: str = field(repr=False)
    """Where commands for it go; may hold a password."""


class Daemon:
    """Runs once, until `stop`; follows new settings on `reload`. Make it where an event loop runs."""

    def __init__(
        self, settings: Settings, *, environ: Mapping[str, str], last_resort: LastResort | None = None
    ) -> None:
        """`last_resort` ends the whole process if the daemon does not end; whoever made it disarms it."""
        self._settings = settings
        """What it began with: of later settings only what `reload` names is followed."""
        self._followed = settings
        self._manager = ServiceManager(environ)
        self._telling = Telling(settings, self.statuses)
        self._rooms: Rooms = {}
        self._supervisor: Supervisor | None = None
        self._store: RedisStore | None = None
        self._backlog = Backlog(0)
        self._stopping = anyio.Event()
        self._whole = anyio.CancelScope()
        self._reporting = anyio.CancelScope()
        self._has_work = False
        self._last_resort = last_resort
        self._abandoned: tuple[str, ...] = ()
        self.ready = anyio.Event()
        """Set when the first plan is made."""
        self.stopped = anyio.Event()
        """Set when everything is closed."""

    def __repr__(self) -> str:
        return f"<Daemon {self._settings.daemon.id}, {self._telling.phase}>"

    def statuses(self) -> list[SessionStatus]:
        """Give the status of every integration now."""
        return self._supervisor.statuses() if self._supervisor else []

    def rooms(self) -> tuple[GatewayRoom, ...]:
        """Give the rooms of the gateways that are used now."""
        return tuple(self._rooms.values())

    def stop(self) -> None:
        """End soon: drain, then close everything."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._telling.phase = "stopping"
        self._manager.stopping()
        self._manager.extend_timeout(policies.longest_end(self._settings) + policies.LEAVING)
        self._end_within(policies.longest_end(self._settings))
        if not self._has_work:
            self._whole.cancel()

    def hurry(self) -> None:
        """Have less time to end: whoever runs it cancels it now."""
        self._end_within(policies.longest_hurry(self._settings))

    def reload(self, load: Callable[[], Settings]) -> None:
        """Follow what `load` gives. Whatever it raises, the old settings stay, and the caller says why."""
        if self._stopping.is_set():
            _logger.info("configuration not reloaded: the daemon is stopping")
            return
        is_told = self.ready.is_set()  # a reload before must not look like the end of the start
        if is_told:
            self._manager.reloading()
        try:
            self._follow(load())
        except Exception:
            self._telling.metrics.process.reloaded(succeeded=False)
            raise
        else:
            self._telling.metrics.process.reloaded(succeeded=True)
        finally:
            if is_told:
                self._manager.ready()

    async def run(self, *, task_status: TaskStatus[Started] = anyio.TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC128  # started further in
        """Run until `stop`. Started when the admin server answers; never, when it is told to stop before.

        Raises `PermanentError` for what keeps it from coming up at all: `ConfigurationError` for an address that none
        is, an admin port that is taken, private servers that are not installed; `ServerStartError` for one of those
        that does not start.
        """
        _logger.info("coming up", extra={"daemon": self._settings.daemon.id, "pid": self._telling.pid})
        self._manager.status("coming up")
        if self._settings.embedded.enabled:
            self._manager.extend_timeout(policies.longest_embedded_start())
        with told_plainly(), self._whole:
            await self._open_and_supervise(task_status)
        self._telling.flush()
        _logger.info("stopped")
        self.stopped.set()

    async def _open_and_supervise(self, task_status: TaskStatus[Started]) -> None:
        async with (
            with_servers(self._settings) as settings,
            with_people(settings) as people,
            with_redis(settings) as store,
        ):
            self._telling.note_stores(store, people)
            async with self._admin() as admin_url:
                self._telling.admin_url = admin_url
                task_status.started(Started(admin_url=admin_url, redis_url=settings.redis.url.get_secret_value()))
                await self._supervise(store, people)

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[str | None]:
        given, telling = self._settings.admin, self._telling
        if not given.enabled:
            yield None
            return
        async with AsyncExitStack() as closing:
            server = admin_server(
                given.host, given.port, metrics=telling.metrics.exposition, readiness=telling.readiness
            )
            # Shielded: asyncio forgets the socket of a server that is cancelled while it begins to listen.
            with anyio.fail_after(policies.LISTENING, shield=True):
                url = await closing.enter_async_context(server)
            _logger.info("admin server listens", extra={"url": url})
            yield url

    async def _supervise(self, store: RedisStore, people: People | None) -> None:
        self._has_work = True
        telling, policy = self._telling, policies.supervisor_policy(self._settings)
        reporter = build_reporter(self._settings, store, telling, self.statuses)
        chronicle = build_chronicle(self._settings, store, telling)
        pulse = Pulse(self._manager, telling, longest_round=policies.longest_round(self._settings))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pulse.run)
            tasks.start_soon(LoopLag(telling.lagged).run)
            tasks.start_soon(Contacts(self.rooms, telling.observe).run)
            tasks.start_soon(telling.prepare_people)
            tasks.start_soon(telling.look_at_persistence)
            tasks.start_soon(chronicle.run)
            tasks.start_soon(self._come_up, tasks, store, people, reporter)
            await self._stopping.wait()
            await self._end(reporter, chronicle, policy.drain_timeout + policy.cancel_timeout)
            tasks.cancel_scope.cancel()

    async def _come_up(self, tasks: TaskGroup, store: RedisStore, people: People | None, reporter: Reporter) -> None:
        await tasks.start(self._run_supervisor, store, people, reporter)
        if self._stopping.is_set():
            return
        self._telling.phase = "ready"
        self.ready.set()
        self._manager.ready()
        _logger.info("ready", extra={"summary": one_line(self.statuses())})
        with self._reporting:
            await reporter.run()

    async def _run_supervisor(  # noqa: ASYNC128  # started further in
        self, store: RedisStore, people: People | None, reporter: Reporter, *, task_status: TaskStatus[None]
    ) -> NoReturn:
        # Nothing may wait between building it and running it: a reload reaches the one that runs.
        followed, observe = self._followed, self._telling.observe
        self._store, self._backlog = store, Backlog(policies.inbound_policy(self._settings).queue_total)
        self._rooms = build_rooms(followed, store, self._backlog, observe)
        supervisor = self._supervisor = build_supervisor(
            self._settings,
            store=store,
            people=people,
            rooms=self._rooms,
            backlog=self._backlog,
            defaults=policies.defaults_of(followed),
            observe=observe,
        )
        supervisor.changed = reporter.note
        await supervisor.run(task_status=task_status)

    async def _end(self, reporter: Reporter, chronicle: Chronicle, deadline: float) -> None:
        _logger.info("stopping: finishing what is in flight", extra={"seconds": deadline})
        reporter.leave_to_others()
        if self._supervisor is not None:
            self._abandoned = await self._supervisor.drain(deadline)
        self._reporting.cancel()
        limit = policies.last_words(self._settings) / 2
        if self.ready.is_set():  # else it has told nothing, and what the daemon before it told still holds
            await self._say_last_words(reporter, limit)
        if self._supervisor is not None:
            await self._supervisor.give_leases_back()
        await chronicle.flush(limit)

    async def _say_last_words(self, reporter: Reporter, limit: float) -> None:
        with anyio.move_on_after(limit) as words:
            try:
                await reporter.write(everything=True)
                await reporter.farewell()
            except StoreUnavailableError as error:
                _logger.warning("the last statuses could not be written", extra={"why": str(error)})
        if words.cancelled_caught:
            _logger.warning("the last statuses could not be written", extra={"why": "Redis did not answer in time"})

    def _end_within(self, seconds: float) -> None:
        if self._last_resort is not None:
            self._last_resort.arm(seconds, names=lambda: self._abandoned)

    def _follow(self, new: Settings) -> None:
        old = self._followed
        changed = changed_gateways(old, new)
        if self._supervisor is not None and self._store is not None:
            kept = {name: room for name, room in self._rooms.items() if name not in changed}
            self._rooms = build_rooms(new, self._store, self._backlog, self._telling.observe, kept=kept)
            self._supervisor.replace_gateways(tuple(self._rooms.values()), policies.defaults_of(new))
        self._followed = new
        if (new.daemon.log_level, new.daemon.log_format) != (old.daemon.log_level, old.daemon.log_format):
            set_up_logging(new.daemon.log_level, new.daemon.log_format)
        tell_reload(self._settings, old, new)
