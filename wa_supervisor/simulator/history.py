"""The chats of one session, as WhatsApp Web would list them.

Messages are kept per chat in the order in which they reached WhatsApp, bounded per chat and in the number of chats (the
chat that was silent longest falls out). What arrives while the session is away waits in `absent` until the page has
loaded it. Living with the session object, it survives closing, drops and restarts of the gateway.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from wa_supervisor.simulator.ids import serialized, wid
from wa_supervisor.simulator.messages import Message

_BY_SEQ = attrgetter("seq")


class ChatNotFoundError(LookupError):
    """There is no such chat; get-messages answers 401 "Error on open list"."""


class AnchorNotFoundError(LookupError):
    """There is no such message in the chat; get-messages answers with 401 too, or with an empty list."""


@dataclass(slots=True)
class Chat:
    """One chat: its messages, oldest first, and how many are unread."""

    id: str
    messages: list[Message] = field(default_factory=list)
    unread: int = 0


class History:
    """All chats of a session; plain memory, no waiting."""

    def __init__(self, *, per_chat: int, chats: int, listed_as: dict[str, str], strict_anchors: bool) -> None:
        self.listed_as = listed_as
        """Chats that HTTP answers name otherwise than events do: id in events -> id in answers."""
        self._strict_anchors = strict_anchors
        self._per_chat = per_chat
        self._chats_limit = chats
        self._chats: dict[str, Chat] = {}
        self._pinned: set[str] = set()
        self._absent: list[Message] = []
        self._new: list[Message] = []

    def add(self, message: Message) -> None:
        """A message that the page has seen arrive."""
        self._keep(message)
        self._new.append(message)
        if len(self._new) > self._per_chat:
            del self._new[: self._per_chat // 2]

    def _keep(self, message: Message) -> None:
        chat = self._touch(message.chat)
        if chat.messages and chat.messages[-1].seq > message.seq:
            insort(chat.messages, message, key=_BY_SEQ)
        else:
            chat.messages.append(message)
        if len(chat.messages) > self._per_chat:
            del chat.messages[: len(chat.messages) - self._per_chat]
        if not message.from_me:
            chat.unread += 1

    def add_absent(self, message: Message) -> None:
        """A message that arrived while no page was there to see it."""
        self._absent.append(message)

    def load_absent(self) -> None:
        """The page has loaded what arrived while it was away; none of it counts as new."""
        waiting, self._absent = self._absent, []
        for message in waiting:
            self._keep(message)

    def page_restarted(self) -> None:
        """A fresh page: nothing is new any more, and what never left the old one is gone."""
        self._new.clear()
        for chat in self._chats.values():
            if any(m.from_me and m.ack == 0 for m in chat.messages[-10:]):
                chat.messages[:] = [m for m in chat.messages if not (m.from_me and m.ack == 0)]

    def find(self, message_id: str) -> Message | None:
        """The message with this serialized id, under either name of its chat."""
        parts = message_id.split("_")
        if len(parts) < 3:
            return None
        chat = self._chats.get(self._real(parts[1]))
        if chat is None:
            return None
        own = parts[0] == "true"
        return next((m for m in reversed(chat.messages) if m.stanza == parts[2] and m.from_me == own), None)

    def messages(self, chat_id: str, *, count: int, after: bool, anchor: str | None) -> list[Message]:
        """Up to `count` (all if negative) messages: the last ones, or those before or after `anchor`.

        Raises `ChatNotFoundError` and `AnchorNotFoundError`.
        """
        chat = self._chats.get(self._real(chat_id))
        if chat is None:
            raise ChatNotFoundError(chat_id)
        found = chat.messages
        if anchor:
            at = self._position(chat, anchor)
            found = found[at + 1 :] if after else found[:at]
        if count < 0:
            return list(found)
        if after and anchor:
            return found[:count]
        return found[len(found) - min(count, len(found)) :]

    def new_messages(self) -> list[Message]:
        """What arrived since the page was loaded; nothing after a restart of the page."""
        return list(self._new)

    def seen(self, chat_id: str) -> None:
        """Somebody has read the chat."""
        chat = self._chats.get(self._real(chat_id))
        if chat is not None:
            chat.unread = 0

    def take_unread(self) -> list[tuple[Chat, list[Message]]]:
        """Chats with unread messages, and those messages; the marks are gone afterwards."""
        found = []
        for chat in self._chats.values():
            if chat.unread:
                incoming = [m for m in chat.messages if not m.from_me]
                found.append((chat, incoming[-chat.unread :]))
                chat.unread = 0
        return found

    def pin(self, chat_id: str, *, on: bool) -> None:
        """The owner pins a chat, or lets go of it."""
        (self._pinned.add if on else self._pinned.discard)(self._real(chat_id))

    def chats(self) -> list[Chat]:
        """Every chat that has messages: first those that are pinned, and among each kind the latest active first."""
        there = [chat for chat in self._chats.values() if chat.messages]
        return sorted(there, key=lambda chat: (chat.id in self._pinned, chat.messages[-1].seq), reverse=True)

    def shown(self, chat_id: str) -> str:
        """The chat's id as HTTP answers have it."""
        return self.listed_as.get(chat_id, chat_id)

    def spelled(self, message: Message) -> str:
        """The message's id as HTTP answers have it."""
        return serialized(
            from_me=message.from_me,
            chat=self.shown(message.chat),
            stanza=message.stanza,
            participant=message.author,
        )

    def _touch(self, chat_id: str) -> Chat:
        chat = self._chats.pop(chat_id, None) or Chat(chat_id)
        self._chats[chat_id] = chat
        if len(self._chats) > self._chats_limit:
            del self._chats[next(iter(self._chats))]
        return chat

    def _real(self, chat_id: str) -> str:
        if chat_id in self._chats:
            return chat_id
        return next((real for real, shown in self.listed_as.items() if shown == chat_id), chat_id)

    def _position(self, chat: Chat, anchor: str) -> int:
        stanza = anchor.split("_")[2] if anchor.count("_") > 1 else ""
        for at in range(len(chat.messages) - 1, -1, -1):
            message = chat.messages[at]
            if message.stanza == stanza and (not self._strict_anchors or self.spelled(message) == anchor):
                return at
        raise AnchorNotFoundError(anchor)


