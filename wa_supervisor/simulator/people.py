"""People who write: what reaches an account from outside, in every shape that the real gateway shows.

A `Person` is bound to a gateway and needs nothing else: writing is a plain call, because a message reaches the account
whether or not the session, the page or the server is there. Every message has an id of its own. Nobody here reads or
answers; what people receive is in the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import anyio.lowlevel

from wa_supervisor.simulator.ids import STORIES
from wa_supervisor.simulator.ledger import Written
from wa_supervisor.simulator.messages import Media, Message, reaction_model
from wa_supervisor.simulator.page import PageState, WebPage
from wa_supervisor.simulator.session import SimulatedSession
from wa_supervisor.simulator.world import World

_FLOOD_STEP = 50
"""Messages of a flood between two breaths of the event loop."""

SMALL_PICTURE = Media(base64="/9j/4AAQSkZJRgABAQAAAQABAAD/2Q==", mimetype="image/jpeg", size=22, caption="")
"""A picture for those who only need one."""


class Home(Protocol):
    """What a person needs of the gateway."""

    world: World

    def session(self, name: str) -> SimulatedSession:
        """The session of that name."""
        ...


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a WhatsApp account; made by `SimulatedGateway.person`."""

    id: str
    """`5511900000077@c.us`, or a lid: `123450000067890@lid`."""
    name: str
    home: Home
    phone: str | None = None
    """The phone number behind a lid, if WhatsApp knows it."""
    wids_as_objects: bool = False
    """Events about this person carry `{server, user, _serialized}` where others carry strings."""

    def writes(self, session: str, text: str, *, group: str | None = None) -> Written:
        """A text, directly or in a group."""
        return self.sends(session, text, group=group)

    def sends(
        self,
        session: str,
        text: str = "",
        *,
        kind: str = "chat",
        group: str | None = None,
        media: Media | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Written:
        """A message of any kind, known or not; `extra` are fields of the payload that win over all others."""
        message = self._message(session, text, kind=kind, chat=group or self.id, media=media, extra=extra)
        return self._page(session).arrives(message, wids_as_objects=self.wids_as_objects)

    def writes_undecryptable(self, session: str, text: str, *, decrypts: bool = True) -> Written:
        """First as `ciphertext` without text, then with the same id and readable, unless it never `decrypts`."""
        page = self._page(session)
        message = self._message(session, "", kind="ciphertext", chat=self.id)
        entry = page.arrives(message, wids_as_objects=self.wids_as_objects, meant=text)
        if decrypts:
            world = self.home.world
            world.later(world.timings.decrypt, partial(self._decrypt, page, message, text), outlives_server=True)
        return entry

    def posts_story(self, session: str, media: Media = SMALL_PICTURE) -> Written:
        """A story: `status@broadcast`, with the person as author."""
        message = self._message(session, "", kind="image", chat=STORIES, media=media)
        return self._page(session).arrives(message)

    async def flood(self, session: str, count: int, text: str = "message") -> list[Written]:
        """`count` texts `{text} 1` to `{text} {count}` at once."""
        entries = []
        for number in range(1, count + 1):
            entries.append(self.writes(session, f"{text} {number}"))
            if number % _FLOOD_STEP == 0:
                await anyio.lowlevel.checkpoint()
        return entries

    def reacts(self, session: str, message_id: str, reaction: str) -> None:
        """React to a message by its serialized id; an empty reaction takes it back. The event names no session."""
        page, world = self._page(session), self.home.world
        message = page.history.find(message_id)
        if message is not None and page.listening:
            stanza = world.stanza(world.next_seq())
            payload = reaction_model(message, stanza=stanza, text=reaction, from_me=False)
            world.feed.emit("onreactionmessage", payload)

    def takes_back(self, session: str, stanza: str) -> None:
        """Revoke a direct message of his; the event names no session."""
        page, world = self._page(session), self.home.world
        message = page.history.find(f"false_{self.id}_{stanza}")
        if message is not None and page.listening:
            payload = {"from": self.id, "to": message.own, "id": message.id, "refId": message.id}
            world.feed.emit("onrevokedmessage", payload)

    def _decrypt(self, page: WebPage, message: Message, text: str) -> None:
        message.kind, message.text = "chat", text
        if page.listening and page.state is PageState.ALIVE:
            page.emit(message, wids_as_objects=self.wids_as_objects)

    def _page(self, session: str) -> WebPage:
        return self.home.session(session).page

    def _message(
        self,
        session: str,
        text: str,
        *,
        kind: str,
        chat: str,
        media: Media | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Message:
        world = self.home.world
        seq = world.next_seq()
        return Message(
            seq=seq,
            stanza=world.stanza(seq),
            chat=chat,
            sender=self.id,
            name=self.name,
            own=self.home.session(session).own_id,
            from_me=False,
            kind=kind,
            text=text,
            t=int(world.wall_clock()),
            author="" if chat == self.id else self.id,
            phone=self.phone,
            media=media,
            extra=extra,
        )
