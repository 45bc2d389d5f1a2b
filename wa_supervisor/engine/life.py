"""The life of one session at its gateway: brought up, watched, brought back.

    gate open? -> bring up (start, login) -> running, watched -> failed? -> backoff -> again

Whatever fails raises one of our errors; tenacity waits, with full jitter and a cap, and the steps begin again. After a
healthy spell the count is fresh. While the gateway itself is away the session is held, at no cost to its count. What
does not pass by itself ends in quarantine until the record changes or the operator says restart. Nothing here ever logs
a session out or clears its data.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

import anyio

from wa_supervisor.domain.errors import GatewayUnreachableError, PermanentError, WaSupervisorError
from wa_supervisor.domain.lifecycle import Cause
from wa_supervisor.domain.observations import Observer, Trouble
from wa_supervisor.engine.bring_up import bring_up
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.situation import Situation
from wa_supervisor.engine.watch import watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Why a life begins anew."""

    reason: str
    message: str
    closes_first: bool
    """Whether the browser is closed at the gateway before it is started again."""


class Life:
    """Keeps one session alive."""

    def __init__(self, here: Situation, *, on_running: Callable[[], Awaitable[None]], observe: Observer) -> None:
        self._here = here
        self._on_running = on_running
        self._observe = observe
        self._scope = anyio.CancelScope()
        self._restart: Restart | None = None
        self._running_since: float | None = None

    async def keep(self) -> NoReturn:
        """Keep the session alive until cancelled."""
        while True:
            with anyio.CancelScope() as self._scope:
                if self._restart is not None:
                    await self._begin_anew(self._restart)
                await self._keep_trying()

    def restart(self, restart: Restart) -> None:
        """Begin anew, at once, with a fresh count."""
        self._restart = restart
        self._scope.cancel()

    async def _begin_anew(self, restart: Restart) -> None:
        record = self._here.record
        record.move(Cause.RESTART, restart.reason, restart.message)
        record.restarts += 1
        if restart.closes_first:
            await self._close_quietly()
        self._restart = None

    async def _close_quietly(self) -> None:
        try:
            await self._pass_gate()
            await self._here.gateway.close(self._here.access)
        except WaSupervisorError as error:
            message = f"closing before the restart failed, starting all the same: {error}"
            self._observe(Trouble(where="close", message=message, integration=self._here.integration.id))

    async def _keep_trying(self) -> NoReturn:
        try:
            while True:
                await self._one_spell()
        except PermanentError as error:
            self._here.record.move(Cause.GIVE_UP, error.reason, str(error))
            await anyio.sleep_forever()
        raise AssertionError("sleep_forever ends by cancellation only")

    async def _one_spell(self) -> None:
        """Try until a session that had been healthy fails; the next spell counts from one again."""
        policy = self._here.policy
        async for attempt in patient(policy.backoff_initial, policy.backoff_max, tell=self._back_off):
            with attempt:
                try:
                    await self._live()
                except Exception as error:
                    if isinstance(error, PermanentError) or not self._was_healthy():
                        raise
                    delay = random.uniform(0, policy.backoff_initial)  # noqa: S311  # jitter
                    self._back_off(error, delay, 1)
                    await anyio.sleep(delay)

    async def _live(self) -> None:
        """Live until a failure, or until a healthy spell ended without one, so that the next counts from one again."""
        while True:
            self._running_since = None
            await self._pass_gate()
            try:
                await bring_up(self._here)
                await self._run()
            except GatewayUnreachableError as error:
                self._here.gate.report_unreachable(error)
            if self._was_healthy():
                return

    async def _run(self) -> None:
        here = self._here
        if not here.gate.is_open:
            return
        here.record.attempt = 0
        here.record.move(Cause.CONNECTED, "Connected", "connected")
        self._running_since = anyio.current_time()
        await here.show_login(None)
        await self._on_running()
        await watch(here)

    async def _pass_gate(self) -> None:
        gate = self._here.gate
        while not gate.is_open:
            if gate.was_refused:
                message = f"gateway {gate.name} is away: {gate.reason}"
                self._here.record.move(Cause.HOLD, "GatewayAway", message)
            await gate.wait_news()

    def _was_healthy(self) -> bool:
        since = self._running_since
        return since is not None and anyio.current_time() - since >= self._here.policy.healthy_after

    def _back_off(self, error: BaseException, delay: float, attempt: int) -> None:
        record = self._here.record
        record.attempt = attempt
        record.restarts += 1
        if isinstance(error, WaSupervisorError):
            reason, message = error.reason, str(error)
        else:
            reason, message = "InternalError", f"{type(error).__name__}: {error}"
            self._observe(
                Trouble(where="session", message="a session failed", error=error, integration=record.wanted.id)
            )
        record.move(Cause.FAILED, reason, message, next_in=delay)
