"""`status`, `get` and `describe` against a real server: exit codes, selectors, forms, and what is said on stderr."""

from __future__ import annotations

import csv
import io
import re
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.daemon.cli_room import CliRoom, make_status, make_step, wall
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName
from wa_supervisor.domain.status import Blocker, CommandResult, SessionStatus, Traffic


@pytest.fixture
def room(redis_url: str, tmp_path: Path) -> Iterator[CliRoom]:
    with CliRoom(redis_url, tmp_path) as opened:
        yield opened


# Exit codes of status


@pytest.mark.parametrize("state", list(State))
def test_status_is_0_for_a_running_session_and_3_for_any_other_state(room: CliRoom, state: State) -> None:
    room.announce()
    room.has("acme", state)
    assert room.run("status").code == (0 if state is State.RUNNING else 3)


def test_status_is_3_when_one_of_several_does_not_run(room: CliRoom) -> None:
    room.announce()
    room.has("acme")
    room.has("bolt", State.PAUSED)
    assert room.run("status").code == 3
    assert room.run("status", "acme").code == 0
    assert room.run("status", "bolt").code == 3


def test_status_is_3_when_one_of_several_is_stale_and_4_when_all_are(room: CliRoom) -> None:
    room.announce()
    room.has("acme")
    room.has("bolt", observed_at=wall() - 240)
    assert room.run("status").code == 3
    assert room.run("status", "bolt").code == 4


def test_a_stale_status_is_shown_as_unknown_with_its_age(room: CliRoom) -> None:
    room.announce()
    room.has("acme", observed_at=wall() - 250)
    shown = room.run("status")
    assert "Unknown (4 min old)" in shown.out
    assert "was running" in shown.out


def test_status_is_4_without_a_living_daemon_and_says_what_to_do(room: CliRoom) -> None:
    room.has("acme")
    shown = room.run("status")
    assert shown.code == 4
    assert "acme" in shown.out
    assert shown.err.startswith("warning: no daemon is alive; the last word is ")
    assert "systemctl start wa-supervisor" in shown.err


def test_status_is_4_for_an_id_that_nobody_has_and_guesses_which_is_meant(room: CliRoom) -> None:
    room.announce()
    room.has("acme")
    shown = room.run("status", "acne")
    assert (shown.code, shown.out) == (4, "")
    assert shown.err == "error: no session 'acne'; did you mean 'acme'?\n"


def test_status_shows_those_that_are_there_beside_one_that_is_not(room: CliRoom) -> None:
    room.announce()
    room.has("acme")
    shown = room.run("status", "acme", "zebra")
    assert shown.code == 4
    assert "running" in shown.out


def test_status_is_4_when_nothing_fits_the_filters(room: CliRoom) -> None:
    room.announce()
    room.has("acme")
    shown = room.run("status", "--gateway", "mian")
    assert (shown.code, shown.out) == (4, "")
    assert "no session fits" in shown.err


def test_status_is_0_when_nothing_is_declared_and_says_how_to_begin(room: CliRoom) -> None:
    room.announce()
    shown = room.run("status")
    assert (shown.code, shown.out) == (0, "")
    assert "wa-supervisor add" in shown.err


def test_status_is_4_when_redis_cannot_be_reached_and_says_so_in_one_line(room: CliRoom) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    room.configure(f'[redis]\nurl = "redis://:hunter2@127.0.0.1:{port}/0"\n')
    for command in (["status"], ["get"], ["describe", "a"], ["pause", "a"], ["login", "a"], ["remove", "a", "--yes"]):
        shown = room.run(*command)
        assert (shown.code, shown.out) == (4, "")
        assert shown.err.startswith(f"error: Redis at 127.0.0.1:{port} (database 0) cannot be reached")
        assert shown.err.count("\n") == 1
        assert "hunter2" not in shown.err


def test_status_is_78_when_the_configuration_is_wrong(room: CliRoom) -> None:
    room.configure("[redis]\nurll = 1\n[embeded]\n")
    shown = room.run("status")
    assert shown.code == 78
    assert [line.split(":")[1].strip() for line in shown.err.splitlines()] == ["redis.urll", "embeded"]


