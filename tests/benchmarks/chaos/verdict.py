"""What was found, judged: which states are wrong, what grew, what the log says, and whether that is all right.

Pure: everything is handed in. The limits of growth stand here, each with its reason; states have none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tests.benchmarks.chaos.book import Book
from tests.benchmarks.chaos.traffic import Messages
from tests.benchmarks.chaos.vitals import Vitals
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import SessionStatus, is_stale

FDS_ALLOWED = 8
"""File descriptors more than before, beside those of the pools to gateways: connections to Redis and PostgreSQL that
are kept for the next request come and go. A leak of one for each fault would be hundreds."""

POOLED_ALLOWED = 17
"""Connections to one gateway: as many as requests may be under way (`requests_at_once`), which are kept for the next
ones, and the one for its events."""

THREADS_ALLOWED = 4
"""Threads more: the event loop's own for blocking calls are kept once they were needed."""

TASKS_ALLOWED = 10
"""Tasks more: one for each connection that is kept, and for each message under way."""

MEMORY_ALLOWED = 0.15
"""Share by which resident memory may be more: what is remembered of people and messages is bounded, and was nearly full
before; the allocator gives little back."""


class WrongState(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is not in the state that the wish and the faults call for."""

    calm: str
    id: str
    expected: list[str]
    found: str
    """A state; `absent`, `stale`, or what the gateway says."""
    reason: str = ""
    message: str = ""
    for_s: float | None = None
    """Seconds that it has been so."""


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """What one process holds at the end more than in a calm before."""

    fds: int
    fds_outside_pools: int
    """Without connections to gateways, which are pooled."""
    pooled: dict[str, int]
    """Connections to each gateway at the end."""
    threads: int
    tasks: int | None
    rss_mb_start: float
    rss_mb_end: float
    memory: float
    """A share."""
    kinds: dict[str, int]
    """File descriptors that are more or fewer, by kind."""


def wrong_states(calm: str, book: Book, statuses: Mapping[str, SessionStatus], now: float) -> list[WrongState]:
    """Compare every status with what is called for."""
    wrong = [_wrong(calm, name, each.calls_for, statuses.get(name), now) for name, each in book.declared.items()]
    forgotten = [
        _as_found(calm, name, ["absent"], status, now)
        for name, status in statuses.items()
        if name not in book.declared and status.state is not State.STOPPED
    ]
    return [each for each in wrong if each is not None] + forgotten


def _wrong(
    calm: str, name: str, expected: frozenset[State], status: SessionStatus | None, now: float
) -> WrongState | None:
    names = sorted(state.value for state in expected)
    if status is None:
        return WrongState(calm=calm, id=name, expected=names, found="absent")
    if is_stale(status, now):
        return WrongState(calm=calm, id=name, expected=names, found="stale", message=f"was {status.state.value}")
    return None if status.state in expected else _as_found(calm, name, names, status, now)


def _as_found(calm: str, name: str, expected: list[str], status: SessionStatus, now: float) -> WrongState:
    return WrongState(
        calm=calm,
        id=name,
        expected=expected,
        found=status.state.value,
        reason=status.reason,
        message=status.message,
        for_s=round(now - status.since, 1),
    )


def wrong_at_gateway(
    calm: str, book: Book, shown: Mapping[str, Mapping[str, Any]], clients: Mapping[str, int]
) -> list[WrongState]:
    """Compare what the gateways say: running sessions are connected, paused ones closed, one connection to each."""
    wrong = []
    for name, each in book.declared.items():
        session = shown[each.gateway].get(each.session, {})
        found = f"{session.get('status', 'CLOSED')} over a page that is {session.get('page', 'none')}"
        wanted = _at_gateway(each.calls_for)
        if wanted is not None and found != wanted:
            wrong.append(WrongState(calm=calm, id=name, expected=[wanted], found=found, reason="AtGateway"))
    for gateway, count in clients.items():
        if count != 1:
            expected, found = ["1 event connection"], f"{count} event connections"
            wrong.append(WrongState(calm=calm, id=gateway, expected=expected, found=found, reason="AtGateway"))
    return wrong


def _at_gateway(calls_for: frozenset[State]) -> str | None:
    if calls_for == {State.RUNNING}:
        return "CONNECTED over a page that is alive"
    return "CLOSED over a page that is none" if calls_for == {State.PAUSED} else None


def growth(before: Vitals, after: Vitals, gateways: Mapping[str, str]) -> Growth:
    """Compare two looks at one process; `gateways` names each gateway's kind of file descriptor."""
    kinds = Counter(after.kinds)
    kinds.subtract(before.kinds)
    pooled = {name: after.kinds[kind] for name, kind in gateways.items()}
    return Growth(
        fds=after.fds - before.fds,
        fds_outside_pools=sum(number for kind, number in kinds.items() if kind not in gateways.values()),
        pooled=pooled,
        threads=after.threads - before.threads,
        tasks=None if after.tasks is None or before.tasks is None else after.tasks - before.tasks,
        rss_mb_start=before.rss_mb,
        rss_mb_end=after.rss_mb,
        memory=round(after.rss_mb / before.rss_mb - 1, 4),
        kinds={kind: number for kind, number in kinds.items() if number},
    )


def errors_by_reason(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the log's lines at error and above, by message and reason; words that are no log line count as `raw`."""
    counts: Counter[str] = Counter()
    for line in lines:
        if line.get("level") in {"error", "critical", "raw"}:
            counts[_reason(line)] += 1
    return dict(counts.most_common())


def _reason(line: Mapping[str, Any]) -> str:
    error = line.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    about = [str(part) for part in (line.get("where"), line.get("reason"), kind) if part]
    return ": ".join([str(line.get("message", ""))[:120], *about])


def leaks_told(lines: Iterable[Mapping[str, Any]]) -> int:
    """Count what asyncio and aiohttp complain of: tasks destroyed or failed unseen, connections not closed."""
    words = ("was destroyed but it is pending", "was never retrieved", "Unclosed", "was never awaited")
    return sum(1 for line in lines if any(word in str(line.get("message", "")) for word in words))


def missed(
    *,
    wrong: list[WrongState],
    grown: Growth | None,
    messages: Messages | None,
    unanswered: list[str],
    unordered: list[int | None],
    leaks: int,
    unplayed: list[str],
) -> list[str]:
    """Say, each in a sentence, why a run is not all right."""
    said = [f"{each.id} ({each.calm} calm): {each.found}, expected {' or '.join(each.expected)}" for each in wrong]
    said += _too_much(grown)
    if messages is None:
        said.append("the messages were not counted")
    elif messages.duplicates:
        said.append(f"{messages.duplicates} messages came twice: {messages.heard_twice + messages.received_twice}")
    if unanswered:
        said.append(f"{len(unanswered)} of the messages in the last calm were not answered: {unanswered[:5]}")
    if unordered:
        said.append(f"the daemon died {len(unordered)} times without an order, with {unordered}")
    if leaks:
        said.append(f"{leaks} complaints about tasks or connections that were not ended")
    return said + [f"not played to its end: {each}" for each in unplayed]


def _too_much(grown: Growth | None) -> list[str]:
    if grown is None:
        return ["what the daemon holds was not measured in one process"]
    said = []
    if grown.fds_outside_pools > FDS_ALLOWED:
        said.append(f"{grown.fds_outside_pools} file descriptors more, at most {FDS_ALLOWED}: {grown.kinds}")
    for gateway, number in grown.pooled.items():
        if number > POOLED_ALLOWED:
            said.append(f"{number} connections to gateway {gateway}, at most {POOLED_ALLOWED}")
    if grown.threads > THREADS_ALLOWED:
        said.append(f"{grown.threads} threads more, at most {THREADS_ALLOWED}")
    if grown.tasks is not None and grown.tasks > TASKS_ALLOWED:
        said.append(f"{grown.tasks} tasks more, at most {TASKS_ALLOWED}")
    if grown.memory > MEMORY_ALLOWED:
        said.append(f"memory grew by {grown.memory:.0%}, at most {MEMORY_ALLOWED:.0%}")
    return said
