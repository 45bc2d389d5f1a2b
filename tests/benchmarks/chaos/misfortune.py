"""How each fault is played and undone, and what it calls for while it stands.

A fault is a function that plays it, waits for as long as it lasts, and undoes it. What it leaves for the operator to do
(release, scan) is noted in the book. One that could not be played to its end is told, with why.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from tests.benchmarks.chaos.book import RUNNING, Book, Declared
from tests.benchmarks.chaos.operator import Operator
from tests.benchmarks.chaos.schedule import Fault, Kind
from tests.benchmarks.chaos.stage import SECRET, Gateway, Server, Stage
from wa_supervisor.domain.lifecycle import State

LONGEST = 120.0
"""Seconds after which a fault that could not be played or undone is given up, and told."""

SCANNING = 20.0
"""Seconds within which somebody scans; the calm sees to what is left."""

RELEASING = 4
"""Looks, a second apart, for sessions to be released; the calm sees to those that are found out later."""

TOMORROW = 86_400.0
"""Seconds for which the pause lasts that is to stand at the end."""

NONSENSE: tuple[tuple[str, object], ...] = (
    ("received-message", None),
    ("received-message", {"response": {"id": 7, "session": ["s000-number"], "type": {}}}),
    ("received-message", {"response": "text"}),
    ("onack", {"id": {"_serialized": 5}, "ack": "three"}),
    ("onack", []),
    ("qrCode", {"data": 12}),
    ("session-logged", "?"),
    ("session-error", {"session": 1}),
    ("mensagem-enviada", [None, 1]),
    ("never-heard-of", {"a": [1, 2, 3]}),
)
"""Events that no gateway should send."""


@dataclass(slots=True, kw_only=True)
class Hand:
    """What plays the faults: the stage, the operator, and the book."""

    stage: Stage
    operator: Operator
    book: Book
    unplayed: list[str] = field(default_factory=list)
    """Faults that could not be played to their end, with why."""
    reloads: int = 0

    async def play(self, fault: Fault) -> None:
        """Play one fault, from its beginning to its end."""
        try:
            with anyio.fail_after(LONGEST + fault.lasts):
                await PLAYS[fault.kind](self, fault)
        except (OSError, RuntimeError, TimeoutError) as error:
            self.unplayed.append(f"{fault.kind.value} on {fault.target}: {type(error).__name__}: {error}")

    def declared(self, fault: Fault) -> Declared:
        """Give the integration that a fault is for."""
        return self.book.declared[fault.target]

    def gateway(self, fault: Fault) -> Gateway:
        """Give the gateway that a fault is for, by its name or by its session."""
        return self.stage.gateways.get(fault.target) or self.stage.gateways[self.declared(fault).gateway]

    async def release(self, names: set[str]) -> None:
        """Release those of `names` that a cause stopped which is gone now, as an operator does who has mended it."""
        self.book.owed |= names
        for _ in range(RELEASING):
            await anyio.sleep(1.0)
            await self.operator.release(sorted(names))

    async def scan(self, declared: Declared) -> None:
        """Scan what its gateway shows until the session is connected, for a while."""
        gateway = self.stage.gateways[declared.gateway]
        with anyio.move_on_after(SCANNING):
            while not await gateway.is_connected(declared.session):
                await gateway.control("scan", session=declared.session)
                await anyio.sleep(0.3)


Play = Callable[[Hand, Fault], Awaitable[None]]


# Gateways


async def _gateway_restarted(hand: Hand, fault: Fault) -> None:
    gateway = hand.gateway(fault)
    gateway.restarts += 1
    await gateway.control("restart", seconds=fault.lasts)
    await anyio.sleep(fault.lasts)


async def _gateway_killed(hand: Hand, fault: Fault) -> None:
    gateway = hand.gateway(fault)
    await gateway.kill()
    try:
        await anyio.sleep(fault.lasts)
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(LONGEST):
            await gateway.start()


async def _gateway_stopped(hand: Hand, fault: Fault) -> None:
    child = hand.gateway(fault).child
    child.send(signal.SIGSTOP)
    try:
        await anyio.sleep(fault.lasts)
    finally:
        child.send(signal.SIGCONT)


def _answering(**fault_fields: object) -> Play:
    """Play a fault of all of a gateway's calls; `detail` is the delay, if there is one."""

    async def play(hand: Hand, fault: Fault) -> None:
        delay = {"delay": float(fault.detail)} if fault.detail else {}
        await _with_fault(hand.gateway(fault), {**fault_fields, **delay}, fault.lasts)

    return play


