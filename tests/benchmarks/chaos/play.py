"""The run: calms and faults in their order, and what was found, as one object.

Everything is bounded: each fault, each calm, the whole run. Cancelling ends it wherever it is; what was found so far is
there all the same.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec

from tests.benchmarks.chaos import verdict
from tests.benchmarks.chaos.book import Book, agent_of
from tests.benchmarks.chaos.misfortune import Hand
from tests.benchmarks.chaos.operator import Operator
from tests.benchmarks.chaos.schedule import Cast, Fault, plan
from tests.benchmarks.chaos.stage import Stage, staged
from tests.benchmarks.chaos.traffic import Messages, Traffic
from tests.benchmarks.chaos.verdict import Growth, WrongState
from tests.benchmarks.chaos.vitals import Vitals, least, look_at

EXTRA = 5
"""Integrations that are declared and removed on the way."""

SPACING = 1.5
"""Seconds between the beginnings of two faults, about: some three stand at any time."""

SHARE_BEFORE = 0.3
"""Share of the run with deaths of the daemon; what lives then is watched for leaks over the rest."""

CALMS = 25.0
"""Seconds of a run that are not for faults: coming up, three calms, measuring."""

CALM_LONGEST = 75.0
"""Seconds within which every session must be as it should be: the longest of the configured delays (a quarantine's
probe, a start that sticks twice, back-off at its cap behind a held gate) stay below a third of it."""

CALM_LASTS = 3.0
"""Seconds for which all must be right at a stretch."""

LOOK = 0.5
"""Seconds between two looks in a calm."""

WARMING = 5.0
"""Seconds of traffic without faults before what is held is measured."""

MEASURING = 4.0
"""Seconds without traffic over which it is measured; the least counts."""

LAST_ANSWERS = 15.0
"""Seconds within which every message of the last calm must be answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is played."""

    seed: int = 1
    minutes: float = 30.0
    sessions: int = 30
    gateways: int = 3

    @property
    def cast(self) -> Cast:
        """Who there is."""
        return Cast(
            sessions=tuple(f"s{number:03}" for number in range(self.sessions)),
            gateways=tuple(f"g{number}" for number in range(1, self.gateways + 1)),
            extra=tuple(f"x{number:03}" for number in range(EXTRA)),
        )

    @property
    def plans(self) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
        """Give the faults before and after the middle calm."""
        seconds = max(10.0, 60 * self.minutes - CALMS)
        first = plan(
            self.seed, self.cast, seconds=SHARE_BEFORE * seconds, spacing=SPACING, with_deaths=True, with_left=False
        )
        rest = (1 - SHARE_BEFORE) * seconds
        second = plan(-self.seed - 1, self.cast, seconds=rest, spacing=SPACING, with_deaths=False, with_left=True)
        return first, second


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was found so far."""

    phase: str = "come up"
    wrong: list[WrongState] = field(default_factory=list)
    played: Counter[str] = field(default_factory=Counter)
    grown: Growth | None = None
    messages: Messages | None = None
    dead_letters: int | None = None
    unanswered: list[str] = field(default_factory=list)
    unplayed: list[str] = field(default_factory=list)
    unordered: list[int | None] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    leaks: int = 0
    lives: int = 0
    calm_s: dict[str, float] = field(default_factory=dict)
    """Seconds until a calm was reached."""
    is_whole: bool = False

    @property
    def missed(self) -> list[str]:
        """Why it is not all right."""
        said = verdict.missed(
            wrong=self.wrong,
            grown=self.grown,
            messages=self.messages,
            unanswered=self.unanswered,
            unordered=self.unordered,
            leaks=self.leaks,
            unplayed=self.unplayed,
        )
        return said if self.is_whole else [f"the run ended in phase {self.phase!r}", *said]


