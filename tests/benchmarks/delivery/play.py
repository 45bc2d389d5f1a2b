"""The run: phases in their order, each with its faults and its calm, and what was found, as one object.

Everything is bounded: each fault, each calm, the whole run. Cancelling ends it wherever it is; what was counted so far
is there all the same.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from tests.benchmarks.delivery.counting import Fate, Loss, Outage, Sightings, Tally, fates, missed, tally
from tests.benchmarks.delivery.misfortune import Hand, Played
from tests.benchmarks.delivery.people import People
from tests.benchmarks.delivery.record import Marks, Record
from tests.benchmarks.delivery.schedule import Cast, Fault, Kind, alone, mixed
from tests.benchmarks.delivery.stage import Stage, staged
from wa_supervisor.domain.lifecycle import State

COMING_UP = 90.0
"""Seconds within which every session must be connected in the beginning."""

WARMING = 3.0
"""Seconds of traffic without faults before and after the faults of a phase."""

CALM_LEAST = 3.0
"""Seconds at a stretch in which nothing may be missing and nothing move, so that a late duplicate shows."""

LOOK = 1.0
"""Seconds between two looks in a calm."""

SPACING = 3.0
"""Seconds between the beginnings of two mixed faults, about."""

EXAMPLES = 12
"""Messages that are told one by one when something is wrong."""

REDIS_DIES = frozenset({Kind.REDIS_KILL})
"""With these Valkey flushes its file `always`: what it said it has would else be gone with it, up to a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is played."""

    seed: int = 1
    sessions: int = 50
    gateways: int = 2
    rate: float = 40.0
    """Messages a second, all together."""
    each: int = 20
    """How often each kind is played alone; 0: not at all."""
    calm: float = 120.0
    """Seconds of a calm at most: so much that what is not delivered by then is lost (`settle_longest` is 90)."""
    minutes: float = 10.0
    """How long all kinds are mixed; 0: not at all."""
    kinds: tuple[Kind, ...] = tuple(Kind)


@dataclass(slots=True, kw_only=True)
class Phase:
    """One phase: what was played in it, and what was written in it."""

    name: str
    fsync: str
    began: float
    ended: float = 0.0
    calm_s: float = 0.0
    """Seconds until everything that could be delivered was."""
    is_calm: bool = False
    faults: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was found so far."""

    phase: str = "come up"
    phases: list[Phase] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    played: list[Played] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    unplayed: list[str] = field(default_factory=list)
    unordered: list[int | None] = field(default_factory=list)
    lives: int = 0
    unwritten: int = 0
    foreign_letters: int = 0
    """Dead letters that are about none of the messages."""
    is_whole: bool = False
    began: float = 0.0
    ended: float = 0.0

    def of(self, phase: Phase) -> list[Fate]:
        """Give the fates of what was written in a phase."""
        return [each for each in self.fates if phase.began <= each.written_at < phase.ended]

    @property
    def missed(self) -> list[str]:
        """Why it is not all right."""
        said = missed(tally(self.fates))
        said += [
            f"{phase.name}: {'; '.join(wrong)}" for phase in self.phases if (wrong := missed(tally(self.of(phase))))
        ]
        if self.unordered:
            said.append(f"a daemon died {len(self.unordered)} times without an order, with {self.unordered}")
        said += [f"not played to its end: {each}" for each in self.unplayed]
        return said if self.is_whole else [f"the run ended in phase {self.phase!r}", *said]


