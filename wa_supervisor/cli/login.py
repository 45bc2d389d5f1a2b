"""`login`: what a person needs to log a session in, shown until it is connected.

The code comes from the status board, where the daemon puts each new one; whoever sees it can take the number over, so
it is on stdout and nowhere else. On a terminal it is drawn and replaced; elsewhere each code is one line.

A session that was given up because nobody logged in is released first, once: whoever asks for the code is there now.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well
from wa_supervisor.cli.reaching import now, operator_desk, reaching
from wa_supervisor.cli.sessions import Overview, SessionView, overview, troubles
from wa_supervisor.cli.status import no_such
from wa_supervisor.cli.table import why
from wa_supervisor.cli.terminal import Screen, screen
from wa_supervisor.cli.waiting import Patience
from wa_supervisor.cli.words import one_line
from wa_supervisor.domain.errors import LoginGivenUpError, TokenRefusedError, WrongSecretError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import LoginOffer

if TYPE_CHECKING:
    from wa_supervisor.adapters.redis.desk import OperatorDesk

_ADVICE = {
    State.PAUSED: "it is paused; first: wa-supervisor resume {id}",
    State.INVALID: "its record cannot be followed ({why}); mend it with: wa-supervisor set {id} KEY=VALUE",
    State.STOPPED: "it has stopped ({why})",
    State.DRAINING: "it is being stopped ({why})",
}
"""States from which no login comes by itself -> what to do."""

_NO_LOGIN_HELPS = {
    WrongSecretError.reason: "correct the gateway's secret in the configuration",
    TokenRefusedError.reason: "give its token with: wa-supervisor set {id} --token-file FILE",
}
"""Reasons of a quarantine that hold until something is changed -> what to change."""

_HOME_AND_CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.argument("name", metavar="ID")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after so long (exit code 5).")
@reaching
@failing_well
def login(name: str, timeout: float | None, path: Path | None, *, embedded: bool) -> None:
    """Show the QR or pairing code of a session, always the newest, until it is connected.

    A pairing code comes instead of a QR when the record has a phone: wa-supervisor set ID phone=DIGITS.
    """
    with operator_desk(path, embedded=embedded) as desk:
        follow(lambda: _look(desk, name), LoginScreen(name), release=lambda: _release(desk, name), timeout=timeout)


def _look(desk: OperatorDesk, name: str) -> tuple[SessionView, LoginOffer | None]:
    seen = overview(desk.wishes_of([name]), desk.statuses_of([name]), desk.daemons(), now())
    if not seen.sessions:
        raise CommandError(no_such(name, _everything(desk)), code=Exit.UNKNOWN)
    if not seen.daemons:
        raise CommandError(*troubles(seen), code=Exit.UNKNOWN)
    return seen.sessions[0], desk.login_offer(name)


def _everything(desk: OperatorDesk) -> Overview:
    return overview(desk.wishes(), desk.statuses(), desk.daemons(), now())


def _release(desk: OperatorDesk, name: str) -> float:
    from wa_supervisor.cli.answers import told

    return told(desk, "release", name, "somebody wants to log in").at


class LoginScreen:
    """What the person sees."""

    def __init__(self, name: str, look: Callable[[], Screen] = screen) -> None:
        self._name = name
        self._look = look
        self._shown: object = None
        self._told = ""
        self.was_needed = False
        """Whether a code was shown."""

    def show(self, offer: LoginOffer) -> None:
        """Show the code, if it is another one than before or the terminal has another width."""
        there = self._look()
        now_shown = (offer.kind, offer.data, there.width)
        if now_shown == self._shown:
            return
        self._shown, self.was_needed = now_shown, True
        if there.has_person:
            lines = "\n".join(self._drawn(offer, there))
            click.echo(f"{_HOME_AND_CLEAR if there.can_move else ''}{lines}", color=True)
        else:
            click.echo(f"{one_line(offer.kind)} {one_line(offer.data)}")

    def tell(self, words: str) -> None:
        """Say how it goes, on stderr, if that is another thing than before."""
        if words != self._told:
            self._told = words
            click.echo(f"{self._name}: {words}", err=True)

    def _drawn(self, offer: LoginOffer, there: Screen) -> list[str]:
        from wa_supervisor.cli.qr import code_lines, qr_lines, qr_width

        if offer.kind != "qr":
            how = f"{self._name}: WhatsApp on the phone, Linked devices, Link with phone number; enter"
            return [how, "", *code_lines(one_line(offer.data))]
        if there.width is not None and there.width < qr_width(offer.data):
            wider = f"the code needs {qr_width(offer.data)} columns and the terminal has {there.width}"
            return [f"{wider}; make it wider or the font smaller"]
        how = f"{self._name}: WhatsApp on the phone, Linked devices, Link a device; scan"
        return [how, "", *qr_lines(offer.data, colour=there.has_colours)]


def follow(
    look: Callable[[], tuple[SessionView, LoginOffer | None]],
    shown: LoginScreen,
    *,
    release: Callable[[], float],
    timeout: float | None,
    patience: Patience | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show what is on offer until the session runs. Raises `CommandError` when that does not come, or too late.

    `release` ends a quarantine and gives when that was, in seconds since the epoch.
    """
    patience = patience or Patience()
    deadline = None if timeout is None else clock() + timeout
    released_at: float | None = None
    while True:
        session, offer = look()
        if session.is_running:
            shown.tell("connected" if shown.was_needed else "connected; no login is needed")
            return
        if released_at is None and _was_given_up(session):
            shown.tell("nobody had logged in; it is released and tried again")
            released_at = release()
        if released_at is None or session.status.since >= released_at:
            _give_up_if_hopeless(session)
        if offer is not None:
            shown.show(offer)
        shown.tell(why(session) or session.state)
        if deadline is not None and clock() >= deadline:
            raise CommandError(f"{session.id}: not connected in {timeout:g} s; {why(session)}", code=Exit.TIMED_OUT)
        sleep(patience.poll)


def _was_given_up(session: SessionView) -> bool:
    status = session.status
    is_quarantined = not session.is_stale and status.state is State.QUARANTINED
    return is_quarantined and status.reason == LoginGivenUpError.reason


def _give_up_if_hopeless(session: SessionView) -> None:
    if session.is_stale:
        return
    state = session.status.state
    advice = _quarantine_advice(session.status.reason) if state is State.QUARANTINED else _ADVICE.get(state)
    if advice is not None:
        raise CommandError(f"{session.id}: {advice.format(id=session.id, why=why(session))}")


def _quarantine_advice(reason: str) -> str:
    change = _NO_LOGIN_HELPS.get(reason)
    first = f"{change}, then" if change else "first"
    return f"it is quarantined ({{why}}); {first}: wa-supervisor release {{id}}"
