"""How each fault is played and undone, and what it takes down: who was away from when to when.

A fault is a function that plays it, waits for as long as it lasts, and undoes it, also when it is cancelled. One that
could not be played to its end is told, with why.
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import anyio

from tests.benchmarks.chaos.stage import Daemon, Gateway, Server
from tests.benchmarks.delivery.counting import Outage
from tests.benchmarks.delivery.record import Record
from tests.benchmarks.delivery.schedule import Fault, Kind
from tests.benchmarks.delivery.settings import LATE
from tests.benchmarks.delivery.stage import Stage
from tests.benchmarks.delivery.wires import Way

LONGEST = 90.0
"""Seconds after which a fault that could not be played or undone is given up, and told."""

CALLS = 5
"""Sends that one fault of sending is for, if there are so many while it lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A fault that was played, by the machine's monotonic clock."""

    fault: Fault
    began: float
    ended: float


@dataclass(slots=True, kw_only=True)
class Hand:
    """What plays the faults."""

    stage: Stage
    record: Record
    played: list[Played] = field(default_factory=list)
    unplayed: list[str] = field(default_factory=list)

    async def play(self, fault: Fault) -> None:
        """Play one fault, from its beginning to its end."""
        began = time.monotonic()
        try:
            with anyio.fail_after(LONGEST + fault.lasts):
                await PLAYS[fault.kind](self, fault)
        except (OSError, RuntimeError, TimeoutError) as error:
            self.unplayed.append(f"{fault.kind.value} on {fault.target}: {type(error).__name__}: {error}")
        self.played.append(Played(fault=fault, began=began, ended=time.monotonic()))

    @asynccontextmanager
    async def away(self, who: str) -> AsyncIterator[None]:
        """Take down that somebody is away for the length of the block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.record.note(Outage(who=who, began=began, ended=time.monotonic()))

    def gateway_of(self, fault: Fault) -> Gateway:
        """Give the gateway that a fault is for, by its name or by its session."""
        of_session = {each.session: each.gateway for each in self.stage.numbers}
        return self.stage.gateways[of_session.get(fault.target, fault.target)]

    async def victim(self) -> Daemon:
        """Give the daemon that has most of the sessions."""
        names = await self.stage.holders()
        return max(self.stage.daemons, key=lambda daemon: (bool(daemon.pid), names.count(daemon.config.stem)))


Play = Callable[[Hand, Fault], Awaitable[None]]


@asynccontextmanager
async def _undone(undo: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Undo something at the end of the block, whatever happens."""
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(LONGEST):
            await undo()


# Daemons


async def _daemon_sigkill(hand: Hand, fault: Fault) -> None:
    daemon = await hand.victim()
    async with hand.away("daemon"):
        daemon.end_life(signal.SIGKILL, fault.lasts)
        await anyio.sleep(fault.lasts)
        await daemon.until_ready()


async def _daemon_sigstop(hand: Hand, fault: Fault) -> None:
    """Stop the one that has most of the sessions; the other one takes them over, and then it wakes up."""
    daemon = await hand.victim()
    async with hand.away("daemon stopped"):
        daemon.send(signal.SIGSTOP)
        try:
            await anyio.sleep(fault.lasts)
        finally:
            daemon.send(signal.SIGCONT)


# Servers


def _killed(which: Callable[[Stage], Server], who: str) -> Play:
    async def play(hand: Hand, fault: Fault) -> None:
        server = which(hand.stage)
        async with hand.away(who):
            await server.kill()
            async with _undone(server.start):
                await anyio.sleep(fault.lasts)

    return play


async def _redis_stop(hand: Hand, fault: Fault) -> None:
    async with hand.away("redis stopped"):
        await hand.stage.redis.stop()
        async with _undone(hand.stage.redis.go_on):
            await anyio.sleep(fault.lasts)


async def _gateway_kill(hand: Hand, fault: Fault) -> None:
    """Its server dies and comes back; its people, their phones and the ledger live on."""
    await hand.gateway_of(fault).control("restart", seconds=fault.lasts)
    await anyio.sleep(fault.lasts)


# Wires


def _broken(wire: str) -> Play:
    async def play(hand: Hand, fault: Fault) -> None:
        name = wire.format(target=fault.target)
        broken = hand.stage.wires[name]
        async with hand.away(f"wire {name}"):
            await broken.break_down(cast("Way", fault.detail))
            async with _undone(broken.heal):
                await anyio.sleep(fault.lasts)
        if name == "agent-redis":
            await _until_all_listen(hand)

    return play


async def _until_all_listen(hand: Hand) -> None:
    for agents in hand.stage.agents.values():
        await hand.stage.until_listening(agents)


async def _cut_events(hand: Hand, fault: Fault) -> None:
    await hand.gateway_of(fault).control("cut-clients")
    await anyio.sleep(fault.lasts)


async def _lose_events(hand: Hand, fault: Fault) -> None:
    """Say nothing of what arrives, then break the connection: that is when somebody looks for what was missed."""
    gateway = hand.gateway_of(fault)
    await gateway.control("muffle")
    async with _undone(lambda: gateway.control("unmuffle")):
        await anyio.sleep(fault.lasts)
    await gateway.control("cut-clients")


# Agents


async def _agent_kill(hand: Hand, fault: Fault) -> None:
    agents = hand.stage.agents[fault.target]
    async with hand.away(agents.name):
        await agents.kill()
        async with _undone(agents.start):
            await anyio.sleep(fault.lasts)
        await hand.stage.until_listening(agents)


# Sends


def _sends(**fields: object) -> Play:
    """Let a gateway's next sends go wrong in one way; what is not used up is mended."""

    async def play(hand: Hand, fault: Fault) -> None:
        gateway = hand.gateway_of(fault)
        late = {fault.detail: LATE} if fault.detail else {}
        await gateway.control("fault", fault={"route": "send-message", "times": CALLS, **fields, **late})
        async with _undone(lambda: gateway.control("mend")):  # others' too: theirs end a little sooner than planned
            await anyio.sleep(fault.lasts)

    return play


PLAYS: Mapping[Kind, Play] = {
    Kind.DAEMON_SIGKILL: _daemon_sigkill,
    Kind.DAEMON_SIGSTOP: _daemon_sigstop,
    Kind.REDIS_KILL: _killed(lambda stage: stage.redis, "redis"),
    Kind.REDIS_STOP: _redis_stop,
    Kind.POSTGRES_KILL: _killed(lambda stage: stage.postgres, "postgres"),
    Kind.GATEWAY_KILL: _gateway_kill,
    Kind.CUT_DAEMON_REDIS: _broken("daemon-redis"),
    Kind.CUT_DAEMON_GATEWAY: _broken("daemon-{target}"),
    Kind.CUT_DAEMON_POSTGRES: _broken("daemon-postgres"),
    Kind.CUT_AGENT_REDIS: _broken("agent-redis"),
    Kind.CUT_EVENTS: _cut_events,
    Kind.LOSE_EVENTS: _lose_events,
    Kind.AGENT_KILL: _agent_kill,
    Kind.SEND_LATE: _sends(),
    Kind.SEND_500_AFTER_EFFECT: _sends(done=True, answer="error"),
    Kind.SEND_500_WITHOUT_EFFECT: _sends(done=False, answer="error"),
    Kind.SEND_CUT: _sends(done=True, answer="cut"),
}
