"""Everything that runs: gateways, Valkey, PostgreSQL, two daemons and the agents, with a wire between each pair.

The processes are those of the chaos benchmark. The second daemon runs only while it is wanted; it shares the wish and
takes over what the first one leaves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import httpx
import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from tests.benchmarks.chaos.stage import LOOK, UP, Daemon, Gateway, Server, ended, serving
from tests.benchmarks.delivery.agents import Agents
from tests.benchmarks.delivery.people import Number
from tests.benchmarks.delivery.settings import configuration
from tests.benchmarks.delivery.wires import Wire, wired
from tests.servers import policy_from_environment
from wa_supervisor.domain.status import SessionStatus

PHONES = (sys.executable, "-m", "tests.benchmarks.delivery.phones")

PROCESSES = 2
"""Processes of agents of each kind: one is killed while the other goes on."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """All of it."""

    folder: Path
    gateways: Mapping[str, Gateway]
    redis: Server
    postgres: Server
    daemons: tuple[Daemon, Daemon]
    agents: Mapping[str, Agents]
    wires: Mapping[str, Wire]
    """`daemon-redis`, `agent-redis`, `daemon-postgres`, and `daemon-` with each gateway's name."""
    numbers: Sequence[Number]

    @property
    def stream_sessions(self) -> frozenset[str]:
        """Sessions whose agents read the stream."""
        streaming = {agent for each in self.agents.values() if each.by_stream for agent in each.agents}
        return frozenset(each.session for each in self.numbers if each.agent in streaming)

    @property
    def groups(self) -> dict[str, str]:
        """Each session's process of agents."""
        of_agent = {agent: each.name for each in self.agents.values() for agent in each.agents}
        return {each.session: of_agent[each.agent] for each in self.numbers}

    async def write_wish(self) -> None:
        """Write the hash of integrations."""
        async with redis.asyncio.Redis.from_url(self.redis.url) as client:
            for each in self.numbers:
                record = {"agent_id": each.agent, "session": each.session, "gateway": each.gateway}
                await client.hset("wa:integrations", each.session, json.dumps(record))
            await client.publish("wa:bell", "")

    async def set_fsync(self, policy: str) -> None:
        """Let Valkey flush its file `everysec` or `always`, until it is started anew, which is `always`."""
        async with redis.asyncio.Redis.from_url(self.redis.url) as client:
            await client.config_set("appendfsync", policy)

    async def statuses(self) -> list[SessionStatus]:
        """Give the status of every integration; none while Redis is away."""
        try:
            async with redis.asyncio.Redis.from_url(self.redis.url, socket_timeout=2.0) as client:
                told = await client.hvals("wa:status")
        except (RedisError, OSError):
            return []
        return [msgspec.json.decode(each, type=SessionStatus) for each in told]

    async def holders(self) -> list[str | None]:
        """Give the daemon of each integration, as its status has it."""
        return [each.daemon for each in await self.statuses()]

    async def until_listening(self, agents: Agents) -> None:
        """Wait until every agent of a process listens to its channel; one on the stream need not."""
        channels = [f"agent:{agent}:input" for agent in agents.agents]
        with anyio.fail_after(UP):
            while not agents.by_stream and not await self._is_listened_to(channels):  # noqa: ASYNC110  # Redis has no event
                agents.check()
                await anyio.sleep(LOOK)

    async def _is_listened_to(self, channels: Sequence[str]) -> bool:
        try:
            async with redis.asyncio.Redis.from_url(self.redis.url, socket_timeout=2.0) as client:
                heard = await client.pubsub_numsub(*channels)
        except (RedisError, OSError):
            return False
        return all(count > 0 for _, count in heard)


@asynccontextmanager
async def staged(folder: Path, sessions: int, gateways: int) -> AsyncIterator[Stage]:
    """Set the stage; nothing of ours runs yet but the servers. At the end everything is ended."""
    policy = replace(policy_from_environment(), append_fsync="always")
    async with AsyncExitStack() as ending:
        client = await ending.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=10.0))
        redis_server, postgres = await ending.enter_async_context(serving(folder / "servers", policy))
        phones = {
            f"g{number}": Gateway(f"g{number}", folder, client, program=PHONES) for number in range(1, gateways + 1)
        }
        for gateway in phones.values():
            ending.push_async_callback(ended, gateway)
            await gateway.start()
        wires = await ending.enter_async_context(
            wired(
                {
                    "daemon-redis": redis_server.url,
                    "agent-redis": redis_server.url,
                    "daemon-postgres": postgres.url,
                    **{f"daemon-{name}": gateway.url for name, gateway in phones.items()},
                }
            )
        )
        numbers = _numbers(sessions, list(phones))
        agents = _agents(numbers, folder, wires["agent-redis"])
        daemons = (Daemon(folder, "first"), Daemon(folder, "second"))
        for child in agents.values():
            ending.push_async_callback(ended, child)
        for daemon in daemons:
            ending.push_async_callback(ended, daemon)
        _configure(daemons, wires, list(phones))
        yield Stage(
            folder=folder,
            gateways=phones,
            redis=redis_server,
            postgres=postgres,
            daemons=daemons,
            agents=agents,
            wires=wires,
            numbers=numbers,
        )


def _numbers(sessions: int, gateways: Sequence[str]) -> list[Number]:
    return [
        Number(session=f"s{index:03}", agent=f"a{index:03}", gateway=gateways[index % len(gateways)], index=index)
        for index in range(sessions)
    ]


def _agents(numbers: Sequence[Number], folder: Path, wire: Wire) -> dict[str, Agents]:
    """Every second pair of integrations has agents on the stream, so that each gateway has both kinds."""
    found = {}
    for kind in range(2):
        mine = [each.agent for each in numbers if each.index // 2 % 2 == kind]
        for process in range(PROCESSES):
            name, by_stream = f"{('channel', 'stream')[kind]}-{process + 1}", kind == 1
            if mine[process::PROCESSES]:
                url = f"redis://127.0.0.1:{wire.port}/0"
                found[name] = Agents(name, mine[process::PROCESSES], folder, url, by_stream=by_stream)
    return found


def _configure(daemons: Sequence[Daemon], wires: Mapping[str, Wire], gateways: Sequence[str]) -> None:
    for daemon in daemons:
        text = configuration(
            daemon.config.stem,
            redis=f"redis://127.0.0.1:{wires['daemon-redis'].port}/0",
            postgres=f"postgresql://wa_supervisor@127.0.0.1:{wires['daemon-postgres'].port}/wa_supervisor?sslmode=disable",
            gateways={name: f"http://127.0.0.1:{wires[f'daemon-{name}'].port}" for name in gateways},
        )
        daemon.config.write_text(text, encoding="utf-8")
