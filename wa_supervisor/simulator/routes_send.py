"""Routes that send, and those that show or change what was sent.

The recipients are what the server makes of `phone` and its flags (`Call.targets`), never what was meant. The ledger
notes a message where it reaches a chat, so an answer that fails afterwards changes nothing there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio

from wa_supervisor.simulator.calls import Answer, Call, Handler, Route
from wa_supervisor.simulator.faults import ANY_ERROR, SEND_ERROR
from wa_supervisor.simulator.ids import recipients
from wa_supervisor.simulator.ledger import Received
from wa_supervisor.simulator.messages import Media, Message, reaction_model, sent_model
from wa_supervisor.simulator.page import PageState


class SendFailedError(Exception):
    """The page could not send; the server answers 500."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a call sends to each of its recipients."""

    kind: str
    text: str
    media: Media | None = None


def _text(body: dict[str, Any]) -> Outgoing:
    return Outgoing("chat", str(body.get("message", "")))


def _file(body: dict[str, Any]) -> Outgoing:
    given = body.get("base64")
    if not isinstance(given, str) or not given:
        raise SendFailedError("Sending the file is mandatory")
    mimetype, data = _data_url(given)
    kind = mimetype.partition("/")[0]
    caption = body.get("message") or body.get("caption") or ""
    media = Media(
        base64=data, mimetype=mimetype, size=len(data) * 3 // 4, filename=body.get("filename", "file"), caption=caption
    )
    return Outgoing(kind if kind in ("image", "video", "audio") else "document", caption, media)


