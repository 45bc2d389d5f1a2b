"""Watching a session that runs: is it still what it is said to be?

There is no event for a logout from the phone, a crashed browser or a lost login, so polling is the only way to learn
them; and each poll costs the gateway, so none is made while traffic proves the session alive. What the polls cannot see
(a dead connection to WhatsApp) is weighed with them: messages without acks, silence against expectation.
"""

from __future__ import annotations

import random

import anyio

from wa_supervisor.domain.errors import (
    BrowserGoneError,
    GatewayAnswerError,
    GatewayRestartedError,
    GatewayUnreachableError,
    SessionClosedError,
    SilentZombieError,
    WaSupervisorError,
    ZombieError,
)
from wa_supervisor.domain.evidence import Evidence, Verdict, in_words, judge
from wa_supervisor.domain.gateway import GatewayStatus, SessionReport
from wa_supervisor.domain.lifecycle import Cause
from wa_supervisor.engine.bring_up import LOGIN_STATUSES
from wa_supervisor.engine.situation import DOUBTS, Situation

POLLS_A_LOOK = 2
"""Polls that a look costs: the gateway's memory of the session, and its page."""


class Watch:
    """Watches one session from when it was connected."""

    def __init__(self, here: Situation) -> None:
        self._here = here
        self._connected_at = anyio.current_time()
        self._suspected_at: float | None = None
        self._failed_looks = 0

    async def keep(self) -> None:
        """Watch until the gate closes or a login is asked for (return), or the session fails (raise)."""
        here = self._here
        # The first look comes after any part of the usual pause: many sessions are connected at the same time.
        pause = self._pause() * random.random()  # noqa: S311  # jitter
        try:
            while True:
                was_rung = await here.bell.wait_for(pause)
                if not here.gate.is_open:
                    return
                is_needed = was_rung or here.is_in_doubt or not here.is_proved_alive
                if is_needed and not await self._look():
                    return
                pause = self._pause()
        finally:
            here.is_in_doubt = False

    def _pause(self) -> float:
        here = self._here
        is_close = here.is_in_doubt
        wanted = here.policy.poll_starting if is_close else here.policy.poll_connected
        sessions = 1 if is_close else here.gate.members
        jitter = random.uniform(0.8, 1.2)  # noqa: S311  # spread, so that the looks at many sessions do not meet
        return here.gate.pacer.interval(wanted, POLLS_A_LOOK * sessions) * jitter

    async def _look(self) -> bool:
        """Look at the session. False: a login is asked for. Raises what the session fails of."""
        here = self._here
        try:
            report = await here.poll(is_urgent=here.is_in_doubt)
            if report.status in LOGIN_STATUSES:
                return False
            if report.status is not GatewayStatus.CONNECTED:
                raise await self._closed(report)
            here.vitals.page(is_there=await here.poll_page(is_urgent=here.is_in_doubt))
        except GatewayAnswerError as error:
            self._failed_looks += 1
            if self._failed_looks >= DOUBTS:
                raise
            self._doubt(error.reason, f"{error}; look {self._failed_looks} of {DOUBTS}")
            return True
        self._failed_looks = 0
        await self._weigh()
        return True

    async def _closed(self, report: SessionReport) -> WaSupervisorError:
        try:
            is_gateways = await self._here.gate.began_after(self._connected_at)
        except GatewayUnreachableError:
            raise
        except WaSupervisorError:
            is_gateways = False
        if is_gateways:
            return GatewayRestartedError("the gateway restarted, and with it went the session's browser")
        return SessionClosedError(f"the gateway reports {report.status.value}: closed there, or from the phone")

    async def _weigh(self) -> None:
        here, policy = self._here, self._here.policy
        evidence, now = here.vitals.evidence(), anyio.current_time()
        opinion = judge(
            evidence,
            suspect_at=policy.suspect_at,
            certain_at=policy.certain_at,
            suspected_for=now - (now if self._suspected_at is None else self._suspected_at),
        )
        words = in_words(evidence, opinion.sureness)
        if opinion.verdict is Verdict.ALIVE:
            self._believe()
        elif opinion.verdict is Verdict.SUSPECT or self._suspected_at is None:
            self._suspected_at = now if self._suspected_at is None else self._suspected_at
            self._doubt(_zombie(evidence).reason, f"suspected: {words}")
        else:
            await here.gateway.close(here.access)
            raise _zombie(evidence)(f"{words}; closed, to be started again")

    def _doubt(self, reason: str, message: str) -> None:
        self._here.is_in_doubt = True
        self._here.record.move(Cause.DOUBT, reason, message)

    def _believe(self) -> None:
        self._suspected_at = None
        if self._here.is_in_doubt:
            self._here.is_in_doubt = False
            self._here.lost_touch("doubt")
            self._here.record.move(Cause.CONNECTED, "Connected", "connected, as it looks again")


def _zombie(evidence: Evidence) -> type[ZombieError]:
    return BrowserGoneError if evidence.pages_gone else SilentZombieError
