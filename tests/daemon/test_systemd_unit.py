"""The unit file that ships: systemd accepts it, it takes away what is not needed, and it agrees with the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.programs import required_program
from wa_supervisor.config import Settings
from wa_supervisor.daemon import ABANDONED, policies

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "wa-supervisor.service"
DROP_IN = SYSTEMD / "wa-supervisor.service.d" / "newer-systemd.conf.example"

ALLOWED = SYSTEMD / "wa-supervisor.service.d" / "allowed-addresses.conf.example"

NEWER = 254
"""The first systemd that knows everything in the drop-in for newer ones."""


def settings(path: Path) -> dict[str, list[str]]:
    """Give every setting of a unit file with all its values."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def seconds(name: str) -> float:
    """Give a setting of the unit that is a number of seconds."""
    (value,) = settings(UNIT)[name]
    return float(value)


@pytest.fixture
def analyze() -> str:
    """Give the path of systemd-analyze."""
    return required_program("systemd-analyze", "systemd")


def version(analyze: str) -> int:
    """Give the version of systemd."""
    return int(run(analyze, "--version").stdout.split()[1])


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Give a copy of the unit whose program exists on this machine."""
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    return copy


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it says."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_accepts_every_line(analyze: str, installed: Path) -> None:
    verified = run(analyze, "verify", "--man=no", "--recursive-errors=no", installed)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


@pytest.mark.parametrize("name", [ALLOWED.name, DROP_IN.name])
def test_systemd_accepts_the_optional_parts(analyze: str, installed: Path, name: str) -> None:
    drop_ins = installed.with_name(installed.name + ".d")
    drop_ins.mkdir()
    (drop_ins / name.removesuffix(".example")).write_text(
        (SYSTEMD / UNIT.with_suffix(".service.d").name / name).read_text()
    )
    verified = run(analyze, "verify", "--man=no", "--recursive-errors=no", installed)
    unknown = version(analyze) < NEWER and name == DROP_IN.name
    warnings = verified.stderr.splitlines()
    assert all("RestartSteps" in each or "RestartMaxDelaySec" in each or "notify-reload" in each for each in warnings)
    assert bool(warnings) is unknown, verified.stderr


def test_nothing_that_ships_is_taken_up_before_it_is_copied() -> None:
    """systemd reads every `.conf` beside a unit, also where a clone of the repository is linked to."""
    assert [each.name for each in UNIT.with_suffix(".service.d").iterdir() if each.suffix == ".conf"] == []


@pytest.mark.parametrize("path", [UNIT, DROP_IN, ALLOWED])
def test_files_that_the_comments_name_are_there(path: Path) -> None:
    named = re.findall(r"(?<=wa-supervisor\.service\.d/)[\w.-]+\.example", path.read_text())
    assert all((UNIT.with_suffix(".service.d") / name).exists() for name in named)
    assert named or path == ALLOWED


def test_systemd_would_notice_a_mistake(analyze: str, installed: Path) -> None:
    installed.write_text(installed.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    verified = run(analyze, "verify", "--man=no", "--recursive-errors=no", installed)
    assert "WatchdogSecs" in verified.stderr


def exposure(analyze: str, unit: Path) -> float:
    """Give what systemd makes of a unit's sandbox: 0 is none, 10 is root without any."""
    scored = run(analyze, "security", "--offline=true", "--no-pager", "--threshold=100", unit)
    (found,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", scored.stdout)
    return float(found)


def test_what_the_daemon_does_not_need_is_taken_away(analyze: str, installed: Path) -> None:
    assert exposure(analyze, installed) <= 1.1


def test_naming_the_addresses_takes_away_more(analyze: str, installed: Path) -> None:
    drop_ins = installed.with_name(installed.name + ".d")
    drop_ins.mkdir()
    (drop_ins / ALLOWED.stem).write_text(ALLOWED.read_text())
    assert exposure(analyze, installed) <= 0.9


def test_the_process_metrics_stay_readable() -> None:
    assert "ProcSubset" not in settings(UNIT)


def test_a_wrong_configuration_is_not_tried_again_and_everything_else_is() -> None:
    unit = settings(UNIT)
    assert unit["RestartPreventExitStatus"] == ["78"]
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]


def test_the_daemon_has_longer_to_stop_than_it_takes_also_when_it_must_leave_by_force() -> None:
    assert seconds("TimeoutStopSec") > policies.longest_end(Settings()) + policies.LEAVING


def test_a_round_is_stuck_before_a_living_daemon_is_silent_for_longer_than_the_watchdog_allows() -> None:
    rounds = Settings().wish.resync * 1.2
    assert rounds < seconds("WatchdogSec") < 10 * rounds
    assert int(re.findall(r"a round at least every (\d+) s", UNIT.read_text())[0]) >= rounds


def test_leaving_by_force_is_explained_and_tried_again() -> None:
    assert f"exit status {ABANDONED}" in UNIT.read_text()
    assert str(ABANDONED) not in settings(UNIT)["RestartPreventExitStatus"]


def test_systemd_252_is_told_when_the_daemon_is_ready_and_how_it_reloads() -> None:
    unit = settings(UNIT)
    assert unit["Type"] == ["notify"]
    assert unit["ExecReload"] == ["kill -HUP $MAINPID"]


def test_no_secret_has_a_place_in_the_unit() -> None:
    assert "Environment" not in settings(UNIT)
    examples = re.findall(r"^#LoadCredential=(\S+?):(/\S+)$", UNIT.read_text(), flags=re.MULTILINE)
    assert {name for name, _ in examples} == {"redis.url", "postgres.url", "gateways.main.secret"}


def test_what_newer_systemd_knows_stands_apart() -> None:
    newer, unit = settings(DROP_IN), settings(UNIT)
    assert newer["Type"] == ["notify-reload"]
    assert newer["ExecReload"] == [""]
    assert not newer.keys() & unit.keys() - {"Type", "ExecReload"}