def _voice(body: dict[str, Any]) -> Outgoing:
    given = body.get("base64Ptt")
    if not isinstance(given, str) or not given:
        raise SendFailedError("no voice given")
    mimetype, data = _data_url(given)
    return Outgoing("ptt", "", Media(base64=data, mimetype=mimetype, size=len(data) * 3 // 4))


def _location(body: dict[str, Any]) -> Outgoing:
    return Outgoing("location", f"{body.get('lat')},{body.get('lng')} {body.get('title') or ''}".strip())


def _poll(body: dict[str, Any]) -> Outgoing:
    return Outgoing("poll_creation", str(body.get("name", "")))


def _data_url(given: str) -> tuple[str, str]:
    head, comma, data = given.partition(",")
    if not comma:
        return "application/octet-stream", given
    return head.removeprefix("data:").partition(";")[0], data


def _sender(outgoing: Callable[[dict[str, Any]], Outgoing]) -> Handler:
    async def handle(call: Call) -> Answer:
        if call.body.get("path"):
            call.host.world.ledger.note_forbidden("path", call.request.path)
        try:
            sent = await _send(call, call.targets, outgoing(call.body))
        except SendFailedError:
            return Answer(500, SEND_ERROR)
        results = [sent_model(message, call.route) for message in sent]
        if call.route == "send-message":
            call.host.world.feed.emit("mensagem-enviada", results)
        if call.route == "send-poll-message" and not results:
            return Answer(500, SEND_ERROR)
        return Answer(201, {"status": "success", "response": results, "mapper": "return"})

    return handle


async def _send(call: Call, targets: list[str], outgoing: Outgoing) -> list[Message]:
    session, sent = call.session, []
    for chat in targets:
        options = call.body.get("options") or {}
        _find_quoted(call, options)
        await _type_first(call, chat, options)
        if not session.page.answers:
            raise SendFailedError("the page is gone")
        stanza = _wanted_stanza(call, chat, options)
        sent.append(
            session.page.send(
                chat, outgoing.text, kind=outgoing.kind, route=call.route, media=outgoing.media, stanza=stanza
            )
        )
        if session.page.state is PageState.DEAD and session.dead_sends == "timeout":
            await anyio.sleep(call.host.world.timings.page_timeout)
            raise SendFailedError("the page did not answer")
    return sent


def _find_quoted(call: Call, options: dict[str, Any]) -> None:
    quoted = options.get("quotedMsg") or call.body.get("quotedMessageId")
    if call.route == "send-reply":
        quoted = call.body.get("messageId")
    if quoted and call.session.page.history.find(str(quoted)) is None:
        raise SendFailedError(f"quoted message {quoted} not found")


async def _type_first(call: Call, chat: str, options: dict[str, Any]) -> None:
    delay = options.get("delay")
    if isinstance(delay, int | float) and delay > 0:
        ledger, name = call.host.world.ledger, call.session.name
        ledger.note_indicator(name, chat, "typing", on=True)
        try:
            await anyio.sleep(delay / 1000)
        finally:
            ledger.note_indicator(name, chat, "typing", on=False)


def _wanted_stanza(call: Call, chat: str, options: dict[str, Any]) -> str | None:
    """`options.messageId` names the message beforehand: own, and of the same chat, or the send fails."""
    wanted = options.get("messageId")
    if not wanted:
        return None
    parts = str(wanted).split("_")
    if len(parts) < 3 or parts[0] != "true" or parts[1] != chat:
        raise SendFailedError(f"message id {wanted} is not of chat {chat}")
    if call.host.world.manners.refuses_names_of_listed and call.session.page.history.shown(chat) != chat:
        raise SendFailedError(f"message id {wanted} is not of the chat as it is listed")
    return parts[2]


async def contact_vcard(call: Call) -> Answer:
    """Send a contact; like typing, this one ignores `isLid`."""
    targets = recipients(call.targets, {"isGroup": call.body.get("isGroup")})
    contacts = call.body.get("contactsId")
    outgoing = Outgoing("vcard", str(contacts if isinstance(contacts, str) else ",".join(contacts or [])))
    try:
        sent = await _send(call, targets, outgoing)
    except SendFailedError:
        return Answer(500, ANY_ERROR)
    last = {"response": sent_model(sent[-1], call.route)} if sent else {}
    return Answer(200, {"status": "success"} | last)


def _indicator(kind: str) -> Handler:
    async def handle(call: Call) -> Answer:
        on = bool(call.body.get("value", True))
        for chat in recipients(call.targets, {"isGroup": call.body.get("isGroup")}):
            if call.session.page.state is PageState.ALIVE:
                call.host.world.ledger.note_indicator(call.session.name, chat, kind, on=on)
        return Answer(200, {"status": "success"})

    return handle


async def react_message(call: Call) -> Answer:
    """React to a message; an empty reaction takes it back."""
    message = call.session.page.history.find(str(call.body.get("msgId")))
    if message is None:
        return Answer(500, ANY_ERROR)
    world, text = call.host.world, str(call.body.get("reaction") or "")
    _note_change(call, message, "reaction", text)
    stanza = world.stanza(world.next_seq())
    world.feed.emit("onreactionmessage", reaction_model(message, stanza=stanza, text=text, from_me=True))
    return Answer(200, {"status": "success", "response": {"message": "Reaction sended"}})


async def edit_message(call: Call) -> Answer:
    """Change the text of an own message."""
    message = call.session.page.history.find(str(call.body.get("id")))
    if message is None or not message.from_me:
        return Answer(500, SEND_ERROR)
    message.text = str(call.body.get("newText") or "")
    _note_change(call, message, "edit", message.text)
    edited = {
        "id": message.id,
        "ack": message.ack,
        "editMsgType": None,
        "sendMsgResult": {"messageSendResult": "OK"},
    }
    call.host.world.feed.emit("edited-message", edited)
    return Answer(201, {"status": "success", "response": edited, "mapper": "return"})


def _note_change(call: Call, message: Message, kind: str, text: str) -> None:
    ledger = call.host.world.ledger
    ledger.note_received(
        Received(
            session=call.session.name,
            chat=message.chat,
            id=message.id,
            kind=kind,
            text=text,
            route=call.route,
            at=ledger.now(),
        )
    )


async def send_seen(call: Call) -> Answer:
    """Mark chats read."""
    for chat in call.targets:
        call.session.page.history.seen(chat)
    response = {
        "message": "Information retrieved successfully.",
        "contact": call.targets,
        "session": call.session.name,
        "data": [None for _ in call.targets],
    }
    return Answer(201, {"status": "Success", "response": response})


ROUTES = (
    Route("POST", "send-message", _sender(_text)),
    Route("POST", "send-reply", _sender(_text)),
    Route("POST", "send-image", _sender(_file)),
    Route("POST", "send-file", _sender(_file)),
    Route("POST", "send-file-base64", _sender(_file)),
    Route("POST", "send-voice-base64", _sender(_voice)),
    Route("POST", "send-location", _sender(_location)),
    Route("POST", "send-poll-message", _sender(_poll)),
    Route("POST", "contact-vcard", contact_vcard),
    Route("POST", "typing", _indicator("typing")),
    Route("POST", "recording", _indicator("recording")),
    Route("POST", "react-message", react_message),
    Route("POST", "edit-message", edit_message),
    Route("POST", "send-seen", send_seen),
)
