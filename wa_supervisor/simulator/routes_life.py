"""Routes of a session's life: start, status, check, close, logout and the QR.

Each function is one route of the real server and returns what it answers. `start-session` answers the state before the
start; `close-session` fails with 500 where there is no page to close, and resets the session all the same.
"""

from __future__ import annotations

import base64

import anyio

from wa_supervisor.simulator.calls import NEVER, Answer, Call, Route
from wa_supervisor.simulator.faults import CLOSE_ERROR
from wa_supervisor.simulator.page import PageState
from wa_supervisor.simulator.session import QR_PICTURE, SimulatedSession, Status

_CLOSED = {"status": True, "message": "Session successfully closed"}


async def start_session(call: Call) -> Answer:
    """Answer the state before the start, and start."""
    before = call.session.state()
    call.session.start(call.body)
    if call.body.get("waitQrCode"):
        call.host.world.ledger.note_forbidden("waitQrCode", call.request.path)
        return await _wait_for_qr(call)
    return Answer(200, before)


async def _wait_for_qr(call: Call) -> Answer:
    session = call.session
    await call.host.world.bell.until(lambda: session.status in (Status.QRCODE, Status.PHONECODE, Status.CONNECTED))
    if session.status is Status.QRCODE:
        return Answer(200, {"status": "qrcode", "qrcode": QR_PICTURE, "urlcode": session.urlcode})
    if session.status is Status.PHONECODE:
        return Answer(200, {"status": "phoneCode", "phone": session.settings["phone"], "phoneCode": session.code})
    return NEVER


async def status_session(call: Call) -> Answer:
    """The memory of the last event."""
    return Answer(200, call.session.state())


async def check_connection_session(call: Call) -> Answer:
    """What the page says: nothing about a dead WhatsApp socket."""
    if call.session.page.answers:
        return Answer(200, {"status": True, "message": "Connected"})
    return Answer(200, {"status": False, "message": "Disconnected"})


async def close_session(call: Call) -> Answer:
    """End the page and keep the login."""
    return Answer(200, _CLOSED) if call.session.close() else Answer(500, CLOSE_ERROR)


async def logout_session(call: Call) -> Answer:
    """Unlink the device."""
    call.session.logout()
    await anyio.sleep(call.host.world.timings.logout)
    return Answer(200, _CLOSED)


async def qrcode_session(call: Call) -> Answer:
    """The QR as PNG, a stale one too; JSON if the server remembers none."""
    session = call.session
    if session.urlcode is not None:
        return Answer(200, base64.b64decode(QR_PICTURE), "image/png")
    if session.remembered_name == "":
        text = "Session not started. Please, use the /start-session route, for initialization your session"
        return Answer(200, {"status": None, "message": text})
    return Answer(200, {"status": _remembered(session), "message": "QRCode is not available..."})


def _remembered(session: SimulatedSession) -> str | None:
    closed = session.page.state is PageState.NONE and session.status is Status.CLOSED
    return None if closed else session.status.value


ROUTES = (
    Route("POST", "start-session", start_session, needs_page=False),
    Route("GET", "status-session", status_session, needs_page=False),
    Route("GET", "check-connection-session", check_connection_session, needs_page=False),
    Route("POST", "close-session", close_session, needs_page=False),
    Route("POST", "logout-session", logout_session),
    Route("GET", "qrcode-session", qrcode_session, needs_page=False),
)