async def _gateway_secret(hand: Hand, fault: Fault) -> None:
    gateway = hand.gateway(fault)
    await gateway.control("secret", secret="another")
    await anyio.sleep(fault.lasts)
    await gateway.control("secret", secret=SECRET)
    await hand.release({each.id for each in hand.book.declared.values() if each.gateway == gateway.name})


async def _events_cut(hand: Hand, fault: Fault) -> None:
    await hand.gateway(fault).control("cut-clients")


async def _events_wrong(hand: Hand, fault: Fault) -> None:
    for event, payload in NONSENSE:
        await hand.gateway(fault).control("emit", event=event, payload=payload)


async def _with_fault(gateway: Gateway, fields: dict[str, object], lasts: float) -> None:
    await gateway.control("fault", fault=fields)
    await anyio.sleep(lasts)
    await gateway.control("mend")  # others' faults too: they are mended a little sooner than planned


# Sessions


async def _stuck_start(hand: Hand, fault: Fault) -> None:
    session = hand.declared(fault).session
    gateway = hand.gateway(fault)
    await gateway.control("stick", session=session, starts=1)
    await gateway.control("drop", session=session, keep_login=True)
    await anyio.sleep(fault.lasts)
    await gateway.control("stick", session=session, starts=0)


async def _browser_crashed(hand: Hand, fault: Fault) -> None:
    await hand.gateway(fault).control("crash-browser", session=hand.declared(fault).session)
    await anyio.sleep(fault.lasts)


async def _socket_dead(hand: Hand, fault: Fault) -> None:
    session = hand.declared(fault).session
    gateway = hand.gateway(fault)
    await gateway.control("die", session=session, sends=fault.detail)
    await anyio.sleep(fault.lasts)
    if not await gateway.is_connected(session):
        await gateway.control("revive", session=session)


async def _session_closed(hand: Hand, fault: Fault) -> None:
    await hand.gateway(fault).control("drop", session=hand.declared(fault).session, keep_login=True)
    await anyio.sleep(fault.lasts)


async def _page_broken(hand: Hand, fault: Fault) -> None:
    session = hand.declared(fault).session
    await hand.gateway(fault).control("break-pages", session=session, pages=1)
    await hand.gateway(fault).control("drop", session=session, keep_login=True)
    await anyio.sleep(fault.lasts)


async def _device_removed(hand: Hand, fault: Fault) -> None:
    declared = hand.declared(fault)
    if fault.is_left:
        declared.calls_for = frozenset({State.AWAITING_LOGIN, State.QUARANTINED})
        hand.book.unscanned.add(declared.id)
    await hand.gateway(fault).control("drop", session=declared.session)
    await anyio.sleep(fault.lasts)
    if not fault.is_left:
        hand.book.owed.add(declared.id)
        await hand.scan(declared)


async def _tokens_refused(hand: Hand, fault: Fault) -> None:
    declared = hand.declared(fault)
    gateway = hand.gateway(fault)
    await gateway.control("refuse-tokens", session=declared.session)
    if fault.is_left:
        declared.calls_for = frozenset({State.QUARANTINED})
        return
    await anyio.sleep(fault.lasts)
    await gateway.control("refuse-tokens", session=declared.session, times=0)
    await hand.release({declared.id})


async def _session_500(hand: Hand, fault: Fault) -> None:
    fields: dict[str, object] = {"session": hand.declared(fault).session, "answer": "error", "times": 40}
    await _session_fault(hand, fault, fields)


