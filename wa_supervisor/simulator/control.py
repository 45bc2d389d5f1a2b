"""The control interface, so that another process can script the gateway: HTTP JSON on the gateway's own port.

Whoever reaches the port can do all this; like the real server, bind it to loopback. Control calls are not counted in
the ledger, and no fault touches them.

GET /_control/...
    state             {"sessions": {name: {status, page, listening, has_login, own_id, settings, proxy}}, "faults": []}
    ledger            the counters of the summary, and the lists written, received, indicators, forbidden
    ledger/summary    totals, clients, calls, starts, indicators that are on

POST /_control/... with a JSON body; `=` gives the default
    needs-login           session: the stored login is gone, the next start shows a QR or a pairing code
    scan                  session: the shown QR is scanned or the shown code entered; 409 if none is shown
    stick                 session, starts=1: the next starts stay INITIALIZING for ever; null: all, 0: mended
    keep-profile          session: an old browser keeps the profile, every start gets stuck until the server restarts
    break-pages           session, pages=1: the next logins end in `session-error`
    crash-browser         session: still CONNECTED, but check says false; 409 unless CONNECTED
    die                   session, sends="timeout": still CONNECTED, check says true, nothing passes; sends end in 500
                          after the page's time-out, or ("ack0") in 201 with ack 0; 409 unless CONNECTED
    revive                session: the dead WhatsApp socket is back by itself
    drop                  session, keep_login=false: CLOSED without an event
    refuse-tokens         session, times=null: 401 for so many calls; null: all, 0: none any more
    refuse-secret         session, times=null: no token is made for so many calls; null: all, 0: none any more
    lose-name             session: its `qrCode` and `phoneCode` events name no session
    write                 session, person, text="", kind="chat", group=null, media=null, extra=null: a message; its
                          ledger entry
    write-undecryptable   session, person, text, decrypts=true: first as `ciphertext`, then readable; its ledger entry
    post-story            session, person, media=(a picture): a story; its ledger entry
    flood                 session, person, count, text="message": many texts at once; their stanza ids
    react                 session, person, message, reaction: a reaction to a message by its id; "": taken back
    take-back             session, person, stanza: a direct message is revoked
    owner-writes          session, chat, text: an own message from the phone; its ledger entry
    pin                   session, chat, on=true: list-chats has the chat before those that are not pinned
    number                number, fate: `missing`, `denied` (it exists, but look-ups say no) or `fine`
    fault                 fault: see `wa_supervisor.simulator.faults`
    mend                  no fault any more
    emit                  event, payload=null: any event as it is; {"emitted": whether a client was there}
    secret                secret: another one; no token is valid any more
    age                   seconds: the server process has been up for so much longer
    lose-events           seconds=0, times=0, session=null: messages are kept, but for so long neither they nor acks
                          are emitted, and then not the next so many messages; null: of all sessions
    cut-clients           the Socket.IO connections are cut
    restart               seconds=0, start_stored=null: after the answer killed, down so long, back on the same port
    forget-ledger         a new page of the ledger

    person   {id, name="Contact", phone=null, listed_as=null, wids_as_objects=false}
    media    {base64, mimetype, size, filename=null, caption=null, seconds=null, decryptable=true}
    fault    {route="*", session=null, after=0, times=null, delay=0, late=0, done=null, answer="own", status=null}

A command with nothing to say answers 200 {"ok": true}. A wrong body is 400, something impossible now 409, an unknown
command 404, each with {"error": why}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from wa_supervisor.simulator.commands import COMMANDS

if TYPE_CHECKING:
    from wa_supervisor.simulator.gateway import SimulatedGateway
    from wa_supervisor.simulator.session import SimulatedSession


def add_routes(app: web.Application, gateway: SimulatedGateway) -> None:
    """Serve the control interface in `app`."""

    async def look(request: web.Request) -> web.Response:
        shown = _SHOWN.get(request.match_info["what"])
        if shown is None:
            return _error(404, f"no such page; there are {', '.join(_SHOWN)}")
        return _ok(shown(gateway))

    async def command(request: web.Request) -> web.Response:
        return await _command(gateway, request)

    app.router.add_get("/_control/{what:.+}", look)
    app.router.add_post("/_control/{command}", command)


async def _command(gateway: SimulatedGateway, request: web.Request) -> web.Response:
    name = request.match_info["command"]
    command = COMMANDS.get(name)
    if command is None:
        return _error(404, f"no command {name}; there are {', '.join(COMMANDS)}")
    try:
        result = await command.carry_out(gateway, await request.read() or b"{}")
    except msgspec.DecodeError as error:
        return _error(400, f"{name}: {error}")
    except RuntimeError as error:
        return _error(409, f"{name}: {error}")
    return _ok({"ok": True} if result is None else result)


def _state(gateway: SimulatedGateway) -> dict[str, object]:
    sessions = {name: _session(session) for name, session in gateway.sessions.items()}
    return {"sessions": sessions, "faults": gateway.faults.standing()}


def _session(session: SimulatedSession) -> dict[str, object]:
    return {
        "status": session.status,
        "page": session.page.state.value,
        "listening": session.page.listening,
        "has_login": session.has_login,
        "own_id": session.own_id,
        "settings": session.settings,
        "proxy": session.proxy_in_use,
    }


def _ledger(gateway: SimulatedGateway) -> dict[str, object]:
    return gateway.ledger.as_json()


def _summary(gateway: SimulatedGateway) -> dict[str, object]:
    return gateway.ledger.summary()


_SHOWN: dict[str, Callable[[SimulatedGateway], dict[str, object]]] = {
    "state": _state,
    "ledger": _ledger,
    "ledger/summary": _summary,
}


def _ok(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _error(status: int, why: str) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode({"error": why}), content_type="application/json")
