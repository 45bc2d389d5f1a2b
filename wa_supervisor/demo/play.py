"""The play: everything is put up, people write, something befalls two sessions, and at the end it is counted."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from wa_supervisor.daemon import Daemon, Started, told_plainly
from wa_supervisor.demo.cast import DemoOptions, Role, agents, cast_roles, drops, needs_scan
from wa_supervisor.demo.stage import declare, settings_for, simulated_gateways, write_config
from wa_supervisor.demo.tally import Clerk, DemoResult, percentile
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import SessionStatus
from wa_supervisor.embedded import EmbeddedEndpoints, EmbeddedPolicy, embedded_servers
from wa_supervisor.simulator import Person, SimulatedGateway, SimulatedSession, Status
from wa_supervisor.simulator.agent import EchoAgent

LOOK = 0.1
"""Seconds between two looks at what has no bell: several ledgers together, and the daemon's statuses."""

COUNT = 5.0
"""Seconds between two countings while people write: a ledger holds the messages of hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScene:
    """What there is to look at while it plays."""

    admin_url: str | None
    config: Path
    """A configuration file with which `wa-supervisor status` finds the demo's Redis."""
    gateways: Mapping[str, str]
    """Name -> URL of each simulated gateway, which can be scripted below `/_control/`."""
    statuses: Callable[[], list[SessionStatus]]
    """How the sessions are; in the end, how they were before the daemon ended."""


async def play(
    options: DemoOptions,
    folder: Path,
    *,
    stop: anyio.Event,
    curtain_up: Callable[[DemoScene], None],
) -> DemoResult:
    """Play until `options.seconds` are over or `stop` is set; `folder` holds data and configuration.

    Raises `PermanentError`, above all `EmbeddedNotInstalledError`, and `ServerStartError`.
    """
    began = anyio.current_time()
    policy = EmbeddedPolicy(is_throwaway=options.is_throwaway)
    with told_plainly():
        async with (
            embedded_servers(folder / "state", policy=policy) as endpoints,
            simulated_gateways(options) as gateways,
            anyio.create_task_group() as tasks,
        ):
            evening = _Evening(options, gateways, endpoints)
            curtain_up(await evening.open(tasks, folder))
            await evening.act(stop)
            await evening.close()
            tasks.cancel_scope.cancel()
    return evening.count(anyio.current_time() - began)