async def _answers_wrong(hand: Hand, fault: Fault) -> None:
    fields: dict[str, object] = {"session": hand.declared(fault).session, "answer": fault.detail, "times": 20}
    await _session_fault(hand, fault, fields)


async def _sends_fail(hand: Hand, fault: Fault) -> None:
    answer, _, done = fault.detail.partition(" ")
    session = hand.declared(fault).session
    fields: dict[str, object] = {"route": "send-message", "session": session, "answer": answer, "times": 3}
    await _session_fault(hand, fault, {**fields, "done": bool(done)})


async def _session_fault(hand: Hand, fault: Fault, fields: dict[str, object]) -> None:
    """Put it in force; it uses itself up, and the calm mends what is left of it."""
    await hand.gateway(fault).control("fault", fault=fields)
    await anyio.sleep(fault.lasts)


# Redis and PostgreSQL


def _killed(which: Callable[[Stage], Server]) -> Play:
    async def play(hand: Hand, fault: Fault) -> None:
        server = which(hand.stage)
        await server.kill()
        try:
            await anyio.sleep(fault.lasts)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(LONGEST):
                await server.start()

    return play


def _stopped(which: Callable[[Stage], Server]) -> Play:
    async def play(hand: Hand, fault: Fault) -> None:
        server = which(hand.stage)
        await server.stop()
        try:
            await anyio.sleep(fault.lasts)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(LONGEST):
                await server.go_on()

    return play


# The wish


@asynccontextmanager
async def _changed(hand: Hand, fault: Fault) -> AsyncIterator[Declared]:
    """Change a record in the block; it is written then, and stands for as long as the fault lasts."""
    declared = hand.declared(fault)
    yield declared
    await hand.operator.write_wish()
    await anyio.sleep(fault.lasts)


async def _record_changed(hand: Hand, fault: Fault) -> None:
    async with _changed(hand, fault) as declared:
        declared.keys["typing"] = not declared.keys.get("typing", True)


async def _record_moved(hand: Hand, fault: Fault) -> None:
    async with _changed(hand, fault) as declared:
        names = list(hand.stage.gateways)
        declared.gateway = names[(names.index(declared.gateway) + 1) % len(names)]


async def _record_added(hand: Hand, fault: Fault) -> None:
    if fault.target in hand.book.declared:
        del hand.book.declared[fault.target]
    else:
        hand.book.declare(fault.target)
    await hand.operator.write_wish()
    await anyio.sleep(fault.lasts)


async def _record_removed(hand: Hand, fault: Fault) -> None:
    declared = hand.book.declared.pop(fault.target)
    await hand.operator.write_wish()
    if not fault.is_left:
        await anyio.sleep(fault.lasts)
        hand.book.declared[fault.target] = declared
        await hand.operator.write_wish()


async def _record_poisoned(hand: Hand, fault: Fault) -> None:
    async with _changed(hand, fault) as declared:
        declared.raw, declared.calls_for = fault.detail, frozenset({State.INVALID})
    if not fault.is_left:
        declared.raw, declared.calls_for = None, RUNNING
        await hand.operator.write_wish()


async def _paused(hand: Hand, fault: Fault) -> None:
    async with _changed(hand, fault) as declared:
        declared.keys |= {"paused": True}
        if fault.is_left:
            declared.keys |= {"paused_until": await hand.operator.now() + TOMORROW}
            declared.calls_for = frozenset({State.PAUSED})
    if not fault.is_left:
        del declared.keys["paused"]
        await hand.operator.write_wish()


async def _paused_with_end(hand: Hand, fault: Fault) -> None:
    async with _changed(hand, fault) as declared:
        declared.keys |= {"paused": True, "paused_until": await hand.operator.now() + fault.lasts}


async def _hash_emptied(hand: Hand, fault: Fault) -> None:
    hand.book.is_emptied = True
    try:
        await hand.operator.write_wish()
        await anyio.sleep(fault.lasts)
    finally:
        hand.book.is_emptied = False
    await hand.operator.write_wish()


# Commands, configuration, the daemon