class Run:
    """One run."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.findings = Findings()
        self._scene = scene
        self._folder = folder

    async def run(self) -> None:
        """Play all of it."""
        scene = self._scene
        async with staged(self._folder, scene.cast.gateways) as stage:
            book = Book(scene.cast.sessions, scene.cast.gateways)
            agents = [agent_of(name) for name in (*scene.cast.sessions, *scene.cast.extra)]
            async with aclosing(Operator(stage.redis.url, book)) as operator, anyio.create_task_group() as tasks:
                traffic = Traffic(scene.seed, book, stage.gateways, stage.redis.url, agents)
                playing = _Playing(
                    scene, stage, Hand(stage=stage, operator=operator, book=book), traffic, self.findings
                )
                await operator.write_wish()
                tasks.start_soon(stage.daemon.keep)
                tasks.start_soon(traffic.run)
                try:
                    await playing.run()
                finally:
                    playing.note_daemon()
                tasks.cancel_scope.cancel()

    def result(self) -> dict[str, Any]:
        """Give what is printed."""
        found, scene = self.findings, self._scene
        grown = found.grown
        missed = found.missed
        return {
            "benchmark": "chaos",
            "seed": scene.seed,
            "minutes": scene.minutes,
            "sessions": scene.sessions,
            "gateways": scene.gateways,
            "faults": dict(sorted(found.played.items())),
            "faults_played": found.played.total(),
            "wrong_states": msgspec.to_builtins(found.wrong),
            "fd_growth": grown.fds if grown else None,
            "fd_growth_outside_pools": grown.fds_outside_pools if grown else None,
            "fd_growth_by_kind": grown.kinds if grown else None,
            "connections_to_gateways": grown.pooled if grown else None,
            "thread_growth": grown.threads if grown else None,
            "task_growth": grown.tasks if grown else None,
            "rss_mb_start": grown.rss_mb_start if grown else None,
            "rss_mb_end": grown.rss_mb_end if grown else None,
            "memory_growth": grown.memory if grown else None,
            "duplicates": found.messages.duplicates if found.messages else None,
            "messages": msgspec.to_builtins(found.messages),
            "dead_letters": found.dead_letters,
            "unanswered": found.unanswered,
            "calm_s": found.calm_s,
            "daemon_lives": found.lives,
            "daemon_died_unordered": found.unordered,
            "log_errors_by_reason": found.errors,
            "missed": missed,
            "ok": not missed,
        }


class _Playing:
    """The phases, on a stage that stands."""

    def __init__(self, scene: Scene, stage: Stage, hand: Hand, traffic: Traffic, found: Findings) -> None:
        self._scene = scene
        self._stage = stage
        self._hand = hand
        self._book = hand.book
        self._operator = hand.operator
        self._traffic = traffic
        self._found = found

    async def run(self) -> None:
        first, second = self._scene.plans
        self._say("come up")
        await self._stage.daemon.until_ready()
        await self._calm("first")
        self._say("faults I")
        await self._play(first)
        await self._calm("middle")
        before = await self._measure()
        pid = self._stage.daemon.pid
        self._say("faults II")
        await self._play(second)
        await self._calm("last")
        if self._stage.daemon.pid == pid:
            ports = {name: each.url.rpartition(":")[2] for name, each in self._stage.gateways.items()}
            kinds = {name: f"tcp to {port}" for name, port in ports.items()}
            self._found.grown = verdict.growth(before, await self._measure(), kinds)
        await self._ask_everybody()
        self._found.messages = await self._traffic.count()
        self._found.dead_letters = await self._operator.dead_letters()
        self._found.is_whole = True

    def note_daemon(self) -> None:
        """Take down what the daemon's log and its service manager say."""
        daemon, found = self._stage.daemon, self._found
        lines = daemon.lines() if daemon.log.exists() else []
        found.errors, found.leaks = verdict.errors_by_reason(lines), verdict.leaks_told(lines)
        found.unordered, found.lives = list(daemon.unordered), daemon.lives
        found.unplayed = list(self._hand.unplayed)

    async def _play(self, faults: Sequence[Fault]) -> None:
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for fault in faults:
                await anyio.sleep(max(0.0, began + fault.at - anyio.current_time()))
                self._found.played[fault.kind.value] += 1
                tasks.start_soon(self._hand.play, fault)

    async def _calm(self, name: str) -> None:
        """Wait until every session is as it should be, for a while, at a stretch; note what is not when time is up."""
        self._say(f"{name} calm")
        began = anyio.current_time()
        right_since: float | None = None
        wrong = await self._look(name)
        for gateway in self._stage.gateways.values():
            await gateway.control("mend")
        while anyio.current_time() - began < CALM_LONGEST:
            right_since = None if wrong else right_since or anyio.current_time()
            if right_since is not None and anyio.current_time() - right_since >= CALM_LASTS:
                break
            await self._lend_a_hand()
            await anyio.sleep(LOOK)
            wrong = await self._look(name)
        self._found.calm_s[name] = round((right_since or anyio.current_time()) - began, 1)
        self._found.wrong += wrong

    async def _look(self, calm: str) -> list[WrongState]:
        statuses, now = await self._operator.statuses(), await self._operator.now()
        shown = {name: (await each.look("state"))["sessions"] for name, each in self._stage.gateways.items()}
        ledgers = {name: await each.look("ledger/summary") for name, each in self._stage.gateways.items()}
        clients = {name: int(each["clients"]) for name, each in ledgers.items()}
        return [
            *verdict.wrong_states(calm, self._book, statuses, now),
            *verdict.wrong_at_gateway(calm, self._book, shown, clients),
        ]

    async def _lend_a_hand(self) -> None:
        """Do what only people can do: release what a permanent cause stopped that is gone, and scan."""
        wanted = self._book.should_run()
        await self._operator.release([each.id for each in wanted if each.id in self._book.owed])
        for declared in wanted:
            gateway = self._stage.gateways[declared.gateway]
            if not await gateway.is_connected(declared.session):
                await gateway.control("scan", session=declared.session)

    async def _measure(self) -> Vitals:
        """Give what the daemon holds while nothing happens."""
        await anyio.sleep(WARMING)
        self._traffic.is_flowing = False
        looks = []
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            for _ in range(round(MEASURING / LOOK)):
                await anyio.sleep(LOOK)
                looks.append(look_at(self._stage.daemon.pid, await self._metrics(client)))
        self._traffic.is_flowing = True
        return least(looks)

    async def _metrics(self, client: httpx.AsyncClient) -> str:
        told = await self._operator.daemon()
        if told is None or told.admin_url is None:
            return ""
        return (await client.get(f"{told.admin_url}/metrics", headers={"Connection": "close"})).text

    async def _ask_everybody(self) -> None:
        """Let somebody write to every session that should run, and wait for the answers."""
        self._say("last words")
        texts = [text for each in self._book.should_run() if (text := await self._traffic.write(each))]
        self._traffic.is_flowing = False
        with anyio.move_on_after(LAST_ANSWERS):
            self._found.unanswered = texts
            while self._found.unanswered:
                await anyio.sleep(LOOK)
                self._found.unanswered = await self._unanswered(texts)

    async def _unanswered(self, texts: Sequence[str]) -> list[str]:
        received = {text for each in self._stage.gateways.values() for text in await each.received()}
        return [text for text in texts if f"echo: {text}" not in received]

    def _say(self, phase: str) -> None:
        self._found.phase = phase
        print(f"chaos: {phase}", file=sys.stderr, flush=True)
