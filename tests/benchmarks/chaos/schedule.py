"""Which faults come when, to whom, for how long: a plan made from a seed, before anything is played.

Every kind comes once before any comes twice. Nobody has two faults at the same time that would undo each other: each
fault reserves what it touches (a session, a gateway, Redis, the daemon) until a while after it was undone. What stands
at the end of a plan, on purpose, is `LEFT`: causes that nobody takes back. Pure: no clock, no I/O.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is played; see `misfortune` for how."""

    GATEWAY_RESTARTED = "gateway_restarted"
    GATEWAY_KILLED = "gateway_killed"
    GATEWAY_STOPPED = "gateway_stopped"
    GATEWAY_SLOW = "gateway_slow"
    GATEWAY_500 = "gateway_500"
    GATEWAY_HTML = "gateway_html"
    GATEWAY_HUNG = "gateway_hung"
    GATEWAY_SECRET = "gateway_secret"
    EVENTS_CUT = "events_cut"
    EVENTS_WRONG = "events_wrong"
    STUCK_START = "stuck_start"
    BROWSER_CRASHED = "browser_crashed"
    SOCKET_DEAD = "socket_dead"
    SESSION_CLOSED = "session_closed"
    PAGE_BROKEN = "page_broken"
    DEVICE_REMOVED = "device_removed"
    TOKENS_REFUSED = "tokens_refused"
    SESSION_500 = "session_500"
    ANSWERS_WRONG = "answers_wrong"
    SENDS_FAIL = "sends_fail"
    REDIS_KILLED = "redis_killed"
    REDIS_STOPPED = "redis_stopped"
    POSTGRES_KILLED = "postgres_killed"
    POSTGRES_STOPPED = "postgres_stopped"
    RECORD_CHANGED = "record_changed"
    RECORD_MOVED = "record_moved"
    RECORD_ADDED = "record_added"
    RECORD_REMOVED = "record_removed"
    RECORD_POISONED = "record_poisoned"
    PAUSED = "paused"
    PAUSED_WITH_END = "paused_with_end"
    HASH_EMPTIED = "hash_emptied"
    RESTARTED = "restarted"
    RELEASED = "released"
    RELOADED = "reloaded"
    RELOADED_BADLY = "reloaded_badly"
    DAEMON_STOPPED = "daemon_stopped"
    DAEMON_KILLED = "daemon_killed"
    DAEMON_REPLACED = "daemon_replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a plan. Seconds are counted from the beginning of the faults."""

    at: float
    kind: Kind
    target: str
    """An integration, a gateway, or what there is only one of."""
    lasts: float
    """Seconds until it is undone; for what happens in an instant, until the next fault may come to its target."""
    is_left: bool = False
    """Nobody takes it back."""
    detail: str = ""
    """Which of several ways, or another name that it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long a kind lasts, and what it touches."""

    touches: str
    """`session`, `gateway`, or the name of what there is only one of."""
    shortest: float = 1.0
    longest: float = 6.0
    details: tuple[str, ...] = ("",)


REST = 4.0
"""Seconds that a target is left alone after a fault: the operator's hand (a release, a scan) has done its work then."""

RECIPES: Mapping[Kind, Recipe] = {
    Kind.GATEWAY_RESTARTED: Recipe(touches="gateway", shortest=0.0),
    Kind.GATEWAY_KILLED: Recipe(touches="gateway", shortest=0.5, longest=10.0),
    Kind.GATEWAY_STOPPED: Recipe(touches="gateway"),
    Kind.GATEWAY_SLOW: Recipe(touches="gateway", details=("0.3", "1", "3")),
    Kind.GATEWAY_500: Recipe(touches="gateway"),
    Kind.GATEWAY_HTML: Recipe(touches="gateway"),
    Kind.GATEWAY_HUNG: Recipe(touches="gateway"),
    Kind.GATEWAY_SECRET: Recipe(touches="gateway"),
    Kind.EVENTS_CUT: Recipe(touches="gateway", shortest=0.0, longest=0.5),
    Kind.EVENTS_WRONG: Recipe(touches="gateway", shortest=0.0, longest=0.5),
    Kind.STUCK_START: Recipe(touches="session"),
    Kind.BROWSER_CRASHED: Recipe(touches="session", longest=3.0),
    Kind.SOCKET_DEAD: Recipe(touches="session", shortest=3.0, longest=10.0, details=("timeout", "ack0")),
    Kind.SESSION_CLOSED: Recipe(touches="session", longest=3.0),
    Kind.PAGE_BROKEN: Recipe(touches="session", longest=3.0),
    Kind.DEVICE_REMOVED: Recipe(touches="session"),
    Kind.TOKENS_REFUSED: Recipe(touches="session"),
    Kind.SESSION_500: Recipe(touches="session"),
    Kind.ANSWERS_WRONG: Recipe(touches="session", details=("html", "empty", "cut", "nothing")),
    Kind.SENDS_FAIL: Recipe(touches="session", details=("error", "error done", "html", "nothing done", "cut", "empty")),
    Kind.REDIS_KILLED: Recipe(touches="redis", shortest=0.2),
    Kind.REDIS_STOPPED: Recipe(touches="redis", longest=8.0),
    Kind.POSTGRES_KILLED: Recipe(touches="postgres"),
    Kind.POSTGRES_STOPPED: Recipe(touches="postgres", longest=8.0),
    Kind.RECORD_CHANGED: Recipe(touches="session"),
    Kind.RECORD_MOVED: Recipe(touches="session", shortest=2.0),
    Kind.RECORD_ADDED: Recipe(touches="extra", shortest=3.0),
    Kind.RECORD_REMOVED: Recipe(touches="session", shortest=0.2),
    Kind.RECORD_POISONED: Recipe(touches="session", details=("{", "[]", '{"agent_id": 7}', '{"pausd": true}')),
    Kind.PAUSED: Recipe(touches="session"),
    Kind.PAUSED_WITH_END: Recipe(touches="session"),
    Kind.HASH_EMPTIED: Recipe(touches="wish", shortest=0.5, longest=4.0),
    Kind.RESTARTED: Recipe(touches="session", longest=2.0),
    Kind.RELEASED: Recipe(touches="session", longest=2.0),
    Kind.RELOADED: Recipe(touches="daemon", longest=2.0),
    Kind.RELOADED_BADLY: Recipe(
        touches="daemon", longest=2.0, details=("[nonsense]\n", "= broken", "[redis]\nurl = 7\n")
    ),
    Kind.DAEMON_STOPPED: Recipe(touches="daemon"),
    Kind.DAEMON_KILLED: Recipe(touches="daemon", shortest=0.0, longest=8.0),
    Kind.DAEMON_REPLACED: Recipe(touches="daemon", shortest=0.0, longest=3.0),
}

