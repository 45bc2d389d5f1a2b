"""Routes that look things up: chats, messages, media, numbers, and who is behind a lid.

Answers name chats as HTTP answers do (`History.listed_as`, objects for ids), which need not be as events do. No message
in them has `session`.
"""

from __future__ import annotations

from typing import Any

import anyio

from wa_supervisor.simulator.calls import Answer, Call, Route
from wa_supervisor.simulator.faults import OPEN_LIST_ERROR
from wa_supervisor.simulator.history import AnchorNotFoundError, Chat, ChatNotFoundError, chat_row
from wa_supervisor.simulator.ids import STORIES, recipients, wid
from wa_supervisor.simulator.messages import Message, http_model
from wa_supervisor.simulator.page import PageState

_DEFAULT_COUNT = 20


def _shown(call: Call, message: Message) -> dict[str, Any]:
    """A message with its chat under the name that answers use."""
    history = call.session.page.history
    chat = history.shown(message.chat)
    model = http_model(message, wids_as_objects=call.host.world.manners.wids_as_objects)
    if chat == message.chat:
        return model
    objects = isinstance(model["chatId"], dict)
    model["id"] = history.spelled(message)
    model["chatId"] = wid(chat) if objects else chat
    model["to" if message.from_me else "from"] = chat
    if model["sender"]["id"] in (message.chat, wid(message.chat)):
        model["sender"]["id"] = wid(chat) if objects else chat
    return model


async def list_chats(call: Call) -> Answer:
    """A bare list of chats, the latest active first: from the chat `id` on, or ("before") those before it."""
    history = call.session.page.history
    found = [chat for chat in history.chats() if _is_wanted(chat, call.body)]
    shown = [history.shown(chat.id) for chat in found]
    given, count = call.body.get("id"), call.body.get("count")
    start = shown.index(given) if given in shown else 0
    many = count if isinstance(count, int) and count >= 0 else len(found)
    is_before = call.body.get("direction") == "before"
    page = found[max(0, start - many) : start] if is_before else found[start : start + many]
    return Answer(200, [chat_row(chat, history.shown(chat.id)) for chat in page])


def _is_wanted(chat: Chat, body: dict[str, Any]) -> bool:
    if chat.id == STORIES:
        return False
    if body.get("onlyGroups") and not chat.id.endswith("@g.us"):
        return False
    if body.get("onlyUsers") and not chat.id.endswith(("@c.us", "@lid")):
        return False
    return bool(chat.unread) if body.get("onlyWithUnreadMessage") else True


async def get_messages(call: Call) -> Answer:
    """Messages of a chat; failing is answered with 401, which is not about authentication."""
    query = call.request.query
    try:
        messages = call.session.page.history.messages(
            call.path_values["phone"],
            count=int(query.get("count", _DEFAULT_COUNT)),
            after=query.get("direction", "before") == "after",
            anchor=query.get("id"),
        )
    except (ChatNotFoundError, ValueError):
        return Answer(401, OPEN_LIST_ERROR)
    except AnchorNotFoundError:
        if not call.host.world.manners.unknown_anchor_is_empty:
            return Answer(401, OPEN_LIST_ERROR)
        messages = []
    return Answer(200, {"status": "success", "response": [_shown(call, message) for message in messages]})


async def unread_messages(call: Call) -> Answer:
    """Chats with their unread messages; asking clears the marks."""
    history = call.session.page.history
    rows = []
    for chat, messages in history.take_unread():
        row = chat_row(chat, history.shown(chat.id))
        rows.append(row | {"unreadCount": len(messages), "messages": [_shown(call, m) for m in messages]})
    return Answer(200, {"status": "success", "response": rows})


async def all_new_messages(call: Call) -> Answer:
    """What arrived since the page was loaded; nothing after a restart of the page."""
    messages = call.session.page.history.new_messages()
    return Answer(200, {"status": "success", "response": [_shown(call, message) for message in messages]})


async def download_media(call: Call) -> Answer:
    """The whole file of a message."""
    given = call.body.get("messageId")
    message = call.session.page.history.find(given) if isinstance(given, str) else None
    if message is None:
        return Answer(400, {"status": "error", "message": "Message not found"})
    media = message.media
    if media is None:
        return Answer(400, {"status": "error", "message": "Message does not contain media"})
    if not media.decryptable:
        return Answer(400, {"status": "error", "message": "Decrypt file error", "error": {"level": "error"}})
    return Answer(200, {"base64": media.base64, "mimetype": media.mimetype})


async def check_number_status(call: Call) -> Answer:
    """Whether a number is on WhatsApp, as far as the look-up goes."""
    if call.session.page.state is PageState.DEAD:
        await anyio.sleep(call.host.world.timings.page_timeout)
        return Answer(500, {"status": "error", "message": "Error on check number status", "error": {"level": "error"}})
    found = [_number(call, target) for target in recipients(call.path_values["phone"], {})]
    return Answer(200, {"status": "success"} | ({"response": found[-1]} if found else {}))


def _number(call: Call, target: str) -> dict[str, Any]:
    exists = target.partition("@")[0] not in call.host.world.numbers
    return {
        "id": wid(target),
        "status": 200 if exists else 404,
        "isBusiness": False,
        "canReceiveMessage": exists,
        "numberExists": exists,
    }


async def contact_pn_lid(call: Call) -> Answer:
    """The two ids of a person, as far as WhatsApp knows them."""
    world, given = call.host.world, call.path_values["pn_lid"]
    lid = given if given.endswith("@lid") else _lid_of(world.phones, given)
    phone = world.phones.get(given) if given.endswith("@lid") else given
    name = world.names.get(given) or world.names.get(lid or "", "")
    entry: dict[str, Any] = {}
    if lid is not None:
        entry["lid"] = _pn_lid_wid(lid)
    if phone is not None:
        entry["phoneNumber"] = _pn_lid_wid(phone)
    contact = {"name": name, "shortName": name, "pushname": name, "type": "in", "isBusiness": False}
    return Answer(200, entry | {"contact": contact})


def _lid_of(phones: dict[str, str], phone: str) -> str | None:
    return next((lid for lid, known in phones.items() if known == phone), None)


def _pn_lid_wid(serial: str) -> dict[str, str]:
    user, _, server = serial.partition("@")
    return {"id": user, "server": server, "_serialized": serial}


async def host_device(call: Call) -> Answer:
    """The account behind the session, with its own number."""
    session = call.session
    response = {
        "id": session.own_id,
        "connected": True,
        "locales": "pt-BR",
        "pushname": session.name,
        "phoneNumber": session.own_id,
        "wid": wid(session.own_id),
    }
    return Answer(200, {"status": "success", "response": response, "mapper": "device"})


ROUTES = (
    Route("POST", "list-chats", list_chats),
    Route("GET", "get-messages", get_messages, "/{phone}"),
    Route("GET", "unread-messages", unread_messages),
    Route("GET", "all-new-messages", all_new_messages),
    Route("POST", "download-media", download_media),
    Route("GET", "check-number-status", check_number_status, "/{phone}"),
    Route("GET", "contact/pn-lid", contact_pn_lid, "/{pn_lid}"),
    Route("GET", "host-device", host_device),
)