def _commanded(verb: str) -> Play:
    async def play(hand: Hand, fault: Fault) -> None:
        await hand.operator.command(verb, fault.target)
        await anyio.sleep(fault.lasts)

    return play


async def _reloaded(hand: Hand, fault: Fault) -> None:
    hand.reloads += 1
    hand.stage.write_config(changes=hand.reloads % 2)
    await _hang_up(hand, fault)


async def _reloaded_badly(hand: Hand, fault: Fault) -> None:
    hand.stage.write_config(changes=hand.reloads % 2, more=fault.detail)
    try:
        await _hang_up(hand, fault)
    finally:
        hand.stage.write_config(changes=hand.reloads % 2)


async def _hang_up(hand: Hand, fault: Fault) -> None:
    """Reload, as `systemctl reload` does it: one that is not up yet is left alone."""
    if hand.stage.daemon.is_ready:
        hand.stage.daemon.send(signal.SIGHUP)
    await anyio.sleep(fault.lasts)


async def _daemon_stopped(hand: Hand, fault: Fault) -> None:
    hand.stage.daemon.send(signal.SIGSTOP)
    try:
        await anyio.sleep(fault.lasts)
    finally:
        hand.stage.daemon.send(signal.SIGCONT)


def _daemon_ended(how: signal.Signals) -> Play:
    async def play(hand: Hand, fault: Fault) -> None:
        hand.stage.daemon.end_life(how, fault.lasts)
        await anyio.sleep(fault.lasts)
        await hand.stage.daemon.until_ready()

    return play


PLAYS: Mapping[Kind, Play] = {
    Kind.GATEWAY_RESTARTED: _gateway_restarted,
    Kind.GATEWAY_KILLED: _gateway_killed,
    Kind.GATEWAY_STOPPED: _gateway_stopped,
    Kind.GATEWAY_SLOW: _answering(),
    Kind.GATEWAY_500: _answering(answer="error"),
    Kind.GATEWAY_HTML: _answering(answer="html", status=502),
    Kind.GATEWAY_HUNG: _answering(answer="nothing"),
    Kind.GATEWAY_SECRET: _gateway_secret,
    Kind.EVENTS_CUT: _events_cut,
    Kind.EVENTS_WRONG: _events_wrong,
    Kind.STUCK_START: _stuck_start,
    Kind.BROWSER_CRASHED: _browser_crashed,
    Kind.SOCKET_DEAD: _socket_dead,
    Kind.SESSION_CLOSED: _session_closed,
    Kind.PAGE_BROKEN: _page_broken,
    Kind.DEVICE_REMOVED: _device_removed,
    Kind.TOKENS_REFUSED: _tokens_refused,
    Kind.SESSION_500: _session_500,
    Kind.ANSWERS_WRONG: _answers_wrong,
    Kind.SENDS_FAIL: _sends_fail,
    Kind.REDIS_KILLED: _killed(lambda stage: stage.redis),
    Kind.REDIS_STOPPED: _stopped(lambda stage: stage.redis),
    Kind.POSTGRES_KILLED: _killed(lambda stage: stage.postgres),
    Kind.POSTGRES_STOPPED: _stopped(lambda stage: stage.postgres),
    Kind.RECORD_CHANGED: _record_changed,
    Kind.RECORD_MOVED: _record_moved,
    Kind.RECORD_ADDED: _record_added,
    Kind.RECORD_REMOVED: _record_removed,
    Kind.RECORD_POISONED: _record_poisoned,
    Kind.PAUSED: _paused,
    Kind.PAUSED_WITH_END: _paused_with_end,
    Kind.HASH_EMPTIED: _hash_emptied,
    Kind.RESTARTED: _commanded("restart"),
    Kind.RELEASED: _commanded("release"),
    Kind.RELOADED: _reloaded,
    Kind.RELOADED_BADLY: _reloaded_badly,
    Kind.DAEMON_STOPPED: _daemon_stopped,
    Kind.DAEMON_KILLED: _daemon_ended(signal.SIGKILL),
    Kind.DAEMON_REPLACED: _daemon_ended(signal.SIGTERM),
}
"""Every kind has one."""
