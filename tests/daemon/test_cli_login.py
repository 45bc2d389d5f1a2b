"""`login`: the newest code is shown until the session is connected, and it is said when none will come."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import segno

from tests.daemon.cli_daemon import answering
from tests.daemon.cli_room import CliRoom, ended, make_status, wall
from wa_supervisor.cli.failing import CommandError
from wa_supervisor.cli.login import LoginScreen, follow
from wa_supervisor.cli.qr import code_lines, qr_lines, qr_width
from wa_supervisor.cli.sessions import SessionView
from wa_supervisor.cli.terminal import Screen
from wa_supervisor.cli.waiting import Patience
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import LoginOffer

QR_TEXT = "2@" + "Zm9vYmFyYmF6cXV4" * 14
"""As long as WhatsApp's."""


@pytest.fixture
def room(redis_url: str, tmp_path: Path) -> Iterator[CliRoom]:
    with CliRoom(redis_url, tmp_path) as opened:
        yield opened


# How codes are drawn


def modules(lines: Sequence[str], *, is_dark: str) -> list[list[bool]]:
    """Read half blocks back; `is_dark` says whether the `foreground` or the `background` is."""
    upper, lower = {"█": True, "▀": True, "▄": False, " ": False}, {"█": True, "▀": False, "▄": True, " ": False}
    rows = [[half[char] for char in line] for line in lines for half in (upper, lower)]
    return [[module is (is_dark == "foreground") for module in row] for row in rows]


@pytest.mark.parametrize("text", ["2", QR_TEXT, "x" * 60])
def test_a_drawn_code_has_every_module_of_the_code_and_a_quiet_border(text: str) -> None:
    code = segno.make(text, error="l", micro=False, boost_error=False)
    expected = [[bool(module) for module in row] for row in code.matrix_iter(border=2)]
    coloured = [line.removeprefix("\x1b[30;107m").removesuffix("\x1b[0m") for line in qr_lines(text, colour=True)]
    assert modules(coloured, is_dark="foreground")[: len(expected)] == expected
    assert modules(qr_lines(text, colour=False), is_dark="background")[: len(expected)] == expected
    assert {len(line) for line in coloured} == {qr_width(text)}


def test_a_half_row_below_a_code_is_as_light_as_its_border() -> None:
    assert not any(modules(qr_lines("2", colour=False), is_dark="background")[-1])


def test_whatsapps_code_fits_80_columns() -> None:
    assert qr_width(QR_TEXT) <= 80


def test_a_pairing_code_is_spread_out_in_a_frame() -> None:
    lines = code_lines("ABCD-1234")
    assert "A   B   C   D   -   1   2   3   4" in lines[2]
    assert len({len(line) for line in lines}) == 1


# What is shown when, in time that the test makes up


class Night:
    """Looks at a session, one scene after the other."""

    def __init__(self, *scenes: tuple[State, LoginOffer | None], **fields: object) -> None:
        self.scenes = list(scenes)
        self.fields = fields
        self.at = 0.0
        self.releases = 0

    def look(self) -> tuple[SessionView, LoginOffer | None]:
        state, offer = self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]
        status = make_status("acme", state, observed_at=1000.0, **self.fields)
        return SessionView(status=status, record=b"{}", is_seen=True, now=1000.0), offer

    def release(self) -> float:
        self.releases += 1
        return 950.0

    def watch(self, timeout: float | None = None) -> None:
        def sleep(seconds: float) -> None:
            self.at += seconds

        follow(
            self.look,
            LoginScreen("acme"),
            release=self.release,
            timeout=timeout,
            patience=Patience(poll=1.0),
            clock=lambda: self.at,
            sleep=sleep,
        )


def qr(data: str) -> LoginOffer:
    return LoginOffer(kind="qr", data=data, offered_at=999.0)


def test_each_code_is_one_line_once_and_the_end_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = State.AWAITING_LOGIN
    Night(
        (State.STARTING, None),
        (waiting, qr("one")),
        (waiting, qr("one")),
        (waiting, None),
        (waiting, qr("two")),
        (waiting, LoginOffer(kind="code", data="ABCD-1234", offered_at=1.0)),
        (State.RUNNING, None),
    ).watch()
    shown = capsys.readouterr()
    assert shown.out == "qr one\nqr two\ncode ABCD-1234\n"
    assert shown.err == "acme: it is starting\nacme: it is awaiting_login\nacme: connected\n"


def test_a_connected_session_needs_no_login(capsys: pytest.CaptureFixture[str]) -> None:
    Night((State.RUNNING, None)).watch()
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "acme: connected; no login is needed\n")


def test_a_login_that_does_not_come_in_time_is_5() -> None:
    night = Night((State.AWAITING_LOGIN, None))
    with pytest.raises(CommandError, match="acme: not connected in 3 s; it is awaiting_login") as raised:
        night.watch(timeout=3.0)
    assert (raised.value.code, night.at) == (5, 3.0)


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        (State.PAUSED, "wa-supervisor resume acme"),
        (State.INVALID, "wa-supervisor set acme"),
        (State.QUARANTINED, "first: wa-supervisor release acme"),
        (State.STOPPED, "stopped"),
        (State.DRAINING, "being stopped"),
    ],
)
def test_states_from_which_no_login_comes_end_with_what_to_do(state: State, advice: str) -> None:
    night = Night((state, None))
    with pytest.raises(CommandError, match=advice) as raised:
        night.watch()
    assert (raised.value.code, night.releases) == (1, 0)


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("WrongSecret", "correct the gateway's secret in the configuration, then: wa-supervisor release acme"),
        ("TokenRefused", "wa-supervisor set acme --token-file FILE, then: wa-supervisor release acme"),
        ("InternalError", r"it is quarantined \(why it is so\); first: wa-supervisor release acme"),
    ],
)
def test_a_quarantine_that_no_login_ends_says_why_and_names_the_right_command(reason: str, advice: str) -> None:
    night = Night((State.QUARANTINED, None), reason=reason, message="why it is so")
    with pytest.raises(CommandError, match=advice):
        night.watch()
    assert night.releases == 0


