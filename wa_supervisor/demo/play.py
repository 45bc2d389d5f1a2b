"""The play: everything is put up, people write, and at the end it is counted."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from pydantic import SecretStr

from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.config import (
    AdminSettings,
    DaemonSettings,
    GatewaySettings,
    PostgresSettings,
    RedisSettings,
    SessionsSettings,
    Settings,
    StatusSettings,
)
from wa_supervisor.daemon import Daemon, Started
from wa_supervisor.demo.cast import DemoOptions, Role, agents, cast_roles, drops, gateway_names, needs_scan, records
from wa_supervisor.demo.tally import DemoResult, percentile, tally
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import SessionStatus
from wa_supervisor.embedded import EmbeddedEndpoints, EmbeddedPolicy, embedded_servers
from wa_supervisor.simulator import FAST, Person, SimulatedGateway, Status, simulated_gateway
from wa_supervisor.simulator.agent import EchoAgent

LONGEST_COMING_UP = 60.0
"""Seconds for every session that can run to be running before it is counted all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScene:
    """What there is to look at while it plays."""

    admin_url: str | None
    config: Path
    """A configuration file with which `wa-supervisor status` finds the demo's Redis."""
    statuses: Callable[[], list[SessionStatus]]


async def play(
    options: DemoOptions,
    folder: Path,
    *,
    stop: anyio.Event,
    curtain_up: Callable[[DemoScene], None],
) -> DemoResult:
    """Play until `options.seconds` are over or `stop` is set; `folder` holds data and configuration."""
    began = anyio.current_time()
    async with (
        embedded_servers(folder / "state", policy=EmbeddedPolicy(is_throwaway=True)) as endpoints,
        _gateways(options) as gateways,
        anyio.create_task_group() as tasks,
    ):
        roles = cast_roles(options, gateways)
        gateways[roles[1].gateway].session(needs_scan(options)).needs_login()
        daemon = Daemon(_settings(endpoints, gateways), environ={})
        started: Started = await tasks.start(daemon.run)
        agent = EchoAgent(endpoints.redis_url, agents(options))
        await tasks.start(agent.run)
        desk = OperatorDesk(endpoints.redis_url, None, "wa")
        await anyio.to_thread.run_sync(_declare, desk, options)
        config = await anyio.to_thread.run_sync(_write_config, folder, endpoints)
        curtain_up(DemoScene(admin_url=started.admin_url, config=config, statuses=daemon.statuses))
        await _act(options, roles, gateways, stop)
        await _settle(options, gateways)
        result = _count(options, gateways, agent, daemon.statuses(), anyio.current_time() - began)
        daemon.stop()
        await daemon.stopped.wait()
        tasks.cancel_scope.cancel()
    return result


@asynccontextmanager
async def _gateways(options: DemoOptions) -> AsyncIterator[dict[str, SimulatedGateway]]:
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(simulated_gateway(timings=FAST)) for name in gateway_names(options)
        }


def _settings(endpoints: EmbeddedEndpoints, gateways: Mapping[str, SimulatedGateway]) -> Settings:
    return Settings(
        daemon=DaemonSettings(id="demo", shutdown_timeout=10.0),
        redis=RedisSettings(url=SecretStr(endpoints.redis_url)),
        postgres=PostgresSettings(url=SecretStr(endpoints.database_url)),
        gateways={
            name: GatewaySettings(url=each.url, secret=SecretStr(each.secret), starts_at_once=10, start_interval=0.05)
            for name, each in gateways.items()
        },
        sessions=SessionsSettings(poll_starting=0.25, poll_connected=2.0, alive_evidence=1.0, backoff_initial=0.5),
        status=StatusSettings(ttl=15.0, refresh=3.0),
        admin=AdminSettings(port=0),
    )


def _declare(desk: OperatorDesk, options: DemoOptions) -> None:
    for name, record in records(options).items():
        desk.write(name, partial(_replaced_by, record))


def _replaced_by(new: bytes, old: bytes | None) -> bytes:
    del old
    return new


def _write_config(folder: Path, endpoints: EmbeddedEndpoints) -> Path:
    path = folder / "config.toml"
    path.write_text(f'# The demo\'s Redis, for wa-supervisor status.\n[redis]\nurl = "{endpoints.redis_url}"\n')
    return path


async def _act(
    options: DemoOptions, roles: list[Role], gateways: Mapping[str, SimulatedGateway], stop: anyio.Event
) -> None:
    async with anyio.create_task_group() as tasks:
        for role in roles:
            for person in role.people:
                tasks.start_soon(_write_on, options, person, role, gateways[role.gateway])
        tasks.start_soon(_scan, options, gateways[roles[1].gateway])
        tasks.start_soon(_drop, options, gateways[roles[2].gateway])
        with anyio.move_on_after(options.seconds):
            await stop.wait()
        tasks.cancel_scope.cancel()


async def _write_on(options: DemoOptions, person: Person, role: Role, gateway: SimulatedGateway) -> None:
    number = 0
    while True:
        await anyio.sleep(options.pause * random.uniform(0.5, 1.5))  # noqa: S311  # people are not regular
        if gateway.session(role.session).status is not Status.CONNECTED:
            continue
        number += 1
        group = role.group if person is role.people[0] and number % 4 == 0 else None
        person.writes(role.session, f"message {number} of {person.name}", group=group)


async def _scan(options: DemoOptions, gateway: SimulatedGateway) -> None:
    await anyio.sleep(options.scan_after)
    session = gateway.session(needs_scan(options))
    await gateway.until(lambda _: session.status is Status.QRCODE)
    session.scan()


async def _drop(options: DemoOptions, gateway: SimulatedGateway) -> None:
    await anyio.sleep(options.drop_after)
    gateway.session(drops(options)).drop(keep_login=True)


async def _settle(options: DemoOptions, gateways: Mapping[str, SimulatedGateway]) -> None:
    """Wait for the last replies; what has not come by then is lost."""
    ledgers = [gateway.ledger for gateway in gateways.values()]
    with anyio.move_on_after(options.settle):
        while tally(ledgers).lost:  # noqa: ASYNC110  # several gateways' ledgers have no common bell
            await anyio.sleep(0.1)


def _count(
    options: DemoOptions,
    gateways: Mapping[str, SimulatedGateway],
    agent: EchoAgent,
    statuses: list[SessionStatus],
    seconds: float,
) -> DemoResult:
    counted = tally(gateway.ledger for gateway in gateways.values())
    states = [status.state for status in statuses]
    return DemoResult(
        sessions=options.sessions,
        running=states.count(State.RUNNING),
        invalid=states.count(State.INVALID),
        messages_in=counted.written,
        handed_over=sum(agent.heard.values()),
        replies_sent=counted.received,
        lost=counted.lost,
        duplicates=counted.duplicates,
        p50_ms=round(percentile(counted.latencies, 0.5) * 1000, 2),
        p99_ms=round(percentile(counted.latencies, 0.99) * 1000, 2),
        seconds=round(seconds, 1),
    )
