"""The ledger: what people sent and received, and what was asked of the gateway.

This is what tests and benchmarks count against: it is written where a message leaves or reaches a person, not where
somebody says so. It lives as long as the gateway object, across its restarts, until `forget()`. Its lists are bounded
(`Manners.ledger_limit`, oldest out first) while the totals go on counting; the counters have one entry per route,
session or chat with an indicator on. It judges nothing: comparing is the reader's business.

Times are seconds of the machine's monotonic clock (`time.monotonic`), which all processes of a machine share.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec

from wa_supervisor.simulator.bell import Bell


class Written(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message that somebody wrote to a session (or, with `from_me`, its owner on the phone)."""

    session: str
    chat: str
    person: str
    """Id of who wrote it; differs from `chat` in groups and stories."""
    stanza: str
    """WhatsApp's id, unique within the gateway's life."""
    kind: str
    """The message's type: `chat`, `image`, ..."""
    text: str
    from_me: bool
    emitted: bool
    """Whether it was emitted to whoever was connected; a session that is away or not listening emits nothing."""
    at: float


class Received(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message that reached a chat, the real one, whatever the sender meant."""

    session: str
    chat: str
    id: str
    kind: str
    text: str
    route: str
    """The call that sent it."""
    at: float


class Indicator(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`typing` or `recording` switched on or off."""

    session: str
    chat: str
    kind: str
    on: bool
    at: float


class ForbiddenCall(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What nobody must ever call: `start-all`, `clear-session-data`, `show-all-sessions`, `unhealthy`, a send with
    `path` (it reads any file of the server), a start with `waitQrCode`."""

    route: str
    path: str
    at: float


class Ledger:
    """What happened, for reading; `bell` rings after every entry."""

    def __init__(self, *, limit: int, bell: Bell, now: Callable[[], float] = time.monotonic) -> None:
        self._bell = bell
        self.now = now
        """The clock of all entries."""
        self.written: deque[Written] = deque(maxlen=limit)
        self.received: deque[Received] = deque(maxlen=limit)
        self.indicators: deque[Indicator] = deque(maxlen=limit)
        self.forbidden: deque[ForbiddenCall] = deque(maxlen=limit)
        self.indicators_on: dict[tuple[str, str], str] = {}
        """(session, chat) -> `typing` or `recording`; only those that are on."""
        self.calls: Counter[str] = Counter()
        """Requests per route, refused ones included."""
        self.calls_of: Counter[tuple[str, str]] = Counter()
        """Authenticated requests per (session, route)."""
        self.starts: Counter[str] = Counter()
        """Per session, the starts that began something (a start of a running session does not)."""
        self.closes: Counter[str] = Counter()
        self.logouts: Counter[str] = Counter()
        self.unlinked: Counter[str] = Counter()
        """Per session, logins lost because a pairing code was asked for a number that was linked already."""
        self.written_total = 0
        self.received_total = 0
        self.events_total = 0
        """Events emitted, whether or not a client was there."""
        self.clients = 0
        """Socket.IO clients now."""
        self.clients_peak = 0
        self.connections_total = 0
        """Socket.IO connections ever made."""

    def note_call(self, route: str) -> None:
        """A request came in."""
        self.calls[route] += 1
        self._bell.ring()

    def note_written(self, entry: Written) -> None:
        """Somebody wrote to a session."""
        self.written.append(entry)
        self.written_total += 1
        self._bell.ring()

    def note_received(self, entry: Received) -> None:
        """A chat received something from a session."""
        self.received.append(entry)
        self.received_total += 1
        self._bell.ring()

    def note_indicator(self, session: str, chat: str, kind: str, *, on: bool) -> None:
        """A person sees `kind` begin or end."""
        self.indicators.append(Indicator(session=session, chat=chat, kind=kind, on=on, at=self.now()))
        if on:
            self.indicators_on[session, chat] = kind
        else:
            self.indicators_on.pop((session, chat), None)
        self._bell.ring()

    def clear_indicators(self, session: str) -> None:
        """The session's page is gone, and with it what it showed to people."""
        for key in [key for key in self.indicators_on if key[0] == session]:
            del self.indicators_on[key]

    def note_forbidden(self, route: str, path: str) -> None:
        """One of the traps was called."""
        self.forbidden.append(ForbiddenCall(route=route, path=path, at=self.now()))
        self._bell.ring()

    def note_client(self, change: int) -> None:
        """A Socket.IO client came (1) or went (-1)."""
        self.clients += change
        self.clients_peak = max(self.clients_peak, self.clients)
        self.connections_total += max(change, 0)
        self._bell.ring()

    def texts_received(self, session: str | None = None, chat: str | None = None) -> list[str]:
        """The text messages that reached `chat` from `session`, in order; None means any."""
        return [
            entry.text
            for entry in self.received
            if entry.kind == "chat" and session in (None, entry.session) and chat in (None, entry.chat)
        ]

    async def until(self, holds: Callable[[Ledger], object]) -> None:
        """Return as soon as `holds(ledger)` is true. Bring a time limit (`anyio.fail_after`)."""
        await self._bell.until(lambda: holds(self))

    def forget(self) -> None:
        """Start a new page: everything but the clients that are connected and the indicators that are on."""
        for entries in (self.written, self.received, self.indicators, self.forbidden):
            entries.clear()
        for counts in (self.calls, self.calls_of, self.starts, self.closes, self.logouts, self.unlinked):
            counts.clear()
        self.written_total = self.received_total = self.events_total = self.connections_total = 0
        self.clients_peak = self.clients
        self._bell.ring()

    def summary(self) -> dict[str, object]:
        """The counters, JSON-able, without the lists."""
        return {
            "written_total": self.written_total,
            "received_total": self.received_total,
            "events_total": self.events_total,
            "clients": self.clients,
            "clients_peak": self.clients_peak,
            "connections_total": self.connections_total,
            "calls": dict(self.calls),
            "calls_of": _nested(self.calls_of),
            "starts": dict(self.starts),
            "closes": dict(self.closes),
            "logouts": dict(self.logouts),
            "unlinked": dict(self.unlinked),
            "forbidden": len(self.forbidden),
            "indicators_on": [
                {"session": session, "chat": chat, "kind": kind} for (session, chat), kind in self.indicators_on.items()
            ],
        }

    def as_json(self) -> dict[str, object]:
        """`summary()` and the lists, for `msgspec.json.encode`."""
        return self.summary() | {
            "written": list(self.written),
            "received": list(self.received),
            "indicators": list(self.indicators),
            "forbidden": list(self.forbidden),
        }


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (outer, inner), count in counts.items():
        nested.setdefault(outer, {})[inner] = count
    return nested
