"""The browser page of a session: what is really there, whatever the status says, and the messages that pass it.

A page is alive, crashed, over a dead WhatsApp socket, or not there at all. Messages reach the account in any case: an
alive page sees them at once and, when the server listens, they are emitted (unless the script has them lost);
otherwise they wait for the next page and are never emitted. The object lives as long as the session; `number` tells
one opened page from the next.
"""

from __future__ import annotations

from enum import Enum
from functools import partial

from wa_supervisor.simulator.history import History
from wa_supervisor.simulator.ledger import Received, Written
from wa_supervisor.simulator.messages import Media, Message, ack_model, event_model, with_wid_objects
from wa_supervisor.simulator.world import World


class PageState(Enum):
    """What is really there."""

    NONE = "none"
    ALIVE = "alive"
    CRASHED = "crashed"
    """The browser is gone: calls end in 404, check-connection-session says false."""
    DEAD = "dead"
    """WhatsApp's socket is dead: the page answers, says it is connected, and nothing passes."""


class WebPage:
    """One session's page and chats."""

    def __init__(self, session: str, own_id: str, world: World) -> None:
        self.state = PageState.NONE
        self.listening = False
        """Whether the server has put its listeners on the page."""
        self.number = 0
        self.history = History(
            per_chat=world.manners.history_limit,
            chats=world.manners.chats_limit,
            listed_as=world.listed_as,
            strict_anchors=world.manners.strict_anchors,
        )
        self._session = session
        self._own_id = own_id
        self._world = world

    @property
    def answers(self) -> bool:
        """Whether calls into the page are possible."""
        return self.state in (PageState.ALIVE, PageState.DEAD)

    def open(self, state: PageState = PageState.ALIVE) -> None:
        """A fresh page."""
        self.number += 1
        self.state = state
        self.history.page_restarted()

    def close(self) -> None:
        """No page any more."""
        self.number += 1
        self.state, self.listening = PageState.NONE, False

    def arrives(self, message: Message, *, wids_as_objects: bool = False, meant: str | None = None) -> Written:
        """A message reaches the account: it is kept, and emitted if the page and the listeners are there.

        `meant` is the text that was written, where the message does not (yet) show it.
        """
        emitted = self.state is PageState.ALIVE and self.listening and not self._world.loses(self._session)
        if self.state is PageState.ALIVE:
            self.history.add(message)
        else:
            self.history.add_absent(message)
        ledger = self._world.ledger
        entry = Written(
            session=self._session,
            chat=message.chat,
            person=message.sender,
            stanza=message.stanza,
            kind=message.kind if meant is None else "chat",
            text=message.text if meant is None else meant,
            from_me=message.from_me,
            emitted=emitted,
            at=ledger.now(),
        )
        ledger.note_written(entry)
        if emitted:
            self._emit(message, wids_as_objects=wids_as_objects)
        return entry

    def emit(self, message: Message, *, wids_as_objects: bool = False) -> None:
        """`received-message`, as the page reports it to the server's listener, unless the script has it lost."""
        if not self._world.loses(self._session):
            self._emit(message, wids_as_objects=wids_as_objects)

    def _emit(self, message: Message, *, wids_as_objects: bool) -> None:
        model = event_model(message, session=self._session, inline_media=self._world.manners.inline_media)
        if wids_as_objects:
            model = with_wid_objects(model)
        self._world.feed.emit("received-message", {"response": model})

    def send(
        self, chat: str, text: str, *, kind: str, route: str, media: Media | None = None, stanza: str | None = None
    ) -> Message:
        """Send from the account; over a dead socket `ack` stays 0 and nobody receives it. The page reports it too."""
        message = self._own_message(chat, text, kind=kind, media=media, stanza=stanza)
        self.history.add(message)
        if message.ack:
            self._deliver(message, route)
        if self.listening:
            self.emit(message)
        return message

    def _own_message(self, chat: str, text: str, *, kind: str, media: Media | None, stanza: str | None) -> Message:
        world = self._world
        seq = world.next_seq()
        return Message(
            seq=seq,
            stanza=stanza or world.stanza(seq),
            chat=chat,
            sender=self._own_id,
            name=self._session,
            own=self._own_id,
            from_me=True,
            kind=kind,
            text=text,
            t=int(world.wall_clock()),
            ack=1 if self.state is PageState.ALIVE else 0,
            author=self._own_id if chat.endswith("@g.us") else "",
            media=media,
        )

    def _deliver(self, message: Message, route: str) -> None:
        world, ledger = self._world, self._world.ledger
        if world.numbers.get(message.chat.partition("@")[0]) == "missing":
            return
        entry = Received(
            session=self._session,
            chat=message.chat,
            id=message.id,
            kind=message.kind,
            text=message.text,
            route=route,
            at=ledger.now(),
        )
        ledger.note_received(entry)
        for ack, line in world.acks:
            line.add(partial(self._acknowledge, message, ack, self.number))

    def _acknowledge(self, message: Message, ack: int, number: int) -> None:
        if self.state is PageState.ALIVE and number == self.number:
            message.ack = ack
            if not self._world.is_mute(self._session):
                self._world.feed.emit("onack", ack_model(message, ack))
