"""Sessions as a table for people: everything on one line where there is room, the reason below where there is none.

At the width of a terminal nothing is lost but columns that would not fit (the least telling first); without a width,
as in a pipe, every session has one line of whatever length. Pure, but for `table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click
import msgspec

from wa_supervisor.cli import terminal
from wa_supervisor.cli.reaching import now
from wa_supervisor.cli.sessions import SessionView
from wa_supervisor.cli.words import age, cells, cut, one_line, padded, wrapped
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import SessionStatus

GAP = 2
"""Blanks between columns."""

LEAST_ROOM = 30
"""Columns that the reason needs beside the others; with fewer it goes below."""

LEAST_NAME = 8
"""Columns that an id keeps when it is cut."""

_WHY = "WHY AND WHAT NEXT"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column but the last."""

    title: str
    text: Callable[[SessionView], str]
    right: bool = False
    rank: int = 0
    """The highest goes first when there is no room; one of 0 stays."""
    is_state: bool = False


def why(session: SessionView) -> str:
    """Say why a session is as it is, and what happens next; nothing of one that simply runs."""
    status = session.status
    message = one_line(status.message) or one_line(status.reason)
    if session.is_stale:
        return f"was {status.state.value}: {message}" + ("" if session.record else "; no longer declared")
    if status.state is State.RUNNING and status.reason == "Connected":
        return ""
    tries = f", {status.attempt} tries" if status.attempt > 1 else ""
    return message + tries + _next(session)


def _next(session: SessionView) -> str:
    at = session.status.next_attempt_at
    if at is None:
        return ""
    return f", next in {age(at - session.now)}" if at > session.now else ", next now"


def state_words(session: SessionView) -> str:
    """Name the state; of a status that nobody confirms, how old it is."""
    if session.is_stale:
        return f"Unknown ({age(session.now - session.status.observed_at)} old)"
    return session.status.state.value


def since(session: SessionView) -> str:
    """Say for how long the state has lasted, if that is known."""
    return age(session.now - session.status.since) if session.is_seen and not session.is_stale else "-"


COLUMNS: Sequence[Column] = (
    Column(title="SESSION", text=lambda view: one_line(view.id)),
    Column(title="AGENT", text=lambda view: one_line(view.status.agent_id or "-"), rank=4),
    Column(title="GATEWAY", text=lambda view: one_line(view.status.gateway or "-"), rank=2),
    Column(title="STATE", text=state_words, is_state=True),
    Column(title="SINCE", text=since, rank=1, right=True),
    Column(title="IN", text=lambda view: str(view.status.traffic.messages_in), rank=3, right=True),
    Column(title="OUT", text=lambda view: str(view.status.traffic.messages_out), rank=3, right=True),
    Column(title="RESTARTS", text=lambda view: str(view.status.restarts), rank=5, right=True),
)

WIDE_COLUMNS: Sequence[Column] = (
    *COLUMNS,
    Column(title="NAME AT GATEWAY", text=lambda view: one_line(view.status.session or "-")),
    Column(title="REASON", text=lambda view: one_line(view.status.reason)),
    Column(title="FAILED", text=lambda view: str(view.status.traffic.failed_out), right=True),
    Column(title="DAEMON", text=lambda view: one_line(view.status.daemon or "-")),
)


def table(statuses: Sequence[SessionStatus]) -> str:
    """Draw statuses that are known at first hand, as they are now, for the terminal at stdout."""
    views = [SessionView(status=status, record=b"{}", is_seen=True, now=now()) for status in statuses]
    return draw(views, width=terminal.width(), colour=terminal.has_colours())


def draw(
    sessions: Sequence[SessionView], *, width: int | None, colour: bool = False, columns: Sequence[Column] = COLUMNS
) -> str:
    """Draw the table, with a line end after every line; at most `width` columns wide, without bound for `None`."""
    reasons = [why(session) for session in sessions]
    longest = max(map(cells, [_WHY, *reasons]))
    room = None if width is None else width - _total(_widths(columns, sessions)) - GAP
    if room is None or room >= min(longest, LEAST_ROOM):
        lines = _beside(sessions, reasons, columns, room or longest, colour=colour)
    else:
        lines = _below(sessions, reasons, _fitting(columns, sessions, width or 0), width or 0, colour=colour)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _beside(
    sessions: Sequence[SessionView], reasons: Sequence[str], columns: Sequence[Column], room: int, *, colour: bool
) -> Iterator[str]:
    widths = _widths(columns, sessions)
    indent = " " * (_total(widths) + GAP)
    yield _head(columns, widths) + " " * GAP + _WHY
    for session, reason in zip(sessions, reasons, strict=True):
        first, *others = wrapped(reason, room)
        yield _row(session, columns, widths, colour=colour) + " " * GAP + first
        yield from (indent + other for other in others)


def _below(
    sessions: Sequence[SessionView], reasons: Sequence[str], columns: Sequence[Column], width: int, *, colour: bool
) -> Iterator[str]:
    widths = _widths(columns, sessions)
    widths[0] -= min(max(_total(widths) - width, 0), max(widths[0] - LEAST_NAME, 0))
    yield _head(columns, widths)
    for session, reason in zip(sessions, reasons, strict=True):
        yield _row(session, columns, widths, colour=colour)
        if reason:
            yield from (" " * GAP + line for line in wrapped(reason, width - GAP))


def _fitting(columns: Sequence[Column], sessions: Sequence[SessionView], width: int) -> Sequence[Column]:
    while _total(_widths(columns, sessions)) > width and (highest := max(column.rank for column in columns)):
        columns = [column for column in columns if column.rank != highest]
    return columns


def _widths(columns: Sequence[Column], sessions: Sequence[SessionView]) -> list[int]:
    return [max(cells(text) for text in (column.title, *map(column.text, sessions))) for column in columns]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _head(columns: Sequence[Column], widths: Sequence[int]) -> str:
    titles = (padded(column.title, width, right=column.right) for column, width in zip(columns, widths, strict=True))
    return (" " * GAP).join(titles)


def _row(session: SessionView, columns: Sequence[Column], widths: Sequence[int], *, colour: bool) -> str:
    shown = []
    for column, width in zip(columns, widths, strict=True):
        text = padded(cut(column.text(session), width), width, right=column.right)
        shown.append(click.style(text, fg=_COLOURS[session.state]) if colour and column.is_state else text)
    return (" " * GAP).join(shown)


_GOOD, _PASSING, _BAD, _CALM = "green", "yellow", "red", "bright_black"
_COLOURS = {
    **dict.fromkeys((State.RUNNING.value,), _GOOD),
    **dict.fromkeys(
        (
            State.PENDING.value,
            State.STARTING.value,
            State.AWAITING_LOGIN.value,
            State.DEGRADED.value,
            State.BACKOFF.value,
            State.HELD.value,
            State.DRAINING.value,
        ),
        _PASSING,
    ),
    **dict.fromkeys((State.QUARANTINED.value, State.INVALID.value, "unknown"), _BAD),
    **dict.fromkeys((State.PAUSED.value, State.STOPPED.value), _CALM),
}
