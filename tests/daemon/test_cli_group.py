"""The group of all commands: each is there, says what it does, and ends as shells expect."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec
import pytest

from tests.daemon.cli_room import make_daemon, make_status, make_step
from wa_supervisor import __version__
from wa_supervisor.cli import root
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.forms import session_fields
from wa_supervisor.cli.sessions import STATES, SessionView

COMMANDS = root.list_commands(click.Context(root))


def ended_with(*arguments: str) -> object:
    with pytest.raises(SystemExit) as end:
        root.main(list(arguments), prog_name="wa-supervisor")
    return end.value.code


def test_help_lists_every_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_with("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    for name in COMMANDS:
        assert any(line.startswith(f"  {name} ") and line.endswith(".") for line in lines), name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_with(name, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: wa-supervisor {name} ")
    assert len(shown.splitlines()) > 4


def test_help_of_status_has_its_exit_codes_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    ended_with("status", "--help")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "3  some selected session is not running (paused ones are not)" in lines


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_with("--version") == 0
    assert capsys.readouterr().out == f"wa-supervisor {__version__}\n"


def test_wrong_use_is_2_and_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_with("stauts") == 2
    shown = capsys.readouterr()
    assert (shown.out, "stauts" in shown.err) == ("", True)


def test_callers_that_want_to_handle_ends_themselves_can() -> None:
    assert root.main(["--version"], prog_name="wa-supervisor", standalone_mode=False) == 0
    with pytest.raises(click.UsageError):
        root.main(["stauts"], prog_name="wa-supervisor", standalone_mode=False)


def test_exit_codes_are_those_that_the_manual_has() -> None:
    assert {code.name: code.value for code in Exit} == {
        "FAILED": 1,
        "NOT_RUNNING": 3,
        "UNKNOWN": 4,
        "TIMED_OUT": 5,
        "CONFIGURATION": 78,
        "INTERRUPTED": 130,
    }


MANUAL = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_manual_has_every_command_and_every_exit_code() -> None:
    assert [name for name in COMMANDS if not re.search(rf"`{name}\b", MANUAL)] == []
    assert [code for code in (0, 2, *Exit) if f"\n| {int(code)} | " not in MANUAL] == []


def test_manual_has_every_field_of_the_json() -> None:
    status = make_status("acme")
    view = SessionView(status=status, record=b"{}", is_seen=True, now=0.0)
    parts = (session_fields(view), msgspec.to_builtins(status.traffic), msgspec.to_builtins(make_step()))
    assert [
        name for part in (*parts, msgspec.to_builtins(make_daemon())) for name in part if f"`{name}`" not in MANUAL
    ] == []
    assert [state for state in STATES if f"`{state}`" not in MANUAL] == []