def test_private_servers_that_cannot_be_asked_for_are_an_error_without_a_traceback(
    room: CliRoom, tmp_path: Path
) -> None:
    shown = room.run("status", "--embedded")
    assert (shown.code, shown.out, "run --embedded" in shown.err) == (4, "", True)
    (tmp_path / "state" / "endpoints.json").mkdir(parents=True)
    shown = room.run("status", "--embedded")
    assert (shown.code, shown.out, shown.err.startswith("error: cannot use ")) == (1, "", True)


@pytest.mark.parametrize(
    "arguments",
    [["status", "--state", "runing"], ["status", "-o", "xml"], ["get", "--colour"], ["nothing"], ["describe"]],
)
def test_wrong_use_is_2(room: CliRoom, arguments: list[str]) -> None:
    assert room.run(*arguments).code == 2


# What status says beside the table


def test_what_a_daemon_does_without_is_said_on_stderr(room: CliRoom) -> None:
    room.announce(missing=["no database is configured"])
    room.has("acme")
    shown = room.run("status")
    assert (shown.code, shown.err) == (0, "warning: daemon d1: no database is configured\n")


def test_a_daemon_that_is_not_ready_is_said_on_stderr(room: CliRoom) -> None:
    room.announce(ready=False)
    room.has("acme")
    assert "daemon d1 is not ready" in room.run("status").err


def test_an_integration_that_no_daemon_has_seen_is_pending_with_what_its_record_says(room: CliRoom) -> None:
    room.announce()
    room.declare("acme", agent_id="agent-7", gateway="second")
    shown = room.run("status")
    assert shown.code == 3
    assert shown.out.splitlines()[1].split()[:4] == ["acme", "agent-7", "second", "pending"]
    assert "no daemon has seen it yet" in shown.out


@pytest.mark.parametrize("record", [b"", b"no json", b"[1, 2]", b"\xff\xfe", b"[" * 10_000, b'{"agent_id": 7}'])
def test_a_record_that_cannot_be_read_is_shown_all_the_same(room: CliRoom, record: bytes) -> None:
    room.announce()
    room.redis.hset("wa:integrations", "acme", record)
    for command in (["status"], ["get", "-o", "json"], ["get", "-o", "tsv"], ["describe", "acme"]):
        assert "acme" in room.run(*command).out


def test_a_status_that_cannot_be_read_is_named_in_a_warning(room: CliRoom) -> None:
    room.announce()
    room.declare("acme")
    room.redis.hset("wa:status", "acme", b'{"from": "the future"}')
    shown = room.run("status")
    assert shown.code == 3
    assert "warning: left out what cannot be read; is another version at work?: SessionStatus: acme" in shown.err


# Selectors


@pytest.fixture
def crowd(room: CliRoom) -> CliRoom:
    room.announce()
    room.has("acme-1")
    room.has("acme-2", State.BACKOFF, reason="GatewayError", gateway=GatewayName("second"))
    room.has("bolt", State.PAUSED, agent_id=AgentId("agent-2"))
    room.has("stale", observed_at=wall() - 600)
    room.has("[x]")
    return room


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ([], ["[x]", "acme-1", "acme-2", "bolt", "stale"]),
        (["acme-1"], ["acme-1"]),
        (["acme-*"], ["acme-1", "acme-2"]),
        (["acme-?", "bolt"], ["acme-1", "acme-2", "bolt"]),
        (["[x]"], ["[x]"]),
        (["--state", "running"], ["[x]", "acme-1"]),
        (["--state", "running", "--state", "paused"], ["[x]", "acme-1", "bolt"]),
        (["--state", "unknown"], ["stale"]),
        (["--gateway", "sec*"], ["acme-2"]),
        (["--agent", "agent-2"], ["bolt"]),
        (["--reason", "Gateway*"], ["acme-2"]),
        (["acme-*", "--state", "running"], ["acme-1"]),
        (["--state", "quarantined"], []),
    ],
)
def test_sessions_are_selected_by_names_globs_and_kinds(
    crowd: CliRoom, arguments: list[str], chosen: list[str]
) -> None:
    shown = crowd.run("get", *arguments, "-o", "name")
    assert shown.out.split() == chosen
    assert shown.code == 0


