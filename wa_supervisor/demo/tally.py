"""The tally: what people wrote against what people received, from the gateways' ledgers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from wa_supervisor.simulator import Ledger, Received, Written
from wa_supervisor.simulator.agent import echo


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


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledgers say of the people's messages and their echoes."""

    written: int
    answered: int
    received: int
    """Texts that people received, echoes or not: what is not an echo of theirs counts as a duplicate."""
    latencies: Sequence[float]

    @property
    def lost(self) -> int:
        """Messages without an answer in their chat."""
        return self.written - self.answered

    @property
    def duplicates(self) -> int:
        """Answers that came more than once, or to somebody who had not asked."""
        return self.received - self.answered


def tally(ledgers: Iterable[Ledger]) -> Tally:
    """Match every message to the echo that its chat received, session by session."""
    written: dict[tuple[str, str, str], Written] = {}
    received: list[Received] = []
    for ledger in ledgers:
        written |= {(each.session, each.chat, echo(each.text) or ""): each for each in ledger.written}
        received.extend(ledger.received)
    counts = Counter((each.session, each.chat, each.text) for each in received)
    first: dict[tuple[str, str, str], float] = {}
    for each in received:
        first.setdefault((each.session, each.chat, each.text), each.at)
    return Tally(
        written=len(written),
        answered=sum(1 for key in written if counts[key]),
        received=len(received),
        latencies=sorted(first[key] - each.at for key, each in written.items() if key in first),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Give the value below which `share` of the ordered values lie; 0 for none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
