"""The chats of a fake gateway's session, as WhatsApp keeps them: written to by people, the owner, and sends."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field

from wa_supervisor.domain.chat_history import ChatRow, Found, read_found
from wa_supervisor.domain.errors import GatewayAnswerError
from wa_supervisor.domain.message_ids import MessageId
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName, StanzaId

_stanzas = itertools.count(1)


@dataclass(slots=True)
class Kept:
    """One message."""

    chat: ChatId
    stanza: StanzaId
    text: str
    at: float
    from_me: bool
    ack: int = 1
    kind: str = "chat"
    is_hidden: bool = False
    """The page has not loaded it yet."""

    def payload(self, session: str, *, listed_as: ChatId | None = None) -> dict[str, object]:
        """Give it as an event, or as a row of an answer."""
        chat = listed_as or self.chat
        mine = "true" if self.from_me else "false"
        return {
            "response": {
                "id": f"{mine}_{chat}_{self.stanza}",
                "type": self.kind,
                "body": self.text,
                "t": int(self.at),
                "from": "5511910000000@c.us" if self.from_me else chat,
                "to": chat,
                "chatId": chat,
                "fromMe": self.from_me,
                "ack": self.ack,
                "sender": {"id": chat, "pushname": "Anna Braga"},
                "session": session,
            }
        }


@dataclass(slots=True)
class ChatBook:
    """All chats of one session."""

    chats: OrderedDict[ChatId, list[Kept]] = field(default_factory=OrderedDict)
    hides: bool = False
    """Whether what is written now is loaded later: see `show`."""

    def add(
        self,
        chat: str,
        text: str,
        at: float,
        *,
        from_me: bool,
        stanza: str | None = None,
        ack: int = 1,
        kind: str = "chat",
    ) -> Kept:
        """Keep a message at the end of its chat."""
        kept = Kept(
            chat=ChatId(chat),
            stanza=StanzaId(stanza or f"3EB1{next(_stanzas):016X}"),
            text=text,
            at=at,
            from_me=from_me,
            ack=ack,
            kind=kind,
            is_hidden=self.hides,
        )
        self.chats.setdefault(kept.chat, []).append(kept)
        return kept

    def show(self) -> None:
        """Let the page have loaded everything."""
        self.hides = False
        for kept in self.all():
            kept.is_hidden = False

    def all(self) -> list[Kept]:
        """Give every message."""
        return [kept for chat in self.chats.values() for kept in chat]

    def restart_page(self) -> None:
        """Forget what never left the page."""
        for messages in self.chats.values():
            messages[:] = [kept for kept in messages if not (kept.from_me and kept.ack == 0)]

    def rows(self, count: int, start: ChatId | None, listed_as: dict[ChatId, ChatId]) -> list[ChatRow]:
        """Give a page of `list-chats`."""
        shown = [(chat, self._shown(chat)) for chat in self.chats]
        there = sorted(((chat, kept) for chat, kept in shown if kept), key=lambda pair: -pair[1][-1].at)
        names = [listed_as.get(chat, chat) for chat, _ in there]
        first = names.index(start) if start in names else 0
        return [
            ChatRow(
                chat=name,
                at=int(kept[-1].at),
                last=MessageId(from_me=kept[-1].from_me, chat=name, stanza=kept[-1].stanza, participant=None),
            )
            for name, (_, kept) in zip(names, there, strict=True)
        ][first : first + count]

    def page(
        self,
        where: tuple[GatewayName, SessionName],
        chat: ChatId,
        *,
        count: int,
        after: str | None,
        before: str | None,
        listed_as: dict[ChatId, ChatId],
    ) -> list[Found]:
        """Give a page of `get-messages`; raises `GatewayAnswerError` for what it does not know."""
        real = next((name for name, shown in listed_as.items() if shown == chat), chat)
        found = self._shown(real)
        if not found:
            raise GatewayAnswerError("Error on open list (scripted)")
        anchor = after or before
        if anchor is not None:
            at = self._position(found, anchor, listed_as.get(real, real))
            found = found[at + 1 :][:count] if after else found[:at][-count:]
        payloads = [kept.payload(where[1], listed_as=listed_as.get(real)) for kept in found[-count:]]
        return [read_found(payload["response"], *where) for payload in payloads]

    @staticmethod
    def _position(found: list[Kept], anchor: str, name: ChatId) -> int:
        for at, kept in enumerate(found):
            if anchor == f"{'true' if kept.from_me else 'false'}_{name}_{kept.stanza}":
                return at
        raise GatewayAnswerError("Error on open list (scripted)")

    def _shown(self, chat: ChatId) -> list[Kept]:
        return [kept for kept in self.chats.get(chat, []) if not kept.is_hidden]