def test_a_session_that_nobody_logged_in_is_released_once_and_its_code_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    night = Night(
        (State.QUARANTINED, None),
        (State.QUARANTINED, None),
        (State.AWAITING_LOGIN, qr("one")),
        (State.RUNNING, None),
        reason="LoginGivenUp",
    )
    night.watch()
    shown = capsys.readouterr()
    assert (night.releases, shown.out) == (1, "qr one\n")
    assert "acme: nobody had logged in; it is released and tried again\n" in shown.err


def test_a_session_that_is_given_up_again_is_not_released_again() -> None:
    night = Night((State.QUARANTINED, None), reason="LoginGivenUp", since=951.0)
    with pytest.raises(CommandError, match="wa-supervisor release acme"):
        night.watch()
    assert night.releases == 1


def test_a_status_that_nobody_confirms_is_waited_out_and_releases_nothing() -> None:
    night = Night((State.QUARANTINED, None), reason="LoginGivenUp", ttl=-1.0)
    with pytest.raises(CommandError, match="not connected in 2 s") as raised:
        night.watch(timeout=2.0)
    assert (raised.value.code, night.releases) == (5, 0)


def shown_on(capsys: pytest.CaptureFixture[str], offer: LoginOffer, **facts: Any) -> str:  # noqa: ANN401 - as Screen
    there = {"has_person": True, "can_move": True, "has_colours": True, "width": 100} | facts
    LoginScreen("acme", lambda: Screen(**there)).show(offer)
    return capsys.readouterr().out


def test_a_terminal_is_cleared_before_a_code_is_drawn_if_it_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown_on(capsys, qr("2@a")).startswith("\x1b[H\x1b[2Jacme: ")
    plain = shown_on(capsys, qr("2@a"), can_move=False, has_colours=False)
    assert plain.startswith("acme: ")
    assert "\x1b" not in plain


def test_a_terminal_that_is_too_narrow_is_told_how_wide_it_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    shown = shown_on(capsys, qr(QR_TEXT), width=40, can_move=False)
    assert shown == (
        f"the code needs {qr_width(QR_TEXT)} columns and the terminal has 40; make it wider or the font smaller\n"
    )


def test_a_code_is_drawn_anew_when_the_terminal_gets_another_width(capsys: pytest.CaptureFixture[str]) -> None:
    widths = iter([20, 20, 100])
    screen = LoginScreen("acme", lambda: Screen(has_person=True, can_move=False, has_colours=False, width=next(widths)))
    for _ in range(3):
        screen.show(qr(QR_TEXT))
    shown = capsys.readouterr().out
    assert (shown.count("the code needs"), shown.count("scan")) == (1, 1)


def test_a_pairing_code_is_drawn_with_how_to_enter_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown = shown_on(capsys, LoginOffer(kind="code", data="ABCD-1234", offered_at=1.0))
    assert "Link with phone number" in shown
    assert "A   B   C   D" in shown


# The command itself


def test_login_of_a_running_session_is_0_at_once(room: CliRoom) -> None:
    room.announce()
    room.has("acme")
    assert room.run("login", "acme").code == 0


def test_login_is_4_for_an_id_that_nobody_has_and_without_a_living_daemon(room: CliRoom) -> None:
    room.has("acme", State.AWAITING_LOGIN)
    shown = room.run("login", "acme")
    assert (shown.code, "no daemon is alive" in shown.err) == (4, True)
    room.announce()
    assert room.run("login", "acne").code == 4


@pytest.mark.parametrize(
    ("is_accepted", "code", "words"),
    [(True, 5, "not connected in 0 s"), (False, 1, "error: acme: release refused: it is not so")],
)
def test_login_of_a_session_that_was_given_up_tells_the_daemon_to_release_it(
    room: CliRoom, code: int, words: str, *, is_accepted: bool
) -> None:
    room.announce()
    room.has("acme", State.QUARANTINED, reason="LoginGivenUp")
    with answering(room, lambda *_: (is_accepted, "it is not so")):
        shown = room.run("login", "acme", "--timeout", "0")
    assert (shown.code, words in shown.err) == (code, True)
    ((_, fields),) = cast("list[tuple[bytes, dict[bytes, bytes]]]", room.redis.xrange("wa:commands"))
    assert (fields[b"verb"], fields[b"integration_id"]) == (b"release", b"acme")


def test_login_in_vain_is_5(room: CliRoom) -> None:
    room.announce()
    room.has("acme", State.AWAITING_LOGIN)
    room.offer("acme", "qr", "2@abc")
    shown = room.run("login", "acme", "--timeout", "0")
    assert (shown.code, shown.out) == (5, "qr 2@abc\n")


def test_login_follows_the_codes_that_the_daemon_shows_until_it_is_connected(room: CliRoom) -> None:
    room.announce()
    room.has("acme", State.AWAITING_LOGIN)
    room.offer("acme", "qr", "2@first")
    process = room.start("login", "acme", stderr=subprocess.STDOUT)
    assert process.stdout is not None
    assert process.stdout.readline() == "qr 2@first\n"
    assert process.stdout.readline() == "acme: it is awaiting_login\n"
    room.offer("acme", "code", "ABCD-1234")
    assert process.stdout.readline() == "code ABCD-1234\n"
    room.publish(make_status("acme", observed_at=wall()))
    shown = ended(process)
    assert (shown.code, shown.out) == (0, "acme: connected\n")