DEATHS = frozenset({Kind.DAEMON_KILLED, Kind.DAEMON_REPLACED})
"""After these the daemon is another process, and what it holds cannot be compared with before."""

LEFT = (Kind.DEVICE_REMOVED, Kind.TOKENS_REFUSED, Kind.RECORD_POISONED, Kind.PAUSED, Kind.RECORD_REMOVED)
"""What nobody takes back at the end, each for one session; a pause among them ends by itself, tomorrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who there is to have a fault."""

    sessions: tuple[str, ...]
    gateways: tuple[str, ...]
    extra: tuple[str, ...]
    """Integrations that are not there in the beginning."""

    def of(self, what: str) -> tuple[str, ...]:
        """Give everybody of a kind."""
        return {"session": self.sessions, "gateway": self.gateways, "extra": self.extra}.get(what, (what,))


def plan(
    seed: int, cast: Cast, *, seconds: float, spacing: float, with_deaths: bool, with_left: bool
) -> tuple[Fault, ...]:
    """Plan faults for so many seconds, one about every `spacing` seconds."""
    dice = random.Random(seed)
    sessions = list(cast.sessions)
    dice.shuffle(sessions)
    spared = sessions[: len(LEFT)] if with_left else []
    free_at: dict[str, float] = {}
    deck = _deck(dice, with_deaths=with_deaths)
    faults: list[Fault] = []
    at = 0.0
    while at < seconds:
        fault = _next(dice, deck, cast, free_at, at, seconds)
        if fault is not None:
            faults.append(fault)
            free_at[fault.target] = at + fault.lasts + REST
        at += dice.uniform(0.5, 1.5) * spacing
    end = max((fault.at + fault.lasts for fault in faults), default=0.0) + REST
    return (*faults, *_left(dice, spared, end))


def _deck(dice: random.Random, *, with_deaths: bool) -> Iterator[Kind]:
    """Deal every kind before any comes again; with deaths, a death of the daemon comes early, also in a short run."""
    kinds = [kind for kind in Kind if with_deaths or kind not in DEATHS]
    if with_deaths:
        kinds.remove(Kind.DAEMON_KILLED)
        dice.shuffle(kinds)
        yield from (Kind.DAEMON_KILLED, *kinds)
        kinds.append(Kind.DAEMON_KILLED)
    while True:
        dice.shuffle(kinds)
        yield from kinds


def _next(
    dice: random.Random, deck: Iterator[Kind], cast: Cast, free_at: Mapping[str, float], at: float, end: float
) -> Fault | None:
    """Give a fault of the deck's next kind, `None` when everybody whom it could touch has one already."""
    kind = next(deck)
    recipe = RECIPES[kind]
    free = [name for name in cast.of(recipe.touches) if free_at.get(name, 0.0) <= at]
    lasts = min(dice.uniform(recipe.shortest, recipe.longest), max(0.0, end - at))
    detail = dice.choice(recipe.details)
    if not free:
        return None
    return Fault(at=at, kind=kind, target=dice.choice(free), lasts=lasts, detail=detail)


def _left(dice: random.Random, spared: Sequence[str], at: float) -> Iterator[Fault]:
    for kind, session in zip(LEFT, spared, strict=False):
        detail = dice.choice(RECIPES[kind].details)
        yield Fault(at=at, kind=kind, target=session, lasts=0.0, is_left=True, detail=detail)
