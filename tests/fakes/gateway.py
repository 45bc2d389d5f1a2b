"""A gateway without HTTP: sessions that do what a test says, in whatever time the event loop has."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import anyio

from tests.fakes.scripted import Scripted
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
        self._outcomes: deque[tuple[SendOutcome, bool]] = deque()
        self._booted_at: float | None = None

    @property
    def name(self) -> GatewayName:
        """The operator's name for it."""
        return self._name

    def session(self, name: str) -> FakeSession:
        """Give the session, made if it was never mentioned."""
        return self.sessions.setdefault(SessionName(name), FakeSession())

    def answer_next(self, outcome: SendOutcome, *, done: bool) -> None:
        """Let the next send end so; with `done` the person gets it all the same."""
        self._outcomes.append((outcome, done))

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

    async def send_text(self, access: SessionAccess, chat: ChatId, text: str) -> SendOutcome:
        """Send, or not, as the state of things and the test will have it."""
        async with self._call("send_text"):
            try:
                session = self._admitted(access)
            except GatewayAnswerError as error:
                return Unknown(reason="NoAnswer", message=str(error))
            except WaSupervisorError as error:
                return NotSent(reason=error.reason, message=str(error), repeat=Repeat.WHEN_CONNECTED)
            return self._send(session, SentText(session=access.session, chat=chat, text=text))

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

    def _send(self, session: FakeSession, text: SentText) -> SendOutcome:
        if not is_sendable(text.chat):
            return NotSent(reason="UnsendableChat", message="no chat", repeat=Repeat.NEVER)
        if self._outcomes:
            outcome, done = self._outcomes.popleft()
            if done:
                self.received.append(text)
            return outcome
        if not session.has_page:
            return NotSent(reason="Disconnected", message="not connected", repeat=Repeat.WHEN_CONNECTED)
        if session.has_socket:
            self.received.append(text)
        stanza = StanzaId(f"3EB0{len(self.received):08X}")
        return Sent(stanzas=(stanza,), acknowledged=session.has_socket)


def _shows_typing(chat: ChatId) -> bool:
    kind = chat_kind(chat)
    is_long_lid = kind is ChatKind.LID and len(chat.partition("@")[0]) > 14
    return is_long_lid or kind in {ChatKind.PERSON, ChatKind.GROUP}
