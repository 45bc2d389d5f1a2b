"""The gate of one gateway: open while the gateway answers, its events arrive and its sessions do not fail by the dozen.

One gate for all sessions of a gateway. Whoever finds the gateway unreachable says so here; the gate closes, one probe
asks for all, and it opens again when the probe is answered. A gateway's event connection (the feed) counts too: a
gateway that can be commanded but not heard would lose every message. And when half of the sessions fail within a short
time, the gateway is to blame even if it answers: the gate closes for a while, at no cost to the sessions.

A gateway that comes and goes is held longer each time. Sessions come back through a turnstile. The gate also gives out
turns to start browsers, because each takes a core of the gateway's host for seconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from wa_supervisor.domain.budget import Budget
from wa_supervisor.domain.errors import GatewayUnreachableError, WaSupervisorError
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.observations import GatewayAnswered, GatewayChanged, Observer
from wa_supervisor.engine.line import Line
from wa_supervisor.engine.pacer import Pacer
from wa_supervisor.engine.policies import GatePolicy
from wa_supervisor.engine.ports import Gateway
from wa_supervisor.engine.switch import Switch
from wa_supervisor.engine.turnstile import Turnstile

JITTER = 0.01
"""Share by which probes are spread: only those of other gateways are to be avoided."""

ANSWER_LONGEST = 60.0
"""Seconds after which a probe that neither was answered nor failed counts as hung: the adapter's limit is shorter."""

NAMED = 5
"""Sessions that are named when the gateway is blamed for them: whose they are may be the cause after all."""

LOOK_LONGEST = 1.0
"""Seconds for a question whether the gateway is there at all: while it is asked, its events may be missed."""

CLOCKS_DISAGREE = 5.0
"""Seconds by which the gateway's uptime may seem to fall although it did not restart: a slow answer, two clocks."""