def test_get_is_0_whatever_the_states_and_4_for_a_name_that_is_not_there(crowd: CliRoom) -> None:
    assert crowd.run("get").code == 0
    assert crowd.run("get", "nobody-*").code == 4


def test_another_prefix_is_another_installation(crowd: CliRoom) -> None:
    crowd.configure(f'[redis]\nurl = "{crowd.url}"\nprefix = "other:one"\n')
    assert crowd.run("get", "-o", "name").out == ""


# Forms


def full_status() -> SessionStatus:
    now = float(int(wall()))
    return make_status(
        "acme",
        State.BACKOFF,
        reason="GatewayError",
        message="gateway 503\n\t\x1b[31m",
        since=now - 5.5,
        next_attempt_at=now + 42.25,
        attempt=7,
        restarts=9,
        traffic=Traffic(
            messages_in=1,
            duplicates=2,
            left_out=3,
            messages_out=4,
            failed_out=5,
            last_in_at=now - 1,
            last_out_at=now - 2,
        ),
        observed_generation="abc",
        observed_at=now,
        ttl=61.5,
        last_command=CommandResult(id="1-0", verb="restart", at=now - 900, accepted=False, message="no"),
        transitions=[make_step(at=now - 60), make_step(State.BACKOFF, at=now - 5.5, cause="failed", attempt=7)],
        failures=2.25,
        blockers=(
            Blocker(name="operator", since=now - 300, message="paused: moving\thouse", until=now + 1800),
            Blocker(name="gate", since=now - 600, message="gateway main is away"),
        ),
        fence=41,
    )


TIMES = {"at", "since", "until", "next_attempt_at", "last_in_at", "last_out_at", "observed_at", "started_at"}


