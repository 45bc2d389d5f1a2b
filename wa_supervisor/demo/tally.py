"""The tally: what people wrote against what people received, from the gateways' ledgers alone.

Ledgers are bounded and a demo is not, so the tally takes them in piece by piece and keeps only what is not answered
yet. It deliberately does not look at anything that the daemon or the agent believes.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar

import msgspec

from wa_supervisor.simulator import Ledger, Received, Written
from wa_supervisor.simulator.agent import echo

Entry = TypeVar("Entry", Written, Received)


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the demo ended. Latencies are from a person's message to the reply on that person's phone."""

    sessions: int
    running: int
    invalid: int
    messages_in: int
    handed_over: int
    replies_sent: int
    lost: int
    duplicates: int
    p50_ms: float
    p99_ms: float
    seconds: float

    @property
    def is_flawless(self) -> bool:
        """Whether nothing was lost and nothing came twice."""
        return self.lost == 0 and self.duplicates == 0

    @property
    def is_complete(self) -> bool:
        """Whether every session that can run was running in the end."""
        return self.running + self.invalid == self.sessions


class Tally:
    """What became of people's messages. An answer is the echo of a message, later than it, in the message's chat."""

    def __init__(self) -> None:
        self.written = 0
        """Messages of people."""
        self.answered = 0
        """Messages that have their answer."""
        self.received = 0
        """Texts that people received, answers or not."""
        self.latencies = array("d")
        """Seconds from message to answer, in the order of the answers."""
        self._waiting: dict[tuple[str, str, str], deque[float]] = {}

    def __repr__(self) -> str:
        return f"<Tally {self.written} written, {self.lost} lost, {self.duplicates} duplicates>"

    @property
    def lost(self) -> int:
        """Messages without an answer in their chat."""
        return self.written - self.answered

    @property
    def duplicates(self) -> int:
        """Texts that answer nothing: they came more than once, or to somebody who had not asked."""
        return self.received - self.answered

    def take(self, written: Iterable[Written], received: Iterable[Received]) -> None:
        """Take in what was written and received since the last time, both in their order."""
        for message in written:
            self.written += 1
            key = (message.session, message.chat, echo(message.text))
            self._waiting.setdefault(key, deque()).append(message.at)
        for text in received:
            self.received += 1
            self._answer((text.session, text.chat, text.text), text.at)

    def _answer(self, key: tuple[str, str, str], at: float) -> None:
        asked = self._waiting.get(key)
        if not asked or asked[0] > at:
            return
        self.answered += 1
        self.latencies.append(at - asked.popleft())
        if not asked:
            del self._waiting[key]


class Clerk:
    """Keeps the tally of several ledgers: call `catch_up` before any of them drops its oldest entries."""

    def __init__(self, ledgers: Iterable[Ledger]) -> None:
        self.tally = Tally()
        self._read = [(ledger, _Place()) for ledger in ledgers]

    def catch_up(self) -> Tally:
        """Take in what is new, and give the tally."""
        for ledger, place in self._read:
            written = _newest(ledger.written, ledger.written_total - place.written)
            received = _newest(ledger.received, ledger.received_total - place.received)
            place.written, place.received = ledger.written_total, ledger.received_total
            self.tally.take(written, received)
        return self.tally


class _Place:
    __slots__ = ("received", "written")

    def __init__(self) -> None:
        self.written = self.received = 0


def _newest(entries: deque[Entry], count: int) -> list[Entry]:
    newest = list(islice(reversed(entries), count))
    newest.reverse()
    return newest


def tally(ledgers: Iterable[Ledger]) -> Tally:
    """Match every message to the echo that its chat received, session by session."""
    return Clerk(ledgers).catch_up()


def percentile(ordered: Sequence[float], share: float) -> float:
    """Give the value below which `share` of the ordered values lie; 0 for none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
