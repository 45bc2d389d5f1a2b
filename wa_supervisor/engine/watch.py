"""Watching a session that runs: is it still what it is said to be?

There is no event for a logout from the phone, a crashed browser or a lost login, so polling is the only way to learn
them; and each poll costs the gateway, so none is made while traffic proves the session alive.
"""

from __future__ import annotations

import random

from wa_supervisor.domain.errors import GatewayAnswerError, SessionClosedError, TemporaryError, ZombieError
from wa_supervisor.domain.gateway import GatewayStatus
from wa_supervisor.domain.lifecycle import Cause
from wa_supervisor.engine.bring_up import LOGIN_STATUSES
from wa_supervisor.engine.situation import DOUBTS, Situation


class LookAgain(Exception):  # noqa: N818  # not an error: the session must be brought up from what is there now
    """The gateway asks for a login, or the gate closed."""


async def watch(here: Situation) -> None:
    """Watch until the gate closes or a login is asked for (return), or the session fails (raise)."""
    doubts = 0
    while here.gate.is_open:
        was_rung = await here.bell.wait_for(_pause(here, doubts))
        if not here.gate.is_open:
            return
        if here.is_proved_alive and not was_rung and not doubts:
            continue
        try:
            doubt = await _doubt(here)
        except LookAgain:
            return
        doubts = await _weigh(here, doubt, doubts)


def _pause(here: Situation, doubts: int) -> float:
    base = here.policy.poll_starting if doubts else here.policy.poll_connected
    return base * random.uniform(0.8, 1.2)  # noqa: S311  # spread, so that the polls of many sessions do not meet


async def _doubt(here: Situation) -> TemporaryError | None:
    try:
        report = await here.gateway.report(here.access)
        if report.status in LOGIN_STATUSES:
            raise LookAgain
        if report.status is not GatewayStatus.CONNECTED:
            raise SessionClosedError(f"the gateway reports {report.status.value}: closed there, or from the phone")
        if await here.gateway.is_connected(here.access):
            return None
    except GatewayAnswerError as error:
        return error
    return ZombieError("the gateway reports CONNECTED, but its page is not connected")


async def _weigh(here: Situation, doubt: TemporaryError | None, doubts: int) -> int:
    if doubt is None:
        if doubts:
            here.record.move(Cause.CONNECTED, "Connected", "connected, as it looks again")
        return 0
    if doubts + 1 < DOUBTS:
        here.record.move(Cause.DOUBT, doubt.reason, f"{doubt}; look {doubts + 1} of {DOUBTS}")
        return doubts + 1
    if isinstance(doubt, ZombieError):
        await here.gateway.close(here.access)
    raise doubt
