"""A gateway without HTTP: sessions that do what a test says, in whatever time the event loop has."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from tests.fakes.chat_book import ChatBook
from tests.fakes.scripted import Scripted
from wa_supervisor.domain.chat_history import ChatRow, Found
from wa_supervisor.domain.chats import ChatKind, chat_kind, is_sendable
from wa_supervisor.domain.errors import (
    GatewayAnswerError,
    GatewayUnreachableError,
    TokenRefusedError,
    WaSupervisorError,
    WrongSecretError,
)
from wa_supervisor.domain.gateway import (
    GatewayHealth,
    GatewayStatus,
    SessionAccess,
    SessionReport,
    StartOptions,
)
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName, StanzaId
from wa_supervisor.domain.sending import NotSent, Repeat, SendOutcome, Sent, Unknown
from wa_supervisor.engine.ports import MayLeave, always

_LISTED = frozenset({ChatKind.PERSON, ChatKind.LID, ChatKind.GROUP})


@dataclass(frozen=True, slots=True, kw_only=True)
class SentText:
    """What a person got."""

    session: SessionName
    chat: ChatId
    text: str


@dataclass(slots=True)
class FakeSession:
    """One session; a test may set anything at any time. By default its login is stored, so that a start connects it."""

    status: GatewayStatus = GatewayStatus.CLOSED
    has_login: bool = True
    has_page: bool = False
    """What `is_connected` says; False under CONNECTED is a crashed browser."""
    has_socket: bool = True
    """Whether WhatsApp hears it; without, sends are taken and never acknowledged."""
    sticks: bool = False
    """Whether its starts stay INITIALIZING for ever."""
    starts_in: float = 0.0
    """Seconds that its browser takes."""
    options: StartOptions = field(default_factory=StartOptions)
    """Those of the last start that began something."""
    starts: int = 0
    """Starts that began something."""
    closes: int = 0
    book: ChatBook = field(default_factory=ChatBook)
    """Its chats, which survive everything, as on the phone."""
    ready_at: float = 0.0

    def settle(self, now: float) -> None:
        """Become what the start leads to, if its time has come."""
        if self.status is not GatewayStatus.INITIALIZING or self.sticks or now < self.ready_at:
            return
        if self.has_login:
            self.connect()
        else:
            self.status = GatewayStatus.PHONECODE if self.options.phone else GatewayStatus.QRCODE

    def connect(self) -> None:
        """Be logged in and connected."""
        if not self.has_page:
            self.book.restart_page()
        self.status, self.has_login, self.has_page = GatewayStatus.CONNECTED, True, True

    def end(self) -> None:
        """Have no browser any more; the login stays."""
        self.status, self.has_page, self.has_socket = GatewayStatus.CLOSED, False, True


class FakeGateway(Scripted):
    """Port `Gateway`. `fail_next` takes the errors of the port; sends have outcomes, for which see `answer_next`."""

    def __init__(self, name: GatewayName = GatewayName("main")) -> None:  # noqa: B008  # a NewType over str
        super().__init__()
        self._name = name
        self.is_up = True
        """Whether anything answers."""
        self.is_readable = True
        """Whether what it answers is what a gateway answers."""
        self.has_right_secret = True
        self.refuses_tokens = False
        self.sessions: dict[SessionName, FakeSession] = {}
        self.received: list[SentText] = []
        """What people got, in order."""
        self.typing: set[tuple[SessionName, ChatId]] = set()
        """Where people see "typing"."""
        self.unreadable: set[ChatId] = set()
        """Chats whose history cannot be read."""
        self.listed_as: dict[ChatId, ChatId] = {}
        """Chats that answers name otherwise than events do."""
        self.missing_numbers: set[ChatId] = set()
        self.refuses_names = self.ignores_names = False
        """Whether a send that names its message fails with 500 and sends nothing, or gets another name."""
        self.later: list[tuple[float, FakeSession, SentText, StanzaId | None]] = []
        """Sends that take their effect at a moment to come."""
        self.moves: list[tuple[ChatId, str]] = []
        """Who writes what as soon as a page of chats was given; one for each page."""
        self.most_at_once: Counter[str] = Counter()
        """Calls of a method that were under way at the same time, at most."""
        self._under_way: Counter[str] = Counter()
        self._outcomes: deque[tuple[SendOutcome, bool, float]] = deque()
        self._booted_at: float | None = None

    @property
    def name(self) -> GatewayName:
        """The operator's name for it."""
        return self._name

    def session(self, name: str) -> FakeSession:
        """Give the session, made if it was never mentioned."""
        return self.sessions.setdefault(SessionName(name), FakeSession())

    def answer_next(self, outcome: SendOutcome, *, done: bool, done_after: float = 0.0) -> None:
        """Let the next send end so; with `done` the person gets it all the same, `done_after` seconds later."""
        self._outcomes.append((outcome, done, done_after))

    def writes(self, session: str, chat: str, text: str, *, at: float, stanza: str | None = None) -> dict[str, object]:
        """Let a person write; gives the event, which the test may let the gateway emit or lose. `at` by the wall."""
        return self.session(session).book.add(chat, text, at, from_me=False, stanza=stanza).payload(session)

    def owner_writes(self, session: str, chat: str, text: str, *, at: float) -> dict[str, object]:
        """Let the account's owner write on the phone; gives the event."""
        return self.session(session).book.add(chat, text, at, from_me=True).payload(session)

    def take_after(self, other: FakeGateway) -> None:
        """Go on with the sessions of another, as after a restart of the daemon."""
        self.sessions = other.sessions

    def restart(self) -> None:
        """Begin to run anew: all sessions are closed, with their logins kept."""
        for session in self.sessions.values():
            session.end()
        self.typing.clear()
        self._booted_at = anyio.current_time()

    async def health(self) -> GatewayHealth:
        """Give the time since the fake was first asked, or restarted."""
        async with self._call("health"):
            self._check_answers()
            now = anyio.current_time()
            self._booted_at = now - 1.0 if self._booted_at is None else self._booted_at
            return GatewayHealth(uptime=now - self._booted_at)

    async def start(self, access: SessionAccess, options: StartOptions) -> None:
        """Begin to start a closed session."""
        async with self._call("start"):
            session = self._admitted(access)
            if session.status is not GatewayStatus.CLOSED:
                return
            session.status, session.options = GatewayStatus.INITIALIZING, options
            session.starts += 1
            session.ready_at = anyio.current_time() + session.starts_in

    async def report(self, access: SessionAccess) -> SessionReport:
        """Give what the session remembers."""
        async with self._call("report"):
            status = self._admitted(access).status
            code = f"2@{access.session}" if status is GatewayStatus.QRCODE else None
            return SessionReport(status=status, url_code=code)

    async def is_connected(self, access: SessionAccess) -> bool:
        """Look at the page."""
        async with self._call("is_connected"):
            return self._admitted(access).has_page

    async def close(self, access: SessionAccess) -> None:
        """End the browser, a stuck one too."""
        async with self._call("close"):
            session = self._admitted(access)
            session.closes += 1
            session.end()
            self.typing = {shown for shown in self.typing if shown[0] != access.session}

    async def send_text(
        self,
        access: SessionAccess,
        chat: ChatId,
        text: str,
        *,
        stanza: StanzaId | None = None,
        may_leave: MayLeave = always,
    ) -> SendOutcome:
        """Send, or not, as the state of things and the test will have it."""
        async with self._call("send_text"):
            try:
                session = self._admitted(access)
            except GatewayAnswerError as error:
                return Unknown(reason="NoAnswer", message=str(error))
            except WaSupervisorError as error:
                return NotSent(reason=error.reason, message=str(error), repeat=Repeat.WHEN_CONNECTED)
            if not may_leave():
                return NotSent(reason="Superseded", message="not ours (any more)", repeat=Repeat.NEVER)
            is_nameable = chat_kind(chat) in {ChatKind.PERSON, ChatKind.LID}
            if stanza is not None and is_nameable and self.refuses_names:
                return Unknown(reason="Http500", message="no such name", has_ended=True)
            return self._send(
                session, SentText(session=access.session, chat=chat, text=text), stanza if is_nameable else None
            )

    async def chats(self, access: SessionAccess, *, count: int, start: ChatId | None = None) -> Sequence[ChatRow]:
        """Give a page of the session's chats, the latest active first."""
        with self._counted("chats"):
            async with self._call("chats"):
                book = self._admitted(access).book
                rows = book.rows(len(book.chats), None, self.listed_as)
                listed = [row for row in rows if chat_kind(row.chat) in _LISTED]
                first = next((at for at, row in enumerate(listed) if row.chat == start), 0)
                page = listed[first : first + count]
                if self.moves and len(page) == count:
                    chat, text = self.moves.pop(0)
                    book.add(chat, text, 1_790_000_000.0 + anyio.current_time(), from_me=False)
                return page

    async def messages(
        self, access: SessionAccess, chat: ChatId, *, count: int, after: str | None = None, before: str | None = None
    ) -> Sequence[Found]:
        """Give messages of a chat, oldest first."""
        with self._counted("messages"):
            async with self._call("messages"):
                book = self._admitted(access).book
                if chat in self.unreadable:
                    raise GatewayAnswerError("Error on open list (scripted)")
                where = self.name, access.session
                return book.page(where, chat, count=count, after=after, before=before, listed_as=self.listed_as)

    async def number_exists(self, access: SessionAccess, chat: ChatId) -> bool:
        """Look a number up."""
        async with self._call("number_exists"):
            self._admitted(access)
            return chat not in self.missing_numbers

    @contextmanager
    def _counted(self, method: str) -> Iterator[None]:
        self._under_way[method] += 1
        self.most_at_once[method] = max(self.most_at_once[method], self._under_way[method])
        try:
            yield
        finally:
            self._under_way[method] -= 1

    async def set_typing(self, access: SessionAccess, chat: ChatId, on: bool) -> None:
        """Show or hide it, where a gateway can."""
        async with self._call("set_typing"):
            self._admitted(access)
            if not _shows_typing(chat):
                return
            if on:
                self.typing.add((access.session, chat))
            else:
                self.typing.discard((access.session, chat))

    def _admitted(self, access: SessionAccess) -> FakeSession:
        self._check_answers()
        self._do_what_was_late()
        if not self.has_right_secret:
            raise WrongSecretError("the gateway refuses the secret (scripted)")
        if self.refuses_tokens:
            raise TokenRefusedError("the gateway refuses every token (scripted)")
        session = self.session(access.session)
        session.settle(anyio.current_time())
        return session

    def _check_answers(self) -> None:
        if not self.is_up:
            raise GatewayUnreachableError("the gateway is down (scripted)")
        if not self.is_readable:
            raise GatewayAnswerError("the gateway answers nonsense (scripted)")

    def _send(self, session: FakeSession, text: SentText, stanza: StanzaId | None) -> SendOutcome:
        if not is_sendable(text.chat):
            return NotSent(reason="UnsendableChat", message="no chat", repeat=Repeat.NEVER)
        if self._outcomes:
            outcome, done, done_after = self._outcomes.popleft()
            if done and done_after:
                self.later.append((anyio.current_time() + done_after, session, text, stanza))
            elif done:
                self._reach(session, text, _named(outcome) or stanza)
            return outcome
        if not session.has_page:
            return NotSent(reason="Disconnected", message="not connected", repeat=Repeat.WHEN_CONNECTED)
        stanza = self._reach(session, text, stanza)
        return Sent(stanzas=(stanza,), acknowledged=session.has_socket)

    def _reach(self, session: FakeSession, text: SentText, stanza: StanzaId | None) -> StanzaId:
        if self.ignores_names:
            stanza = None
        if session.has_socket:
            self.received.append(text)
        ack = 1 if session.has_socket else 0
        at = 1_790_000_000.0 + anyio.current_time()
        return session.book.add(text.chat, text.text, at, from_me=True, stanza=stanza, ack=ack).stanza

    def _do_what_was_late(self) -> None:
        now = anyio.current_time()
        for each in [each for each in self.later if each[0] <= now]:
            self.later.remove(each)
            self._reach(*each[1:])


def _named(outcome: SendOutcome) -> StanzaId | None:
    return outcome.stanzas[0] if isinstance(outcome, Sent) and outcome.stanzas else None


def _shows_typing(chat: ChatId) -> bool:
    kind = chat_kind(chat)
    is_long_lid = kind is ChatKind.LID and len(chat.partition("@")[0]) > 14
    return is_long_lid or kind in {ChatKind.PERSON, ChatKind.GROUP}
