"""Bringing a session up: from whatever the gateway reports to a connected session.

Source of the surprises: wppconnect-server 2.10.4. `start-session` answers with the state before the start; a session
that is stuck INITIALIZING ignores further starts and must be closed first (which may answer 500 and yet works); a QR
is given up after a minute and there is no event for that; CONNECTED may stand over a browser that is gone.
"""

from __future__ import annotations

import anyio

from wa_supervisor.domain.errors import (
    LoginGivenUpError,
    SessionClosedError,
    StuckStartError,
    ZombieError,
)
from wa_supervisor.domain.gateway import GatewayStatus, SessionReport
from wa_supervisor.domain.lifecycle import Cause
from wa_supervisor.domain.status import LoginOffer
from wa_supervisor.engine.situation import DOUBTS, Situation

LOGIN_STATUSES = frozenset({GatewayStatus.QRCODE, GatewayStatus.PHONECODE})
"""A person must do something."""

CLOSED = SessionReport(status=GatewayStatus.CLOSED)


async def bring_up(here: Situation) -> None:
    """Return once the session is connected. Raises what `Life` decides on."""
    here.record.move(Cause.START, "Starting", "asking the gateway about the session")
    here.login_code = None
    report = await _report_without_lies(here)
    rounds = 0
    while report.status is not GatewayStatus.CONNECTED:
        if report.status in LOGIN_STATUSES:
            report = await _wait_for_login(here, report, rounds)
            rounds += 1
        else:
            _give_up_after(here, rounds)
            report = await _start_in_turn(here, report)
    await _wait_for_page(here)
    here.stuck_starts = 0


async def _report_without_lies(here: Situation) -> SessionReport:
    report = await here.gateway.report(here.access)
    if report.status is not GatewayStatus.CONNECTED:
        return report
    for look in range(1, DOUBTS + 1):
        if await here.gateway.is_connected(here.access):
            return report
        here.record.move(Cause.START, "Zombie", f"reported CONNECTED, but its page is not; look {look} of {DOUBTS}")
        await anyio.sleep(here.policy.poll_starting)
    here.record.move(Cause.START, "Zombie", "reported CONNECTED while its page is not: closing it to start anew")
    await here.gateway.close(here.access)
    return CLOSED


async def _start_in_turn(here: Situation, report: SessionReport) -> SessionReport:
    waiting = here.gate.waiting_turns
    if waiting:
        here.record.move(Cause.START, "Waiting", f"waits for its turn to start, about {waiting} before it")
    async with here.gate.turn():
        here.record.move(Cause.START, "Starting", "its browser is starting")
        if report.status is not GatewayStatus.INITIALIZING:
            await here.gateway.start(here.access, here.start_options)
        return await _wait_for_start(here, report)


async def _wait_for_start(here: Situation, report: SessionReport) -> SessionReport:
    deadline = anyio.current_time() + here.policy.start_timeout
    was_starting = report.status is GatewayStatus.INITIALIZING
    while anyio.current_time() < deadline:
        report = await here.gateway.report(here.access)
        if report.status in LOGIN_STATUSES or report.status is GatewayStatus.CONNECTED:
            return report
        if report.status is GatewayStatus.INITIALIZING:
            was_starting = True
        elif was_starting:
            raise SessionClosedError("the gateway closed the session while it was starting")
        await here.bell.wait_for(here.policy.poll_starting)
    if not was_starting:
        raise SessionClosedError(f"the gateway did not start the session in {here.policy.start_timeout:g} s")
    raise await _close_stuck(here)


async def _close_stuck(here: Situation) -> StuckStartError:
    here.stuck_starts += 1
    await here.gateway.close(here.access)
    message = f"its browser did not start in {here.policy.start_timeout:g} s; closed, to be started again"
    if here.stuck_starts > 1:
        message = (
            f"stuck again ({here.stuck_starts} times) after a close: the old browser still holds the profile. "
            "Restart the wppconnect-server"
        )
    return StuckStartError(message)


async def _wait_for_login(here: Situation, report: SessionReport, rounds: int) -> SessionReport:
    name = here.integration.id
    is_code = report.status is GatewayStatus.PHONECODE
    what = "enter the pairing code on the phone" if is_code else "scan the QR code with the phone"
    tries = f" (try {rounds + 1} of {here.policy.login_rounds})" if rounds else ""
    here.record.move(Cause.LOGIN_NEEDED, "LoginNeeded", f"{what}: wa-supervisor login {name}{tries}")
    shown: LoginOffer | None = None
    while report.status in LOGIN_STATUSES:
        offer = _offer(here, report)
        if offer is not None and (shown is None or offer.data != shown.data):
            shown = offer
            await here.show_login(offer)
        await here.bell.wait_for(here.policy.poll_starting)
        report = await here.gateway.report(here.access)
    await here.show_login(None)
    return report


def _offer(here: Situation, report: SessionReport) -> LoginOffer | None:
    if report.status is GatewayStatus.PHONECODE:
        return here.login_code
    return LoginOffer(kind="qr", data=report.url_code, offered_at=here.record.now) if report.url_code else None


def _give_up_after(here: Situation, rounds: int) -> None:
    if rounds >= here.policy.login_rounds:
        raise LoginGivenUpError(
            f"nobody logged in when asked {rounds} times; when the phone is at hand: "
            f"wa-supervisor restart {here.integration.id}"
        )


async def _wait_for_page(here: Situation) -> None:
    deadline = anyio.current_time() + here.policy.start_timeout
    while not await here.gateway.is_connected(here.access):
        if anyio.current_time() >= deadline:
            await here.gateway.close(here.access)
            raise ZombieError("reported CONNECTED, but its page never was; closed, to be started again")
        await here.bell.wait_for(here.policy.poll_starting)
