"""A gateway that needs time for what it is asked, goes away, comes back, and writes down who asked when.

It wraps the fakes of the ports, which answer at once: the figures of a benchmark mean nothing against a gateway that is
never busy. Every call with a token costs the real server about 50 ms of bcrypt on one of its cores, so two are served
at a time and the others wait; `healthz` needs no token. While the gateway is away its port refuses at once. What was on
its way when it went is cut off. It lives on asyncio and trio, in virtual time; it deliberately does not model browsers
that start: sessions stay connected to WhatsApp while nobody reaches their gateway.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import anyio

from tests.fakes.gateway import FakeGateway
from tests.fakes.gateway_events import FakeGatewayEvents
from wa_supervisor.domain.chat_history import ChatRow, Found
from wa_supervisor.domain.errors import GatewayAnswerError, GatewayTimeoutError
from wa_supervisor.domain.gateway import GatewayHealth, SessionAccess, SessionReport, StartOptions
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName, StanzaId
from wa_supervisor.domain.sending import SendOutcome, Unknown
from wa_supervisor.engine.ports import EventSink, MayLeave, always


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a call costs the gateway. Seconds, unless said otherwise."""

    authenticated: float = 0.05
    """One token check: what bcrypt takes on one core of the real server."""
    open: float = 0.001
    """A call without a token: `healthz`, and the handshake of the event connection."""
    cores: int = 2
    """Calls that are served at the same time."""
    patience: float = 30.0
    """After so long a client gives up waiting, as the daemon's `request_timeout` has it; the work is done all the
    same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Somebody reached for the gateway."""

    at: float
    what: str
    session: SessionName | None
    is_away: bool


class GuestBook:
    """Who reached for the gateway when, whether or not anybody was there."""

    def __init__(self) -> None:
        self.entries: list[Reached] = []
        self.is_away = False

    def note(self, what: str, session: SessionName | None = None) -> None:
        """Write down one request, or one try to connect."""
        entry = Reached(at=anyio.current_time(), what=what, session=session, is_away=self.is_away)
        self.entries.append(entry)

    def while_away(self) -> Counter[str]:
        """Count what reached for it while it was away, by kind."""
        return Counter(entry.what for entry in self.entries if entry.is_away)

    def requests_since(self, moment: float) -> list[float]:
        """Give the times of everything since `moment`."""
        return [entry.at for entry in self.entries if entry.at >= moment]

    def sessions_since(self, moment: float) -> list[float]:
        """Give, for each session that was asked about since `moment`, when that began."""
        first: dict[SessionName, float] = {}
        for entry in self.entries:
            if entry.session is not None and entry.at >= moment:
                first.setdefault(entry.session, entry.at)
        return sorted(first.values())


def most_in_any_second(times: Iterable[float]) -> int:
    """Give the most of `times` that lie in any second, whenever it begins; its end does not count as in it."""
    window: deque[float] = deque()
    most = 0
    for time in sorted(times):
        window.append(time)
        while round(time - window[0], 6) >= 1.0:
            window.popleft()
        most = max(most, len(window))
    return most