class Gate:
    """Whether a gateway may be used, and whose turn it is."""

    def __init__(self, gateway: Gateway, policy: GatePolicy, observe: Observer) -> None:
        self._gateway = gateway
        self._line = Line(gateway, ANSWER_LONGEST)
        self._policy = policy
        self._observe = observe
        self._answers = Switch(on=True)
        self._open = Switch()
        self._feed_stands = False
        self._members: dict[IntegrationId, object] = {}
        self._failing: dict[IntegrationId, float] = {}
        self._unanswered: dict[IntegrationId, float] = {}
        self._blamed_for: set[IntegrationId] = set()
        self._closures = Budget(limit=0.0, half_life=policy.flapping_half_life)
        self._held_until = -math.inf
        self._hold_changed = anyio.Event()
        self._starts = anyio.CapacityLimiter(policy.starts_at_once)
        self._stuck_starts = anyio.CapacityLimiter(1)
        self._spacing, self._next_start = anyio.Lock(), 0.0
        self._reason: str | None = None
        self.why = ""
        """Why it is closed, or was last, as one word."""
        self._waiting = 0
        self._news = anyio.Event()
        self._turnstile = Turnstile(policy.admissions)
        self.pacer = Pacer(policy.poll_share, self._answered_in)
        self.catch_ups = CatchUps(policy.catch_up_share, policy.catch_ups_at_once)
        self.blamed_since = math.inf
        """Failures of its sessions since then are the gateway's, by the engine's clock."""
        self.on_close: Callable[[], None] = lambda: None
        """Called when the gate closes, so that those who wait for something else look up."""

    def __repr__(self) -> str:
        return f"<Gate {self.name} {'open' if self.is_open else 'closed: ' + self.reason}>"

    @property
    def name(self) -> GatewayName:
        """The gateway's name."""
        return self._gateway.name

    @property
    def is_open(self) -> bool:
        """Whether the gateway may be used."""
        return self._open.is_on

    @property
    def answers(self) -> bool:
        """Whether it answers as far as is known: enough to close a session, not to run one."""
        return self._answers.is_on

    @property
    def reason(self) -> str:
        """Why it is closed, for a person."""
        return self._reason or "connecting for the first time"

    @property
    def was_refused(self) -> bool:
        """Whether it is closed because something failed, not because nothing was tried yet."""
        return not self.is_open and self._reason is not None

    @property
    def opens_in(self) -> float | None:
        """Seconds until it opens by itself, if that is known."""
        seconds = self._held_until - anyio.current_time()
        return seconds if seconds > 0 and self._answers.is_on and self._feed_stands else None

    @property
    def what_next(self) -> str:
        """Say for a person what is done about it while it is closed."""
        seconds = self.opens_in
        if seconds is not None:
            return f"all are held for {seconds:.0f} s"
        if self._answers.is_on:
            return "its events are tried again and again"
        return f"it is asked every {self._policy.probe_interval:.0f} s"

    @property
    def waiting_turns(self) -> int:
        """How many wait for their turn to start."""
        return self._waiting

    @property
    def members(self) -> int:
        """How many sessions live behind it."""
        return len(self._members)

    def join(self, session: IntegrationId, who: object) -> None:
        """Count a session as one of the gateway's; `who` is its incarnation."""
        self._members[session] = who

    def leave(self, session: IntegrationId, who: object) -> None:
        """Count it no more, unless another incarnation of it joined since."""
        if self._members.get(session) is who:
            del self._members[session]
            self._failing.pop(session, None)
            self._unanswered.pop(session, None)
            self._blamed_for.discard(session)

    async def wait_open(self) -> None:
        """Wait until the gateway may be used."""
        await self._open.wait_on()

    async def wait_answers(self) -> None:
        """Wait until it answers, as far as is known."""
        await self._answers.wait_on()

    async def wait_closed(self) -> None:
        """Wait until the gateway may not be used."""
        await self._open.wait_off()

    async def wait_news(self) -> None:
        """Wait until it opens or closes, or is closed for another reason."""
        await self._news.wait()

    def report_unreachable(self, error: GatewayUnreachableError) -> None:
        """Close the gate: nothing answers."""
        self._close_for(str(error), "unreachable")
        self._answers.turn(on=False)
        self._decide()

    def report_feed(self, *, stands: bool, reason: str = "") -> None:
        """Take the word of the event connection."""
        self._feed_stands = stands
        if not stands:
            self._close_for(reason, "feed")
        self._decide()

    def report_failure(self, session: IntegrationId, *, was_healthy: bool) -> None:
        """Take that a session failed in a way that may be the gateway's fault; close if too many did."""
        if was_healthy:
            self._blamed_for.discard(session)
        failed = self._count(self._failing, session)
        if failed >= max(self._policy.failing_least, self._policy.failing_share * len(self._members)):
            self._blame(self._failing, "sessions failed")

    def report_look(self, session: IntegrationId, *, was_answered: bool) -> None:
        """Take how a poll of a session ended; close if one after the other fails, and none succeeds.

        With many sessions few are asked within the window: half of them could not fail in it.
        """
        if was_answered:
            self._unanswered.clear()
        elif self._count(self._unanswered, session) >= self._policy.failing_least:
            self._blame(self._unanswered, "sessions could not be asked about, and nobody could")

    def _count(self, failing: dict[IntegrationId, float], session: IntegrationId) -> int:
        now = anyio.current_time()
        for name in [name for name, at in failing.items() if at < now - self._policy.failing_window]:
            del failing[name]
        failing[session] = now
        return len(failing)

    def _blame(self, failing: Mapping[IntegrationId, float], what: str) -> None:
        """Blame the gateway, unless it was blamed for exactly these before, who failed again when others did not."""
        is_theirs = failing.keys() <= self._blamed_for and len(failing) < len(self._members)
        if not self.is_open or is_theirs:
            return
        seconds, names = self._policy.failing_window, ", ".join(sorted(failing)[:NAMED])
        more = ", ..." if len(failing) > NAMED else ""
        self._blamed_for = set(failing)
        self.blamed_since = anyio.current_time() - seconds
        self._hold(more=1)
        reason = f"{len(failing)} of its {len(self._members)} {what} within {seconds:.0f} s ({names}{more})"
        self._close_for(reason, "sessions_failed")
        self._decide()

    async def run(self) -> None:
        """Probe whenever the gateway does not answer, open when it may be used, let through; until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._turnstile.run)
            tasks.start_soon(self._end_holds)
            while True:
                await self._answers.wait_off()
                jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # no secret
                await anyio.sleep(self._policy.probe_interval * jitter)
                await self._probe()

    @asynccontextmanager
    async def passage(self, since: float) -> AsyncIterator[bool]:
        """Wait for the turn to come back of a session that waits since `since`; False: the gate closed meanwhile."""
        async with self._turnstile.passage(since) as is_let_through:
            yield is_let_through and self.is_open

    @asynccontextmanager
    async def turn(self, *, was_stuck: bool = False) -> AsyncIterator[None]:
        """Wait for a turn to start a browser, and keep it as long as the browser starts.

        Those whose last start was stuck have one turn between them: a stuck start takes its whole time again.
        """
        async with AsyncExitStack() as turns:
            self._waiting += 1
            try:
                if was_stuck:
                    await turns.enter_async_context(_one_of(self._stuck_starts))
                await turns.enter_async_context(_one_of(self._starts))
            finally:
                self._waiting -= 1
            await self._keep_distance()
            yield

    async def began_at(self) -> float:
        """Give when the gateway itself began to run, by the engine's clock. Raises what `Line.health` does."""
        return anyio.current_time() - (await self._line.health()).uptime

    async def began_after(self, moment: float) -> bool:
        """Whether the gateway itself began to run after `moment`, by the engine's clock. Raises the same."""
        return await self.began_at() > moment + CLOCKS_DISAGREE

    async def _keep_distance(self) -> None:
        async with self._spacing:
            await anyio.sleep(max(0.0, self._next_start - anyio.current_time()))
            self._next_start = anyio.current_time() + self._policy.start_interval

    async def look(self) -> None:
        """Ask whether the gateway is there, unless it is known to be away: then the probe asks. Takes no long time."""
        if not self.answers:
            return
        with anyio.move_on_after(LOOK_LONGEST):
            try:
                await self._line.health()
            except GatewayUnreachableError as error:
                self.report_unreachable(error)
            except WaSupervisorError:
                return  # it is there, and its sessions may tell more

    async def _probe(self) -> None:
        asked = anyio.current_time()
        try:
            await self._line.health()
        except Exception as error:  # noqa: BLE001  # supervision border: a probe must not end the gateway's room
            self._close_for(str(error), "unreachable")
        else:
            self._answered_in(anyio.current_time() - asked)
            self._answers.turn(on=True)
            self._decide()

    async def _end_holds(self) -> None:
        while True:
            seconds = self._held_until - anyio.current_time()
            if seconds > 0:
                await anyio.sleep(seconds)
                self._decide()
            else:
                await self._hold_changed.wait()

    def _hold(self, *, more: int) -> None:
        """Keep it closed for a while, twice as long for each earlier closure that still counts, and `more`."""
        now = anyio.current_time()
        flaps = round(self._closures.score(now)) + more
        if flaps:
            seconds = min(self._policy.hold_initial * 2 ** (flaps - 1), self._policy.hold_max)
            self._held_until = max(self._held_until, now + seconds)
            self._hold_changed.set()
            self._hold_changed = anyio.Event()

    def _answered_in(self, seconds: float) -> None:
        self._observe(GatewayAnswered(gateway=self.name, seconds=seconds))

    def _close_for(self, reason: str, why: str) -> None:
        if reason != self._reason:
            self._reason, self.why = reason, why
            self._tell_news()

    def _tell_news(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _decide(self) -> None:
        is_held = anyio.current_time() < self._held_until
        should_be_open = self._answers.is_on and self._feed_stands and not is_held
        if should_be_open != self._open.is_on:
            self._open.turn(on=should_be_open)
            (self._opened if should_be_open else self._closed)()
            self._tell_news()

    def _opened(self) -> None:
        self._failing.clear()
        self._unanswered.clear()
        self.blamed_since = math.inf
        self._observe(GatewayChanged(gateway=self.name, what="gate_opened", message=""))

    def _closed(self) -> None:
        self._hold(more=0)  # before this one is counted: the first costs nothing
        self._closures = self._closures.charged(anyio.current_time())
        self._turnstile.turn_all_away()
        self._observe(GatewayChanged(gateway=self.name, what="gate_closed", message=self.reason, why=self.why))
        self.on_close()


class CatchUps:
    """How much of a gateway goes to fetching what its sessions have missed: some at a time, each call in its turn."""

    def __init__(self, share: float, at_once: int) -> None:
        self.pacer = Pacer(share, lambda _: None)
        self._sessions = anyio.CapacityLimiter(at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a session's turn, and keep it meanwhile."""
        async with _one_of(self._sessions):
            yield


@asynccontextmanager
async def _one_of(limiter: anyio.CapacityLimiter) -> AsyncIterator[None]:
    # By a token and not by the task, which may have a turn of another kind.
    await limiter.acquire_on_behalf_of(token := object())
    try:
        yield
    finally:
        limiter.release_on_behalf_of(token)