def with_seconds(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Turn the times of the command's JSON back into seconds since the epoch."""
    if isinstance(value, dict):
        return {
            key: datetime.fromisoformat(inner).timestamp() if key in TIMES and inner else with_seconds(inner)
            for key, inner in value.items()
        }
    return [with_seconds(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("command", ["status", "get"])
def test_json_gives_every_field_of_a_status_back(room: CliRoom, command: str) -> None:
    room.announce()
    room.declare("acme")
    told = room.publish(full_status())
    document = room.run(command, "-o", "json").json
    assert document["schema"] == 1
    (shown,) = document["sessions"]
    assert msgspec.convert(with_seconds(shown), SessionStatus) == told
    assert set(msgspec.to_builtins(told)) <= set(shown)


def test_json_says_what_only_the_reader_can_know(room: CliRoom) -> None:
    room.announce()
    room.has("acme", observed_at=wall() - 600)
    room.declare("fresh")
    room.publish(make_status("removed", State.DRAINING, observed_at=wall()))
    stale, unseen, removed = room.run("get", "-o", "json").json["sessions"]
    assert (stale["state"], stale["last_known_state"], stale["is_stale"]) == ("unknown", "running", True)
    assert stale["is_record_followed"]
    assert (unseen["state"], unseen["is_seen"], unseen["since"]) == ("pending", False, None)
    assert (removed["is_declared"], removed["record"], removed["state"]) == (False, None, "draining")


def test_json_tells_of_a_record_that_no_daemon_follows_yet(room: CliRoom) -> None:
    room.announce()
    room.has("acme")
    assert room.run("get", "acme", "-o", "json").json["sessions"][0]["is_record_followed"]
    room.declare("acme", paused=True)
    assert not room.run("get", "acme", "-o", "json").json["sessions"][0]["is_record_followed"]


def test_json_of_nothing_is_json(room: CliRoom) -> None:
    assert room.run("get", "-o", "json").json == {"schema": 1, "sessions": [], "daemons": []}


def test_json_has_the_daemons_that_are_alive(room: CliRoom) -> None:
    room.announce(missing=["x"])
    (daemon,) = room.run("get", "-o", "json").json["daemons"]
    assert (daemon["id"], daemon["missing"], daemon["started_at"]) == ("d1", ["x"], "1970-01-01T00:01:40.000Z")


def test_tsv_has_one_line_for_each_session_below_the_names_of_the_columns(room: CliRoom) -> None:
    room.publish(full_status())
    room.declare("fresh")
    shown = room.run("get", "-o", "tsv")
    rows = list(csv.DictReader(io.StringIO(shown.out), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [(row["id"], row["state"], row["messages_out"], row["since"] != "") for row in rows] == [
        ("acme", "backoff", "4", True),
        ("fresh", "pending", "0", False),
    ]
    assert all(None not in row and None not in row.values() for row in rows)


SECRETS = ("tok-hunter2", "pass-hunter2", "5511988887777", "misspelt-hunter2")


def test_no_form_shows_a_secret_of_a_record(room: CliRoom) -> None:
    room.announce()
    room.has("acme")
    room.declare(
        "acme",
        token="tok-hunter2",
        tokn="misspelt-hunter2",
        phone="5511988887777",
        proxy={"url": "http://u:pass-hunter2@10.0.0.1:3128", "username": "u", "password": "pass-hunter2"},
    )
    for command in (
        ["status"],
        ["status", "-o", "json"],
        ["get", "-o", "wide"],
        ["get", "-o", "json"],
        ["get", "-o", "tsv"],
        ["describe", "acme"],
    ):
        shown = room.run(*command)
        assert "acme" in shown.out
        assert not [secret for secret in SECRETS if secret in shown.out + shown.err]


# describe


def test_describe_shows_conditions_history_record_and_what_comes_next(room: CliRoom) -> None:
    room.announce()
    room.declare("acme", paused=False, token="tok-hunter2")
    room.publish(full_status())
    room.offer("acme", "qr", "2@secret")
    shown = room.run("describe", "acme")
    assert shown.code == 0
    for words in (
        "backoff for ",
        "GatewayError: gateway 503",
        "7 tries, next in ",
        "restart 15 min ago, refused: no",
        "no: the record changed, and no daemon has followed yet",
        "wa-supervisor login acme",
        '"paused": false',
        "starting -> backoff, Connected: connected (cause failed, attempt 7, after 8 s)",
        "starting -> running, Connected: connected (cause connected, after 8 s)",
        "2.2 failures charged",
        "gate for 10 min: gateway main is away",
        "held, with fencing number 41",
        "d1, pid 12, alive, version 0.1.0 on host-1",
    ):
        assert words in shown.out, words
    assert re.search(r"operator for 5 min, until \S+Z, in \d+ min: paused: moving house", shown.out)
    assert "2@secret" not in shown.out
    assert "\x1b" not in shown.out


def test_describe_says_nothing_of_what_is_not_there(room: CliRoom) -> None:
    room.announce()
    room.has("acme")
    shown = room.run("describe", "acme")
    assert [word for word in ("Blocked by", "Budget", "Lease") if word in shown.out] == []


def test_describe_fits_its_terminal(room: CliRoom) -> None:
    room.announce()
    room.declare("acme")
    room.publish(full_status())
    shown = room.run("describe", "acme", environ={"COLUMNS": "60"})
    assert max(map(len, shown.out.splitlines())) <= 60


def test_describe_is_0_for_what_is_stale_removed_or_unseen(room: CliRoom) -> None:
    room.has("stale", observed_at=wall() - 600)
    room.publish(make_status("removed", State.STOPPED, observed_at=wall()))
    room.declare("fresh")
    assert "nobody for 10 min" in room.run("describe", "stale").out
    assert "Record: none; removed from the wish" in room.run("describe", "removed").out
    assert "no daemon has seen the record" in room.run("describe", "fresh").out


def test_describe_is_4_for_an_id_that_nobody_has(room: CliRoom) -> None:
    shown = room.run("describe", "acme")
    assert (shown.code, shown.out) == (4, "")
    assert shown.err.startswith("error: no session 'acme'")
