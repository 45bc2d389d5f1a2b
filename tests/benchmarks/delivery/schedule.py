"""Which faults come when, to whom, for how long: plans made from a seed, before anything is played.

`alone` plans one kind so many times, each after a pause that the dice decide; `mixed` plans all kinds for some minutes,
in the order of a shuffled deck, and nobody has two faults at the same time that would undo each other: each reserves
what it touches until a while after it was undone, and a kind that finds nobody free has the next turn. Pure: no clock,
no I/O.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class Kind(StrEnum):
    """What is played; see `misfortune` for how."""

    DAEMON_SIGKILL = "daemon_sigkill"
    DAEMON_SIGSTOP = "daemon_sigstop"
    REDIS_KILL = "redis_kill"
    REDIS_STOP = "redis_stop"
    POSTGRES_KILL = "postgres_kill"
    GATEWAY_KILL = "gateway_kill"
    CUT_DAEMON_REDIS = "cut_daemon_redis"
    CUT_DAEMON_GATEWAY = "cut_daemon_gateway"
    CUT_DAEMON_POSTGRES = "cut_daemon_postgres"
    CUT_AGENT_REDIS = "cut_agent_redis"
    CUT_EVENTS = "cut_events"
    LOSE_EVENTS = "lose_events"
    AGENT_KILL = "agent_kill"
    SEND_LATE = "send_late"
    SEND_500_AFTER_EFFECT = "send_500_after_effect"
    SEND_500_WITHOUT_EFFECT = "send_500_without_effect"
    SEND_CUT = "send_cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a plan."""

    kind: Kind
    target: str
    """A gateway, a group of agents, a session, or the name of what there is only one of."""
    after: float
    """Seconds: in `alone` from the end of the one before, in `mixed` from the beginning."""
    lasts: float
    """Seconds until it is undone."""
    detail: str = ""
    """Which of several ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long a kind lasts, and what it touches."""

    touches: str
    """`gateway`, `agents`, `session`, or the name of what there is only one of."""
    shortest: float = 0.5
    longest: float = 3.0
    details: tuple[str, ...] = ("",)


WAYS = ("cut", "refuse", "stall", "answers")

RECIPES: Mapping[Kind, Recipe] = {
    Kind.DAEMON_SIGKILL: Recipe(touches="daemon", longest=2.0),
    # Longer than lease_ttl (3 s), claim_after and what a takeover takes: another one must have sent meanwhile.
    Kind.DAEMON_SIGSTOP: Recipe(touches="daemon", shortest=6.0, longest=9.0),
    Kind.REDIS_KILL: Recipe(touches="redis"),
    Kind.REDIS_STOP: Recipe(touches="redis", longest=5.0),
    Kind.POSTGRES_KILL: Recipe(touches="postgres"),
    Kind.GATEWAY_KILL: Recipe(touches="gateway", longest=5.0),
    Kind.CUT_DAEMON_REDIS: Recipe(touches="redis", details=WAYS),
    Kind.CUT_DAEMON_GATEWAY: Recipe(touches="gateway", details=WAYS),
    Kind.CUT_DAEMON_POSTGRES: Recipe(touches="postgres", details=WAYS),
    Kind.CUT_AGENT_REDIS: Recipe(touches="every agent", details=WAYS),
    Kind.CUT_EVENTS: Recipe(touches="gateway", shortest=0.0, longest=1.0),
    Kind.LOSE_EVENTS: Recipe(touches="gateway", longest=2.0),
    Kind.AGENT_KILL: Recipe(touches="agents"),
    # Later than send_timeout (2 s): `late` after the effect, `delay` before it.
    Kind.SEND_LATE: Recipe(touches="session", shortest=1.0, details=("late", "delay")),
    Kind.SEND_500_AFTER_EFFECT: Recipe(touches="session", shortest=1.0),
    Kind.SEND_500_WITHOUT_EFFECT: Recipe(touches="session", shortest=1.0),
    Kind.SEND_CUT: Recipe(touches="session", shortest=1.0),
}

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 5.0
"""Seconds between two faults of the same kind: some hit what is all right again, some what is not yet."""

REST = 3.0
"""Seconds that a target of mixed faults is left alone after one; others have theirs meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who there is to have a fault."""

    gateways: tuple[str, ...]
    agents: tuple[str, ...]
    """Groups of agents, each a process."""
    sessions: tuple[str, ...]

    def of(self, what: str) -> tuple[str, ...]:
        """Give everybody of a kind."""
        named = {"gateway": self.gateways, "agents": self.agents, "session": self.sessions}
        return named.get(what, (what,))


def alone(seed: int, cast: Cast, kind: Kind, times: int) -> tuple[Fault, ...]:
    """Plan one kind so many times, one after the other; every way of it before any comes twice."""
    dice = random.Random(f"{seed} {kind}")
    recipe = RECIPES[kind]
    details = _deck(dice, recipe.details)
    targets = _deck(dice, cast.of(recipe.touches))
    return tuple(
        Fault(
            kind=kind,
            target=next(targets),
            after=dice.uniform(SHORTEST_PAUSE, LONGEST_PAUSE),
            lasts=dice.uniform(recipe.shortest, recipe.longest),
            detail=next(details),
        )
        for _ in range(times)
    )


def mixed(seed: int, cast: Cast, kinds: Sequence[Kind], *, seconds: float, spacing: float) -> tuple[Fault, ...]:
    """Plan these kinds for so many seconds, one about every `spacing` seconds."""
    dice = random.Random(f"{seed} mixed")
    deck = _deck(dice, kinds)
    free_at: dict[str, float] = {}
    waiting: list[Kind] = []
    faults: list[Fault] = []
    at = 0.0
    while (at := at + dice.uniform(0.5, 1.5) * spacing) < seconds:
        waiting.append(next(deck))
        possible = (_next(dice, kind, cast, free_at, at) for kind in waiting)
        fault = next((each for each in possible if each is not None), None)
        if fault is not None:
            waiting.remove(fault.kind)
            faults.append(fault)
            free_at[fault.target] = at + fault.lasts + REST
    return tuple(faults)


def _next(dice: random.Random, kind: Kind, cast: Cast, free_at: Mapping[str, float], at: float) -> Fault | None:
    """Give a fault of this kind, `None` when everybody whom it could touch has one already."""
    recipe = RECIPES[kind]
    free = [name for name in cast.of(recipe.touches) if free_at.get(name, 0.0) <= at]
    lasts, detail = dice.uniform(recipe.shortest, recipe.longest), dice.choice(recipe.details)
    if not free:
        return None
    return Fault(kind=kind, target=dice.choice(free), after=at, lasts=lasts, detail=detail)


def _deck(dice: random.Random, cards: Sequence[T]) -> Iterator[T]:
    """Deal every card before any comes again."""
    while True:
        shuffled = list(cards)
        dice.shuffle(shuffled)
        yield from shuffled