class BusyGateway:
    """Port `Gateway` over a fake, with costs, and with every call in the book."""

    def __init__(self, fake: FakeGateway, book: GuestBook, costs: Costs) -> None:
        self._fake = fake
        self._book = book
        self._costs = costs
        self._cores = anyio.CapacityLimiter(costs.cores)

    @property
    def name(self) -> GatewayName:
        """The operator's name for it."""
        return self._fake.name

    async def health(self) -> GatewayHealth:
        """See `Gateway.health`."""
        self._book.note("health")
        if self._fake.is_up:
            await anyio.sleep(self._costs.open)
        return await self._fake.health()

    async def start(self, access: SessionAccess, options: StartOptions) -> None:
        """See `Gateway.start`."""
        await self._serve("start", access.session)
        await self._fake.start(access, options)

    async def report(self, access: SessionAccess) -> SessionReport:
        """See `Gateway.report`."""
        await self._serve("report", access.session)
        return await self._fake.report(access)

    async def is_connected(self, access: SessionAccess) -> bool:
        """See `Gateway.is_connected`."""
        await self._serve("is_connected", access.session)
        return await self._fake.is_connected(access)

    async def close(self, access: SessionAccess) -> None:
        """See `Gateway.close`."""
        await self._serve("close", access.session)
        await self._fake.close(access)

    async def send_text(
        self,
        access: SessionAccess,
        chat: ChatId,
        text: str,
        *,
        stanza: StanzaId | None = None,
        may_leave: MayLeave = always,
    ) -> SendOutcome:
        """See `Gateway.send_text`."""
        try:
            await self._serve("send_text", access.session)
        except GatewayAnswerError as error:
            return Unknown(reason="NoAnswer", message=str(error))
        return await self._fake.send_text(access, chat, text, stanza=stanza, may_leave=may_leave)

    async def chats(self, access: SessionAccess, *, count: int, start: ChatId | None = None) -> Sequence[ChatRow]:
        """See `Gateway.chats`."""
        await self._serve("chats", access.session)
        return await self._fake.chats(access, count=count, start=start)

    async def messages(
        self, access: SessionAccess, chat: ChatId, *, count: int, after: str | None = None, before: str | None = None
    ) -> Sequence[Found]:
        """See `Gateway.messages`."""
        await self._serve("messages", access.session)
        return await self._fake.messages(access, chat, count=count, after=after, before=before)

    async def number_exists(self, access: SessionAccess, chat: ChatId) -> bool:
        """See `Gateway.number_exists`."""
        await self._serve("number_exists", access.session)
        return await self._fake.number_exists(access, chat)

    async def set_typing(self, access: SessionAccess, chat: ChatId, on: bool) -> None:
        """See `Gateway.set_typing`."""
        await self._serve("set_typing", access.session)
        await self._fake.set_typing(access, chat, on)

    async def _serve(self, what: str, session: SessionName) -> None:
        """Wait for a core and for its work, unless nobody is there: then the fake refuses at once."""
        self._book.note(what, session)
        if self._fake.is_up:
            await self._work()
            if not self._fake.is_up:
                raise GatewayAnswerError("the connection was cut while the gateway was at work")

    async def _work(self) -> None:
        with anyio.move_on_after(self._costs.patience) as waiting:
            async with self._cores:
                with anyio.CancelScope(shield=True):  # ends by itself: the server does not notice who left
                    await anyio.sleep(self._costs.authenticated)
        if waiting.cancel_called:
            raise GatewayTimeoutError(f"no answer in {self._costs.patience:g} s")


class BusyEvents:
    """Port `GatewayEvents` over a fake, with every try to connect in the book."""

    def __init__(self, fake: FakeGatewayEvents, book: GuestBook, costs: Costs) -> None:
        self._fake = fake
        self._book = book
        self._costs = costs

    async def listen(self, sink: EventSink, names: frozenset[str]) -> NoReturn:
        """See `GatewayEvents.listen`."""
        self._book.note("events")
        if not self._fake.refuses:
            await anyio.sleep(self._costs.open)
        await self._fake.listen(sink, names)


class Premises:
    """One gateway's host: the fakes, what wraps them, the book, and the switch that turns all of it off."""

    def __init__(self, gateway: FakeGateway, events: FakeGatewayEvents, costs: Costs | None = None) -> None:
        costs = costs or Costs()
        self.fake = gateway
        self.fake_events = events
        self.book = GuestBook()
        self.gateway = BusyGateway(gateway, self.book, costs)
        self.events = BusyEvents(events, self.book, costs)
        self._cut = anyio.Event()

    def go_away(self) -> None:
        """Answer nobody any more, and cut what stands."""
        self.book.is_away = True
        self.fake.is_up = False
        self.fake_events.refuses = True
        self.fake_events.lose()
        self._cut.set()
        self._cut = anyio.Event()

    async def wait_cut(self) -> None:
        """Wait, as one who has an event connection of his own, until it is cut."""
        await self._cut.wait()

    def come_back(self) -> None:
        """Answer again; the sessions are as they were."""
        self.book.is_away = False
        self.fake.is_up = True
        self.fake_events.refuses = False
