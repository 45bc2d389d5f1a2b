"""WhatsApp ids as the gateway computes them: message ids, wids and the recipients of a request's `phone`.

Pure functions, written from the server's own source and independent of `wa_supervisor.domain`, so that a mistake there
is not mirrored here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

STORIES = "status@broadcast"
"""The chat in which everybody's stories arrive."""

LONGEST_PHONE = 14
"""Digits up to which the server takes a number for a phone number unless told `isLid`."""

_SEPARATORS = re.compile(r"\s*[,;]\s*")
_NOT_WORD = re.compile(r"[^\w ]", re.ASCII)


def serialized(*, from_me: bool, chat: str, stanza: str, participant: str = "") -> str:
    """The id of a message: `fromMe_chat_STANZA[_participant]`."""
    tail = f"_{participant}" if participant else ""
    return f"{'true' if from_me else 'false'}_{chat}_{stanza}{tail}"


def wid(serial: str) -> dict[str, str]:
    """A chat or person id in its object form."""
    user, _, server = serial.partition("@")
    return {"server": server, "user": user, "_serialized": serial}


def message_key(*, from_me: bool, chat: str, stanza: str, participant: str = "") -> dict[str, Any]:
    """The id of a message in the object form of `onack`: `remote` is a string there."""
    key: dict[str, Any] = {"fromMe": from_me, "remote": chat, "id": stanza}
    if participant:
        key["participant"] = participant
    key["_serialized"] = serialized(from_me=from_me, chat=chat, stanza=stanza, participant=participant)
    return key


def recipients(phone: object, flags: Mapping[str, Any]) -> list[str]:
    """Who receives what is sent to `phone`, by the server's own rule and whatever was meant.

    `flags` are `isGroup`, `isNewsletter`, `isLid` of the body. The suffix of the given id is thrown away: without flags
    up to 14 letters become a phone number and more become a lid. Raises `TypeError` where the server does: for a
    `phone` that is neither text nor a list of texts.
    """
    found = []
    for given in _listed(phone):
        if not isinstance(given, str):
            raise TypeError("contact.split is not a function")
        user = given.split("@", maxsplit=1)[0]
        if not (flags.get("isGroup") or flags.get("isNewsletter")):
            user = _NOT_WORD.sub("", user)
        if user:
            found.append(f"{user}@{_server(user, flags)}")
    return found


def _listed(phone: object) -> list[object]:
    if isinstance(phone, list):
        return phone
    if isinstance(phone, str):
        return list(_SEPARATORS.split(phone)) if phone else []
    if not phone:
        return []
    raise TypeError("number.split is not a function")


def _server(user: str, flags: Mapping[str, Any]) -> str:
    if flags.get("isGroup"):
        return "g.us"
    if flags.get("isNewsletter"):
        return "newsletter"
    if flags.get("isLid") or len(user) > LONGEST_PHONE:
        return "lid"
    return "c.us"
