"""Bringing a session up: from whatever the gateway reports to a connected session.

Source of the surprises: wppconnect-server 2.10.4. `start-session` answers with the state before the start; a session
that is stuck INITIALIZING ignores further starts and must be closed first (which may answer 500 and yet works); a QR
is given up after a minute and there is no event for that; CONNECTED may stand over a browser that is gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from wa_supervisor.domain.errors import (
    BrowserGoneError,
    LoginGivenUpError,
    SessionClosedError,
    StuckStartError,
)
from wa_supervisor.domain.evidence import in_words, sureness
from wa_supervisor.domain.gateway import GatewayStatus, SessionReport
from wa_supervisor.domain.lifecycle import Cause
from wa_supervisor.domain.status import LoginOffer
from wa_supervisor.engine.situation import DOUBTS, Situation
from wa_supervisor.engine.vitals import Vitals

LOGIN_STATUSES = frozenset({GatewayStatus.QRCODE, GatewayStatus.PHONECODE})
"""A person must do something."""

CLOSED = SessionReport(status=GatewayStatus.CLOSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLook:
    """What the gateway says of a session, and what its page says, if it is said to be connected."""

    report: SessionReport
    has_page: bool


async def first_look(here: Situation) -> FirstLook:
    """Ask the gateway about the session, at once: whoever calls this has waited for its turn."""
    here.record.move(Cause.START, "Starting", "asking the gateway about the session")
    here.login_code = None
    report = await here.ask()
    is_connected = report.status is GatewayStatus.CONNECTED
    return FirstLook(report=report, has_page=is_connected and await here.gateway.is_connected(here.access))


async def bring_up(here: Situation, look: FirstLook) -> None:
    """Return once the session is connected. Raises what `Life` decides on."""
    if not look.has_page:
        await _start(here, await _without_lies(here, look.report))
    here.stuck_starts = 0


async def _start(here: Situation, report: SessionReport) -> None:
    rounds = 0
    while report.status is not GatewayStatus.CONNECTED:
        if report.status in LOGIN_STATUSES:
            report = await _wait_for_login(here, report, rounds)
            rounds += 1
        else:
            _give_up_after(here, rounds)
            report = await _start_in_turn(here, report)
    await _wait_for_page(here)


async def _without_lies(here: Situation, report: SessionReport) -> SessionReport:
    """Give what is true of a session whose page is not connected; one that is said to be gets a few looks more."""
    if report.status is not GatewayStatus.CONNECTED:
        return report
    vitals = here.vitals = Vitals()
    vitals.page(is_there=False)
    while vitals.pages_gone < DOUBTS:
        here.record.move(Cause.START, "BrowserGone", f"reported CONNECTED, but {_doubt(vitals)}")
        await anyio.sleep(here.policy.poll_starting)
        vitals.page(is_there=await here.poll_page())
        if not vitals.pages_gone:
            return report
    here.record.move(Cause.START, "BrowserGone", f"reported CONNECTED, but {_doubt(vitals)}; closing it to start anew")
    await here.gateway.close(here.access)
    return CLOSED


def _doubt(vitals: Vitals) -> str:
    evidence = vitals.evidence()
    return in_words(evidence, sureness(evidence))


async def _start_in_turn(here: Situation, report: SessionReport) -> SessionReport:
    waiting = here.gate.waiting_turns
    if waiting:
        here.record.move(Cause.START, "Waiting", f"waits for its turn to start, about {waiting} before it")
    async with here.gate.turn(was_stuck=here.stuck_starts > 0):
        here.record.move(Cause.START, "Starting", "its browser is starting")
        if report.status is not GatewayStatus.INITIALIZING:
            await here.gateway.start(here.access, here.start_options)
        return await _wait_for_start(here, report)


async def _wait_for_start(here: Situation, report: SessionReport) -> SessionReport:
    deadline = anyio.current_time() + here.policy.start_timeout
    was_starting = report.status is GatewayStatus.INITIALIZING
    while anyio.current_time() < deadline:
        report = await here.poll(is_urgent=True)
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
    why = "the login was lost (the phone removed the device, or WhatsApp ended it); " if here.was_connected else ""
    reason = "LoginLost" if here.was_connected else "LoginNeeded"
    here.record.move(Cause.LOGIN_NEEDED, reason, f"{why}{what}: wa-supervisor login {name}{tries}")
    shown: LoginOffer | None = None
    while report.status in LOGIN_STATUSES:
        offer = _offer(here, report)
        if offer is not None and (shown is None or offer.data != shown.data):
            shown = offer
            await here.show_login(offer)
        await here.bell.wait_for(here.policy.poll_starting)
        report = await here.poll()
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
            f"wa-supervisor release {here.integration.id}"
        )


async def _wait_for_page(here: Situation) -> None:
    deadline = anyio.current_time() + here.policy.start_timeout
    while not await here.poll_page(is_urgent=True):
        if anyio.current_time() >= deadline:
            await here.gateway.close(here.access)
            raise BrowserGoneError("reported CONNECTED, but its page never was; closed, to be started again")
        await here.bell.wait_for(here.policy.poll_starting)