def chat_row(chat: Chat, shown: str) -> dict[str, Any]:
    """One row of list-chats; `lastReceivedKey` is the last message, own ones included."""
    last = chat.messages[-1]
    user = not shown.endswith(("@g.us", "@newsletter"))
    return {
        "id": wid(shown),
        "labels": [],
        "lastReceivedKey": {
            "fromMe": last.from_me,
            "remote": wid(shown),
            "id": last.stanza,
            "_serialized": serialized(from_me=last.from_me, chat=shown, stanza=last.stanza, participant=last.author),
        },
        "t": last.t,
        "unreadCount": chat.unread,
        "unreadDividerOffset": 0,
        "archive": False,
        "isReadOnly": False,
        "muteExpiration": 0,
        "isAutoMuted": False,
        "notSpam": True,
        "unreadMentionCount": 0,
        "hasUnreadMention": False,
        "archiveAtMentionViewedInDrawer": False,
        "hasChatBeenOpened": False,
        "pendingInitialLoading": False,
        "msgs": None,
        "kind": "chat" if user else "group",
        "isBroadcast": False,
        "isGroup": shown.endswith("@g.us"),
        "isUser": user,
        "contact": {"id": wid(shown), "pushname": _name(chat.messages), "type": "in", "isMe": False, "msgs": None},
        "groupMetadata": None,
        "presence": {"id": wid(shown), "chatstates": []},
    }


def _name(messages: Iterable[Message]) -> str:
    return next((m.name for m in messages if not m.from_me), "")