class _Evening:
    """One performance: what people do, what befalls sessions, and the clerk who counts."""

    def __init__(
        self, options: DemoOptions, gateways: Mapping[str, SimulatedGateway], endpoints: EmbeddedEndpoints
    ) -> None:
        self._options = options
        self._gateways = gateways
        self._roles = cast_roles(options, gateways)
        self._settings = settings_for(options, endpoints, gateways)
        self._agent = EchoAgent(endpoints.redis_url, agents(options))
        self._daemon = Daemon(self._settings, environ={})
        self._clerk = Clerk(gateway.ledger for gateway in gateways.values())
        self._pause = options.pause_among(sum(len(role.people) for role in self._roles))
        self._last: list[SessionStatus] | None = None
        self._session(needs_scan(options)).needs_login()

    async def open(self, tasks: TaskGroup, folder: Path) -> DemoScene:
        """Declare the wish, and start agent and daemon."""
        await anyio.to_thread.run_sync(declare, self._settings.redis.url.get_secret_value(), self._options)
        config = await anyio.to_thread.run_sync(write_config, folder, self._settings)
        await tasks.start(self._agent.run)
        started: Started = await tasks.start(self._daemon.run)
        return DemoScene(
            admin_url=started.admin_url,
            config=config,
            gateways={name: gateway.url for name, gateway in self._gateways.items()},
            statuses=self.statuses,
        )

    def statuses(self) -> list[SessionStatus]:
        """Give the status of every session: as it is now, or as it was when the play had ended."""
        return self._daemon.statuses() if self._last is None else self._last

    async def act(self, stop: anyio.Event) -> None:
        """Play it all, less of it if told to stop; then wait for the last replies, and what is missing then is lost."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_on, stop, tasks.cancel_scope)
            tasks.start_soon(self._count_on)
            await self._act_out()
            tasks.cancel_scope.cancel()
        with anyio.move_on_after(self._options.settle):
            await self._until_answered()

    async def close(self) -> None:
        """Let the daemon finish what is in flight and end."""
        self._last = self._daemon.statuses()
        self._daemon.stop()
        await self._daemon.stopped.wait()

    def count(self, seconds: float) -> DemoResult:
        """Give the result: sessions as they were when the play ended; all else from the ledgers and the agent."""
        counted = self._clerk.catch_up()
        states = [status.state for status in self.statuses()]
        latencies = sorted(counted.latencies)
        return DemoResult(
            sessions=self._options.sessions,
            running=states.count(State.RUNNING),
            invalid=states.count(State.INVALID),
            messages_in=counted.written,
            handed_over=sum(self._agent.heard.values()),
            replies_sent=counted.received,
            lost=counted.lost,
            duplicates=counted.duplicates,
            p50_ms=round(percentile(latencies, 0.5) * 1000, 2),
            p99_ms=round(percentile(latencies, 0.99) * 1000, 2),
            seconds=round(seconds, 1),
        )

    async def _until_answered(self) -> None:
        """Return when every message has its answer, or none has come for so long that none will."""
        answered, since = -1, anyio.current_time()
        while (counted := self._clerk.catch_up()).lost:
            if counted.answered != answered or not self._are_all_back():
                answered, since = counted.answered, anyio.current_time()
            if anyio.current_time() - since >= self._options.quiet:
                return
            await anyio.sleep(LOOK)

    async def _act_out(self) -> None:
        with anyio.CancelScope() as misfortunes:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._scan)
                tasks.start_soon(self._drop)
                await self._write()
                misfortunes.deadline = anyio.current_time() + self._options.come_back
        with anyio.CancelScope(deadline=misfortunes.deadline):
            while not self._are_all_back():  # noqa: ASYNC110  # the daemon's statuses have no bell
                await anyio.sleep(LOOK)

    async def _write(self) -> None:
        with anyio.move_on_after(self._options.seconds):
            async with anyio.create_task_group() as tasks:
                for role in self._roles:
                    for person in role.people:
                        tasks.start_soon(self._write_on, person, role, self._gateways[role.gateway])
                await anyio.sleep_forever()

    async def _write_on(self, person: Person, role: Role, gateway: SimulatedGateway) -> None:
        session = gateway.session(role.session)
        number = 0
        await anyio.sleep(self._pause * random.random())  # noqa: S311  # people are not regular
        while True:
            # What is written before the daemon listens is missed, and not what is shown here.
            if session.is_running and gateway.ledger.clients_peak:
                number += 1
                group = role.group if person is role.people[0] and number % 4 == 0 else None
                person.writes(role.session, f"message {number} of {person.name}", group=group)
            await anyio.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311  # people are not regular

    async def _scan(self) -> None:
        await anyio.sleep(self._options.soon(self._options.scan_after))
        session = self._session(needs_scan(self._options))
        await self._first_gateway.until(lambda _: session.status is Status.QRCODE)
        session.scan()

    async def _drop(self) -> None:
        await anyio.sleep(self._options.soon(self._options.drop_after))
        name = drops(self._options)
        while name not in self._running():  # noqa: ASYNC110  # the daemon's statuses have no bell
            await anyio.sleep(LOOK)
        self._session(name).drop(keep_login=True)

    async def _count_on(self) -> None:
        while True:
            await anyio.sleep(COUNT)
            self._clerk.catch_up()

    def _are_all_back(self) -> bool:
        """Whether every session runs, by its gateway and by the daemon, which may not have noticed a drop yet."""
        there = all(self._gateways[role.gateway].session(role.session).is_running for role in self._roles)
        return there and self._running() >= {role.session for role in self._roles}

    def _running(self) -> set[str]:
        """Name the sessions that the daemon knows to be running."""
        return {status.session or "" for status in self._daemon.statuses() if status.state is State.RUNNING}

    @property
    def _first_gateway(self) -> SimulatedGateway:
        """The gateway of those sessions that something befalls."""
        return self._gateways[self._roles[0].gateway]

    def _session(self, name: str) -> SimulatedSession:
        return self._first_gateway.session(name)


async def _end_on(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()
