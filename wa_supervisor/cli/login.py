"""`login`: what a person needs to log a session in, shown until it is connected.

The code comes from the status board, where the daemon puts each new one; whoever sees it can take the number over, so
it is on stdout and nowhere else. On a terminal it is drawn and replaced; elsewhere each code is one line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well
from wa_supervisor.cli.reaching import now, operator_desk, reaching
from wa_supervisor.cli.sessions import SessionView, overview, troubles
from wa_supervisor.cli.status import no_such
from wa_supervisor.cli.table import why
from wa_supervisor.cli.terminal import Screen, screen
from wa_supervisor.cli.waiting import Patience
from wa_supervisor.cli.words import one_line
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import LoginOffer

_ADVICE = {
    State.PAUSED: "it is paused; first: wa-supervisor resume {id}",
    State.INVALID: "its record cannot be followed ({why}); mend it with: wa-supervisor set {id} KEY=VALUE",
    State.QUARANTINED: "it is quarantined ({why}); first: wa-supervisor restart {id}",
    State.STOPPED: "it has stopped ({why})",
    State.DRAINING: "it is being stopped ({why})",
}
"""States from which no login comes by itself -> what to do."""

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
    shown = LoginScreen(name)
    with operator_desk(path, embedded=embedded) as desk:

        def look() -> tuple[SessionView, LoginOffer | None]:
            seen = overview(desk.wishes(), desk.statuses(), desk.daemons(), now())
            session = next((each for each in seen.sessions if each.id == name), None)
            if session is None:
                raise CommandError(no_such(name, seen), code=Exit.UNKNOWN)
            if not seen.daemons:
                raise CommandError(*troubles(seen), code=Exit.UNKNOWN)
            return session, desk.login_offer(name)

        follow(look, shown, timeout=timeout)


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
    timeout: float | None,
    patience: Patience | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show what is on offer until the session runs. Raises `CommandError` when that does not come, or too late."""
    patience = patience or Patience()
    deadline = None if timeout is None else clock() + timeout
    while True:
        session, offer = look()
        if session.is_running:
            shown.tell("connected" if shown.was_needed else "connected; no login is needed")
            return
        _give_up_if_hopeless(session)
        if offer is not None:
            shown.show(offer)
        shown.tell(why(session) or session.state)
        if deadline is not None and clock() >= deadline:
            raise CommandError(f"{session.id}: not connected in {timeout:g} s; {why(session)}", code=Exit.TIMED_OUT)
        sleep(patience.poll)


def _give_up_if_hopeless(session: SessionView) -> None:
    if not session.is_stale and session.status.state in _ADVICE:
        advice = _ADVICE[session.status.state].format(id=session.id, why=why(session))
        raise CommandError(f"{session.id}: {advice}")
