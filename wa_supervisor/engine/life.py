"""The life of one session at its gateway: brought up, watched, brought back.

    gate open? -> its turn -> bring up (start, login) -> running, watched -> failed? -> backoff -> again

What is done about a failure stands in `wa_supervisor.domain.decisions`. What may pass is tried again: tenacity waits,
with full jitter and a cap, and after a healthy spell or an outage of the gateway the count is fresh. While the gateway
is to blame the session is held, at no cost to its budget. What does not pass by itself ends in quarantine until the
record changes or the operator releases it; what nobody understands does so when it is over its budget, and is then
tried now and then. Nothing here ever logs a session out or clears its data.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import NoReturn

import anyio
from tenacity import stop_after_attempt

from wa_supervisor.domain.budget import Budget
from wa_supervisor.domain.decisions import DECISIONS, Decision, GivenUp, Happening, Then, gravest, happening_of
from wa_supervisor.domain.errors import (
    GatewayUnreachableError,
    LeakedCancellationError,
    TemporaryError,
    WaSupervisorError,
)
from wa_supervisor.domain.lifecycle import TRANSITIONS, Cause
from wa_supervisor.domain.observations import Trouble
from wa_supervisor.engine.bring_up import bring_up, first_look
from wa_supervisor.engine.retrying import is_being_cancelled, patient
from wa_supervisor.engine.situation import Situation
from wa_supervisor.engine.vitals import Vitals
from wa_supervisor.engine.watch import Watch

CLOSE_TRIES = 5
"""Failed tries to close a browser before a restart goes on without: what is stuck may be unstuck by the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Why a life begins anew."""

    cause: Cause
    """`RESTART`, `CHANGED`, `RELEASE` or `PROBE`."""
    reason: str
    message: str
    closes_first: bool
    """Whether the browser is closed at the gateway before it is started again."""


class _GivenUpError(Exception):
    """The session is to be quarantined."""

    def __init__(self, given_up: GivenUp) -> None:
        super().__init__(given_up.message)
        self.given_up = given_up


class _SpellOverError(Exception):
    """The count of failed attempts is to begin anew: there is none to blame on the session."""


class Life:
    """Keeps one session alive."""

    def __init__(self, here: Situation, *, on_running: Callable[[], Awaitable[None]]) -> None:
        self._here = here
        self._on_running = on_running
        self._scope = anyio.CancelScope()
        self._restart: Restart | None = None
        self._running_since: float | None = None
        self._waiting_since = anyio.current_time()
        self._is_on_probation = False
        self._budget = here.record.budget or self._fresh_budget()
        self._set_budget(self._budget)

    async def keep(self) -> NoReturn:
        """Keep the session alive until cancelled."""
        gate, name = self._here.gate, self._here.integration.id
        gate.join(name, self)
        try:
            while True:
                with anyio.CancelScope() as self._scope:
                    await self._begin_anew()
                    await self._keep_trying()
        finally:
            gate.leave(name, self)
            self._here.record.unblock("gate")

    def restart(self, restart: Restart) -> None:
        """Begin anew, at once, with a fresh count. A close that is still owed is not forgotten."""
        owes_close = self._restart is not None and self._restart.closes_first
        self._restart = replace(restart, closes_first=restart.closes_first or owes_close)
        self._scope.cancel()

    async def _begin_anew(self) -> None:
        restart, record = self._restart, self._here.record
        if restart is None:
            return
        if (record.state, restart.cause) in TRANSITIONS:
            record.move(restart.cause, restart.reason, restart.message)
        if record.given_up is None:  # else it was given up in the very moment, and a restart does not end that
            record.restarts += 1
            self._set_budget(self._fresh_budget())
            self._is_on_probation = False
            if restart.closes_first:
                await self._close_first()
        self._restart = None

    async def _close_first(self) -> None:
        """Close the browser, as soon as the gateway is there."""
        here, policy = self._here, self._here.policy
        ends = (_SpellOverError,)
        tries = patient(policy.backoff_initial, policy.backoff_max, tell=self._back_off, sleep=self._sleep, unless=ends)
        while True:
            await self._wait_at_gate()
            try:
                await tries.copy(stop=stop_after_attempt(CLOSE_TRIES))(self._close)
            except _SpellOverError:
                continue
            except WaSupervisorError as error:
                what = f"closing before the restart failed, so it may go on with its old settings: {error}"
                here.observe(Trouble(where="close", message=what, integration=here.integration.id))
            return

    async def _close(self) -> None:
        here = self._here
        here.record.move(Cause.START, "Closing", "its browser is being closed, to be started anew")
        try:
            await here.gateway.close(here.access)
        except GatewayUnreachableError as error:
            here.gate.report_unreachable(error)
            raise _SpellOverError from error

    async def _keep_trying(self) -> NoReturn:
        while True:
            if self._here.record.given_up is not None:
                await self._stay_quarantined(self._here.record.given_up)
            try:
                await self._one_spell()
            except _SpellOverError:
                self._here.record.attempt = 0
            except _GivenUpError as error:
                self._here.record.given_up = error.given_up

    async def _stay_quarantined(self, given_up: GivenUp) -> None:
        """Wait in quarantine: for ever, or where nobody knows the cause until it is worth a try."""
        record = self._here.record
        if not given_up.is_probed:
            record.move(Cause.GIVE_UP, given_up.reason, given_up.message)
            await anyio.sleep_forever()
        pause = self._here.policy.quarantine_probe * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
        times = f"failed {self._budget.score(anyio.current_time()):.0f} times lately"
        advice = f"to try it now: wa-supervisor release {self._here.integration.id}"
        record.move(Cause.GIVE_UP, given_up.reason, f"{given_up.message}; {times}; {advice}", next_in=pause)
        with anyio.move_on_after(pause):
            await self._wait_absolved()
            record.move(Cause.PROBE, "Absolved", "its failures turned out to be the gateway's")
            return
        self._is_on_probation = True
        record.move(Cause.PROBE, "Probing", "tried again, to see whether the cause has passed")

    async def _wait_absolved(self) -> None:
        """Wait until the gateway is blamed for what spent the budget."""
        gate = self._here.gate
        while True:
            await gate.wait_news()
            absolved = self._budget if gate.is_open else self._budget.refunded(gate.blamed_since)
            if absolved != self._budget and not absolved.is_spent(anyio.current_time()):
                self._set_budget(absolved)
                return

    async def _one_spell(self) -> NoReturn:
        """Try until a session that had been healthy fails; the next spell counts from one again."""
        policy = self._here.policy
        ends = (_SpellOverError, _GivenUpError)
        tries = patient(policy.backoff_initial, policy.backoff_max, tell=self._back_off, sleep=self._sleep, unless=ends)
        async for attempt in tries:
            with attempt:
                await self._live_and_judge()
        raise AssertionError("a spell ends by an exception only")

    async def _sleep(self, seconds: float) -> None:
        """Back off; a gate that closes ends it, because then the gateway is to blame."""
        with anyio.move_on_after(seconds):
            await self._here.gate.wait_closed()
            raise _SpellOverError

    async def _live_and_judge(self) -> NoReturn:
        """Live until a failure; raise it if it is to be backed off from, or what is to be done instead."""
        while True:
            self._running_since = None
            failure = await self._live_until_failure()
            self._is_on_probation = self._is_on_probation and not self._was_healthy()
            if failure is not None:
                await self._judge(failure)
            if self._was_healthy():
                raise _SpellOverError

    async def _live_until_failure(self) -> BaseException | None:
        try:
            await self._live()
        except _SpellOverError:
            raise
        except (Exception, BaseExceptionGroup) as failure:  # noqa: BLE001  # supervision border: the table says what is done about it
            await anyio.lowlevel.checkpoint_if_cancelled()  # what ends or restarts it in the same moment goes first
            return failure
        except anyio.get_cancelled_exc_class() as cancellation:  # noqa: ASYNC103  # ours is raised as it is
            if is_being_cancelled():
                raise
            return LeakedCancellationError(f"nobody gave it: {cancellation!r}")  # noqa: ASYNC104  # as above
        return None

    async def _judge(self, failure: BaseException) -> None:
        """Do what the table says. Returns to have it tried again at once."""
        happening, error = happening_of(failure), gravest(failure)
        decision = DECISIONS[happening]
        self._tell_of(happening, error)
        if decision.costs:
            self._set_budget(self._budget.charged(anyio.current_time()))
        if decision.blames_gateway:
            self._here.gate.report_failure(self._here.integration.id, was_healthy=self._was_healthy())
        if self._is_given_up(decision):
            is_probed = decision.then is Then.AGAIN_WITHIN_BUDGET
            raise _GivenUpError(GivenUp(reason=_reason(error), message=_message(error), is_probed=is_probed))
        if decision.then is Then.ANEW:
            self._here.record.move(Cause.RESTART, _reason(error), _message(error))
        elif decision.backs_off and self._here.gate.is_open:
            await self._back_off_from(error)

    def _tell_of(self, happening: Happening, error: BaseException) -> None:
        here = self._here
        if isinstance(error, GatewayUnreachableError):
            here.gate.report_unreachable(error)
        if happening is Happening.UNKNOWN:
            message = "a session failed in a way that nobody foresaw"
            here.observe(Trouble(where="session", message=message, error=error, integration=here.integration.id))

    def _is_given_up(self, decision: Decision) -> bool:
        if decision.then is Then.AGAIN_WITHIN_BUDGET:
            is_spent = self._is_on_probation or self._budget.is_spent(anyio.current_time())
            return self._here.gate.is_open and is_spent
        return decision.then is Then.QUARANTINE

    async def _back_off_from(self, error: BaseException) -> None:
        if not self._was_healthy():
            raise error if isinstance(error, Exception) else RuntimeError(_message(error)) from error
        asked = error.retry_after if isinstance(error, TemporaryError) else None
        delay = max(random.uniform(0, self._here.policy.backoff_initial), asked or 0.0)  # noqa: S311  # jitter
        self._back_off(error, delay, 1)
        await self._sleep(delay)

    async def _live(self) -> None:
        """Live until the gate closes or a login is asked for (return), or a failure (raise)."""
        here = self._here
        if await self._wait_at_gate():
            raise _SpellOverError  # what had failed before is not counted on
        async with here.gate.passage(self._waiting_since) as may_pass:
            if not may_pass:
                return
            here.lost_touch("connected")
            look = await first_look(here)
        if not look.has_page:
            here.lost_touch("started")
        await bring_up(here, look)
        if not here.gate.is_open:
            return
        await self._run()

    async def _run(self) -> None:
        here = self._here
        here.record.attempt = 0
        here.record.move(Cause.CONNECTED, "Connected", "connected")
        here.was_connected, here.vitals = True, Vitals()
        self._running_since = self._waiting_since = anyio.current_time()
        await here.show_login(None)
        await here.in_time("typing", "typing may still be shown", self._on_running)
        try:
            await Watch(here).keep()
        finally:
            self._waiting_since = anyio.current_time()

    async def _wait_at_gate(self) -> bool:
        """Wait until the gate is open; say whether the session was held for that."""
        gate, record = self._here.gate, self._here.record
        is_held = False
        while not gate.is_open:
            if gate.was_refused:
                is_held = True
                message = f"gateway {gate.name} is away: {gate.reason}; {gate.what_next}"
                self._set_budget(self._budget.refunded(gate.blamed_since))
                record.attempt = 0
                record.block("gate", message)
                record.move(Cause.HOLD, "GatewayAway", message, next_in=gate.opens_in)
            await gate.wait_news()
        record.unblock("gate")
        return is_held

    def _was_healthy(self) -> bool:
        since = self._running_since
        return since is not None and anyio.current_time() - since >= self._here.policy.healthy_after

    def _fresh_budget(self) -> Budget:
        return Budget(limit=self._here.policy.budget, half_life=self._here.policy.budget_half_life)

    def _set_budget(self, budget: Budget) -> None:
        self._budget = self._here.record.budget = budget

    def _back_off(self, error: BaseException, delay: float, attempt: int) -> None:
        record = self._here.record
        record.attempt = attempt
        record.restarts += 1
        record.move(Cause.FAILED, _reason(error), _message(error), next_in=delay)


def _reason(error: BaseException) -> str:
    return error.reason if isinstance(error, WaSupervisorError) else "InternalError"


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, WaSupervisorError) else f"{type(error).__name__}: {error}"
