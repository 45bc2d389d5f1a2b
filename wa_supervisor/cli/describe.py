"""`describe`: everything about one session, for a person who asks why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from wa_supervisor.cli import terminal
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well
from wa_supervisor.cli.reaching import now, operator_desk, reaching
from wa_supervisor.cli.records import masked_record, revision_of
from wa_supervisor.cli.sessions import Overview, SessionView, overview
from wa_supervisor.cli.status import no_such
from wa_supervisor.cli.table import state_words, why
from wa_supervisor.cli.words import age, one_line, rfc3339, wrapped
from wa_supervisor.domain.status import Blocker, DaemonStatus, LoginOffer, Transition

_LABEL = 14
"""Columns of the labels at the left."""

Line = tuple[str, str]
"""A label and what stands beside it."""


@click.command()
@click.argument("name", metavar="ID")
@reaching
@failing_well
def describe(name: str, path: Path | None, *, embedded: bool) -> None:
    """Show everything about one session: conditions, history, record (secrets masked), what happens next.

    Exit code 0 whenever it could be shown, whatever the session's state; 4 when there is no such session.
    """
    with operator_desk(path, embedded=embedded) as desk:
        seen = overview(desk.wishes(), desk.statuses(), desk.daemons(), now())
        session = next((each for each in seen.sessions if each.id == name), None)
        if session is None:
            raise CommandError(no_such(name, seen), code=Exit.UNKNOWN)
        offer = desk.login_offer(name)
    width = terminal.width()
    click.echo("".join(f"{line.rstrip()}\n" for line in description(session, seen, offer, width=width)), nl=False)


def description(session: SessionView, seen: Overview, offer: LoginOffer | None, *, width: int | None) -> Iterator[str]:
    """Give the lines, at most `width` columns wide where blanks allow that."""
    yield one_line(session.id)
    yield from _listed(_facts(session, seen), width)
    yield "Conditions"
    yield from _listed(_conditions(session, seen, offer), width)
    yield "Record" if session.record else "Record: none; removed from the wish"
    yield from (f"  {line}" for line in _record_lines(session))
    yield "Last transitions" if session.status.transitions else "Last transitions: none"
    steps = [(rfc3339(step.at) or "at no time", _step_words(step)) for step in session.status.transitions]
    yield from _listed(steps, width, label=26)


def _step_words(step: Transition) -> str:
    told = f": {one_line(step.message)}" if step.message else ""
    attempt = f", attempt {step.attempt}" if step.attempt else ""
    moved = f"{step.source.value} -> {step.target.value}, {one_line(step.reason)}{told}"
    return f"{moved} (cause {one_line(step.cause)}{attempt}, after {age(step.lasted)})"


def _listed(lines: Sequence[Line], width: int | None, *, label: int = _LABEL) -> Iterator[str]:
    for name, text in lines:
        room = max(len(text), 1) if width is None else max(width - label - 2, 20)
        first, *others = wrapped(text, room)
        yield f"  {name:{label}}{first}"
        yield from (" " * (label + 2) + other for other in others)


def _facts(session: SessionView, seen: Overview) -> list[Line]:
    status, traffic = session.status, session.status.traffic
    dropped = f"; {traffic.duplicates} duplicates dropped, {traffic.left_out} left out"
    lines = [
        ("State", _state(session)),
        ("Why", f"{one_line(status.reason)}: {why(session) or one_line(status.message)}"),
        ("Next attempt", _next_attempt(session)),
        ("Agent", one_line(status.agent_id or "-")),
        ("Gateway", f"{one_line(status.gateway or '-')}, session {one_line(status.session or '-')} there"),
        ("Messages in", f"{traffic.messages_in}{_last(session, traffic.last_in_at)}{dropped}"),
        ("Messages out", f"{traffic.messages_out}{_last(session, traffic.last_out_at)}; {traffic.failed_out} failed"),
        ("Restarts", f"{status.restarts}, {status.attempt} failed attempts in a row"),
        ("Budget", f"{status.failures:.1f} failures charged, fewer with time" if status.failures else ""),
        *(("Blocked by", _blocker(blocker, session.now)) for blocker in status.blockers),
        ("Daemon", _daemon(session, seen.daemons)),
        ("Lease", "" if status.fence is None else f"held, with fencing number {status.fence}"),
        ("Last command", _last_command(session)),
    ]
    return [(name, text) for name, text in lines if text]


def _state(session: SessionView) -> str:
    if not session.is_seen or session.is_stale:
        return state_words(session)
    since = session.status.since
    return f"{state_words(session)} for {age(session.now - since)}, since {rfc3339(since)}"


def _next_attempt(session: SessionView) -> str:
    at = session.status.next_attempt_at
    return "" if at is None else f"{rfc3339(at)}, in {age(at - session.now)}"


def _blocker(blocker: Blocker, now: float) -> str:
    lasting = f"{one_line(blocker.name)} for {age(now - blocker.since)}"
    ends = "" if blocker.until is None else f", until {rfc3339(blocker.until)}, in {age(blocker.until - now)}"
    return f"{lasting}{ends}: {one_line(blocker.message)}"


def _last(session: SessionView, at: float | None) -> str:
    return "" if at is None else f", the last {age(session.now - at)} ago"


def _daemon(session: SessionView, daemons: Sequence[DaemonStatus]) -> str:
    status = session.status
    if not session.is_seen:
        return "none yet"
    alive = next((daemon for daemon in daemons if daemon.id == status.daemon), None)
    more = f"alive, version {one_line(alive.version)} on {one_line(alive.host)}" if alive else "not alive"
    confirmed = age(session.now - status.observed_at)
    return f"{one_line(status.daemon or '-')}, pid {status.pid}, {more}; confirmed this {confirmed} ago"


def _last_command(session: SessionView) -> str:
    last = session.status.last_command
    if last is None:
        return ""
    how = "accepted" if last.accepted else "refused"
    return f"{one_line(last.verb)} {age(session.now - last.at)} ago, {how}: {one_line(last.message)}"


def _conditions(session: SessionView, seen: Overview, offer: LoginOffer | None) -> list[Line]:
    return [
        ("Declared", "yes" if session.record else "no: removed from the wish"),
        ("Followed", _followed(session)),
        ("Confirmed", _confirmed(session, seen)),
        ("Connected", "yes" if session.is_running else f"no: {state_words(session)}"),
        ("Login", _login(session, offer)),
    ]


def _followed(session: SessionView) -> str:
    if not session.is_seen:
        return "no: no daemon has seen the record"
    if session.record is None:
        return "no: there is no record"
    if revision_of(session.id, session.record) == session.status.observed_generation:
        return "yes: the status speaks of the record as it is"
    return "no: the record changed, and no daemon has followed yet"


def _confirmed(session: SessionView, seen: Overview) -> str:
    if not session.is_seen:
        return "no: no daemon has told of it"
    if session.is_stale:
        return f"no: nobody for {age(session.now - session.status.observed_at)}"
    return "yes" if seen.daemons else "yes, but no daemon is alive any more"


def _login(session: SessionView, offer: LoginOffer | None) -> str:
    if offer is None:
        return "nothing to scan or enter now"
    what = "QR code" if offer.kind == "qr" else "pairing code"
    waiting = age(session.now - offer.offered_at)
    return f"a {what} waits since {waiting}; see it with: wa-supervisor login {one_line(session.id)}"


def _record_lines(session: SessionView) -> list[str]:
    if session.record is None:
        return []
    shown = msgspec.json.format(msgspec.json.encode(masked_record(session.record)), indent=2).decode()
    return [one_line_kept(line) for line in shown.splitlines()]


def one_line_kept(line: str) -> str:
    """Give a line of JSON fit for a terminal, its indentation kept."""
    bare = line.lstrip(" ")
    return " " * (len(line) - len(bare)) + one_line(bare)