class Run:
    """One run."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.findings = Findings()
        self._scene = scene
        self._folder = folder

    async def run(self) -> None:
        """Play all of it."""
        scene, found = self._scene, self.findings
        found.began = time.monotonic()
        async with staged(self._folder, scene.sessions, scene.gateways) as stage:
            record = Record(list(stage.gateways.values()), list(stage.agents.values()), stage.redis.url)
            people = People(scene.seed, stage.numbers, stage.gateways, scene.rate)
            async with aclosing(record), anyio.create_task_group() as tasks:
                playing = _Playing(scene, stage, Hand(stage=stage, record=record), people, found, tasks)
                tasks.start_soon(people.run)
                tasks.start_soon(record.keep_looking)
                try:
                    await playing.run()
                finally:
                    playing.note()
                tasks.cancel_scope.cancel()

    def write_down(self) -> None:
        """Leave in the folder what became of every message, and what was played: for whoever looks for a cause."""
        found = self.findings
        told: dict[str, Sequence[Any]] = {
            "fates.jsonl": found.fates,
            "faults.jsonl": found.played,
            "outages.jsonl": found.outages,
        }
        for name, lines in told.items():
            text = "".join(f"{json.dumps(asdict(line))}\n" for line in lines)
            (self._folder / name).write_text(text, encoding="utf-8")

    def result(self) -> dict[str, Any]:
        """Give what is printed."""
        found, scene = self.findings, self._scene
        wrong = found.missed
        return {
            "benchmark": "delivery",
            "seed": scene.seed,
            "sessions": scene.sessions,
            "gateways": scene.gateways,
            "rate": scene.rate,
            "each": scene.each,
            "minutes": scene.minutes,
            "duration_s": round(found.ended - found.began, 1),
            **asdict(tally(found.fates)),
            "faults": dict(sorted(Counter(each.fault.kind.value for each in found.played).items())),
            "phases": {phase.name: _phase(phase, tally(found.of(phase))) for phase in found.phases},
            "foreign_dead_letters": found.foreign_letters,
            "unwritten": found.unwritten,
            "daemon_lives": found.lives,
            "daemon_died_unordered": found.unordered,
            "examples": _examples(found) if wrong else [],
            "missed": wrong,
            "ok": not wrong,
        }


def _phase(phase: Phase, sums: Tally) -> dict[str, Any]:
    about = {
        "faults": dict(sorted(phase.faults.items())),
        "fsync": phase.fsync,
        "seconds": round(phase.ended - phase.began, 1),
        "calm_s": round(phase.calm_s, 1),
        "is_calm": phase.is_calm,
    }
    return {**about, **asdict(sums)}


def _examples(found: Findings) -> list[dict[str, Any]]:
    """Give the first few messages of each way in which something is wrong, with what was played around them."""
    ways: dict[str, Iterable[Fate]] = {
        "lost": (each for each in found.fates if each.lost in {Loss.NOT_HANDED_OVER, Loss.NOT_HEARD}),
        "reply lost": (each for each in found.fates if each.by_stream and each.reply_lost),
        "again to the agent": (each for each in found.fates if each.duplicates_to_agent),
        "again to the person": (each for each in found.fates if each.duplicates_to_person),
        "to somebody else": (each for each in found.fates if each.received_elsewhere),
    }
    return [_example(found, way, fate) for way, some in ways.items() for fate in list(some)[:EXAMPLES]]


def _example(found: Findings, way: str, fate: Fate) -> dict[str, Any]:
    def since(moment: float | None) -> float | None:
        return None if moment is None else round(moment - found.began, 2)

    around = [each for each in found.played if each.began - 3 <= fate.written_at <= each.ended + 3]
    return {
        "wrong": way,
        "number": fate.number,
        "session": fate.session,
        "chat": fate.chat,
        "agent_on": "stream" if fate.by_stream else "channel",
        "written_s": since(fate.written_at),
        "handed_s": since(fate.handed_at),
        "recovered": fate.is_recovered,
        "handed": fate.handed,
        "heard": fate.heard,
        "redelivered": fate.redelivered,
        "answers": fate.answers,
        "received": fate.received,
        "lost": fate.lost.value,
        "reply_lost": fate.reply_lost.value,
        "faults": [
            f"{each.fault.kind.value} {each.fault.target} {each.fault.detail}".strip()
            + f" {since(each.began)}..{since(each.ended)}"
            for each in around
        ],
    }


class _Playing:
    """The phases, on a stage that stands."""

    def __init__(
        self, scene: Scene, stage: Stage, hand: Hand, people: People, found: Findings, tasks: TaskGroup
    ) -> None:
        self._scene = scene
        self._stage = stage
        self._hand = hand
        self._record = hand.record
        self._people = people
        self._found = found
        self._tasks = tasks
        self._cast = Cast(
            gateways=tuple(stage.gateways),
            agents=tuple(stage.agents),
            sessions=tuple(each.session for each in stage.numbers),
        )

    async def run(self) -> None:
        self._say("come up")
        await self._come_up()
        await self._play_phase("no fault", (), None)
        for kind in self._scene.kinds if self._scene.each else ():
            await self._play_phase(kind.value, (kind,), alone(self._scene.seed, self._cast, kind, self._scene.each))
        if self._scene.minutes:
            seconds = 60 * self._scene.minutes
            plan = mixed(self._scene.seed, self._cast, self._scene.kinds, seconds=seconds, spacing=SPACING)
            await self._play_phase("mixed", self._scene.kinds, plan, is_mixed=True)
        self._found.is_whole = True

    def note(self) -> None:
        """Take down what was found, whether or not the run came to its end."""
        found, stage = self._found, self._stage
        found.played, found.unplayed = self._hand.played, self._hand.unplayed
        found.outages = self._record.seen.outages
        found.unordered = [ended for daemon in stage.daemons for ended in daemon.unordered]
        found.lives = sum(daemon.lives for daemon in stage.daemons)
        found.unwritten = self._people.unwritten
        found.ended = time.monotonic()
        for phase in found.phases:
            phase.ended = phase.ended or found.ended
        found.fates = self._fates(self._record.seen)
        numbers = {each.number for each in found.fates}
        found.foreign_letters = sum(each.number not in numbers for each in self._record.seen.letters)

    async def _come_up(self) -> None:
        await self._stage.write_wish()
        for agents in self._stage.agents.values():
            await agents.start()
        for agents in self._stage.agents.values():
            await self._stage.until_listening(agents)
        first, _ = self._stage.daemons
        self._tasks.start_soon(first.keep)
        await first.until_ready()
        with anyio.move_on_after(COMING_UP):
            while not await self._are_all_running():  # noqa: ASYNC110  # another process has no event to wait for
                await anyio.sleep(LOOK)

    async def _are_all_running(self) -> bool:
        states = [each.state for each in await self._stage.statuses()]
        return states.count(State.RUNNING) == len(self._stage.numbers)

    async def _play_phase(
        self, name: str, kinds: Sequence[Kind], plan: Sequence[Fault] | None, *, is_mixed: bool = False
    ) -> None:
        self._say(name)
        fsync = "always" if REDIS_DIES & set(kinds) else "everysec"
        await self._stage.set_fsync(fsync)
        phase = Phase(name=name, fsync=fsync, began=time.monotonic())
        self._found.phases.append(phase)
        since = self._record.marks
        async with self._with_second_daemon(is_wanted=Kind.DAEMON_SIGSTOP in kinds):
            self._people.is_writing = True
            await anyio.sleep(WARMING)
            await (self._all_at_once(plan or ()) if is_mixed else self._one_by_one(plan or ()))
            await anyio.sleep(WARMING)
            await self._people.stop()
            await self._calm(phase, since)
        phase.faults = Counter(fault.kind.value for fault in plan or ())
        phase.ended = time.monotonic()

    async def _one_by_one(self, plan: Sequence[Fault]) -> None:
        for fault in plan:
            await anyio.sleep(fault.after)
            await self._hand.play(fault)

    async def _all_at_once(self, plan: Sequence[Fault]) -> None:
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for fault in plan:
                await anyio.sleep(max(0.0, began + fault.after - anyio.current_time()))
                tasks.start_soon(self._hand.play, fault)

    @asynccontextmanager
    async def _with_second_daemon(self, *, is_wanted: bool) -> AsyncIterator[None]:
        if not is_wanted:
            yield
            return
        _, second = self._stage.daemons
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.keep)
            await second.until_ready()
            yield
            tasks.cancel_scope.cancel()
        await second.end()

    async def _calm(self, phase: Phase, since: Marks) -> None:
        """Wait until everything that can be delivered is, or for as long as one waits for that."""
        self._say(f"{phase.name}: calm")
        began = moved = time.monotonic()
        while (now := time.monotonic()) - began < self._scene.calm:
            size = self._record.size
            await self._record.look()
            moved = now if self._record.size > size or self._unsettled(since) else moved
            if now - moved >= CALM_LEAST:
                break
            await anyio.sleep(LOOK)
        phase.calm_s, phase.is_calm = moved - began, not self._unsettled(since)

    def _unsettled(self, since: Marks) -> int:
        return sum(not each.is_settled for each in self._fates(self._record.since(since)))

    def _fates(self, seen: Sightings) -> list[Fate]:
        return fates(seen, self._stage.stream_sessions, self._stage.groups)

    def _say(self, phase: str) -> None:
        self._found.phase = phase
        print(f"delivery: {phase}", file=sys.stderr, flush=True)
