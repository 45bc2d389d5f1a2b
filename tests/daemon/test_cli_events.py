"""`events`: the history that is kept and what comes, in a table and as JSON, for whom it is meant."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from tests.daemon.cli_room import LONGEST, CliRoom, ended, wall
from wa_supervisor.cli.history import Entry, Table
from wa_supervisor.domain.history import Event, dropped_events


@pytest.fixture
def room(redis_url: str, tmp_path: Path) -> Iterator[CliRoom]:
    with CliRoom(redis_url, tmp_path) as opened:
        opened.announce()
        yield opened


def step(name: str, message: str = "gateway 503", **fields: object) -> Event:
    told: dict[str, object] = {
        "at": wall(),
        "kind": "transition",
        "reason": "GatewayError",
        "message": message,
        "daemon": "d1",
        "integration": name,
        "session": name,
        "gateway": "main",
        "source": "starting",
        "target": "backoff",
        "cause": "failed",
        "attempt": 3,
        "lasted": 4.5,
    }
    return msgspec.convert(told | fields, Event)


def gate(message: str, **fields: object) -> Event:
    told = {"at": wall(), "kind": "gate", "reason": "GateClosed", "message": message, "gateway": "main"}
    return msgspec.convert(told | fields, Event)


def record(room: CliRoom, *events: Event) -> list[str]:
    """Have a daemon write events."""
    added = [room.redis.xadd("wa:events", {"event": msgspec.json.encode(event)}) for event in events]
    return [cast("bytes", entry).decode() for entry in added]


def messages(lines: Sequence[str]) -> list[str]:
    return [line.split("  ")[-1].strip() for line in lines]


# What is kept


def test_events_are_shown_oldest_first_each_on_a_line_with_its_time(room: CliRoom) -> None:
    record(room, step("acme", at=1000.5), gate("does not answer", at=1001.0), step("bolt", at=1002.0))
    shown = room.run("events")
    assert (shown.code, shown.err) == (0, "")
    head, first, second, third = shown.out.splitlines()
    assert head.split() == ["TIME", "SESSION", "FROM", "->", "TO", "REASON", "MESSAGE"]
    assert first.split() == [
        *("1970-01-01T00:16:40.500Z", "acme", "starting", "->", "backoff"),
        *("GatewayError", "gateway", "503"),
    ]
    assert second.split() == [
        *("1970-01-01T00:16:41.000Z", "gateway", "main", "gate", "GateClosed"),
        *("does", "not", "answer"),
    ]
    assert "bolt" in third


def test_columns_stand_below_each_other(room: CliRoom) -> None:
    record(room, step("a"), step("a-much-longer-name"), gate("m"))
    lines = room.run("events").out.splitlines()
    assert len({line.index(word) for line, word in zip(lines, ["REASON", "Gate", "Gate", "Gate"], strict=True)}) == 1


def test_an_empty_history_is_said_and_is_0(room: CliRoom) -> None:
    shown = room.run("events")
    assert (shown.code, shown.out, shown.err) == (0, "", "no such event is kept\n")
    shown = room.run("events", "-o", "json")
    assert (shown.code, shown.json, shown.err) == (0, {"schema": 1, "events": []}, "no such event is kept\n")


def test_json_has_every_field_of_every_event(room: CliRoom) -> None:
    event = step("acme", at=1000.5)
    (entry,) = record(room, event)
    (shown,) = room.run("events", "-o", "json").json["events"]
    assert shown.pop("id") == entry
    assert shown.pop("at") == "1970-01-01T00:16:40.500Z"
    told = cast("dict[str, object]", msgspec.to_builtins(event))
    assert shown == {key: value for key, value in told.items() if key != "at"}


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["-n", "2"], ["4", "5"]),
        (["-n", "0"], []),
        (["-n", "99"], ["0", "1", "2", "3", "4", "5"]),
        (["--for", "acme-1"], ["0", "3"]),
        (["--for", "acme-*"], ["0", "1", "3"]),
        (["--for", "acme-2", "--for", "bolt"], ["1", "4"]),
        (["--for", "acme-*", "-n", "1"], ["3"]),
        (["--since", "1d"], ["2", "4", "5"]),
        (["--since", "1970-01-01T00:00:02Z"], ["1", "2", "3", "4", "5"]),
        (["--since", "1d", "-n", "1"], ["5"]),
    ],
)
def test_what_is_shown_can_be_narrowed(room: CliRoom, arguments: list[str], chosen: list[str]) -> None:
    record(
        room,
        step("acme-1", "0", at=1.0),
        step("acme-2", "1", at=2.0),
        gate("2"),
        step("acme-1", "3", at=3.0),
        step("bolt", "4"),
        gate("5"),
    )
    shown = room.run("events", *arguments)
    assert shown.code == 0
    assert messages(shown.out.splitlines()[1:]) == chosen


def test_where_events_are_missing_is_shown_whatever_is_chosen(room: CliRoom) -> None:
    record(room, step("acme", "0"), dropped_events(7, at=wall(), daemon="d1"), step("bolt", "1"))
    shown = room.run("events", "--for", "acme", "-o", "json").json["events"]
    assert [event["kind"] for event in shown] == ["transition", "events_dropped"]


def test_a_long_history_is_read_to_its_beginning(room: CliRoom) -> None:
    record(room, step("acme", "the first"))
    pipeline = room.redis.pipeline()
    for _ in range(1100):
        pipeline.xadd("wa:events", {"event": msgspec.json.encode(step("bolt"))})
    pipeline.execute()
    assert messages(room.run("events", "--for", "acme").out.splitlines()[1:]) == ["the first"]


def test_a_name_that_nobody_has_is_4_and_the_others_are_shown(room: CliRoom) -> None:
    room.declare("acme")
    record(room, step("bolt", "0"))
    shown = room.run("events", "--for", "acne", "--for", "bolt")
    assert (shown.code, messages(shown.out.splitlines()[1:])) == (4, ["0"])
    assert shown.err == "error: no session 'acne'; did you mean 'acme'?\n"


def test_a_session_without_events_and_one_that_was_removed_are_0(room: CliRoom) -> None:
    room.declare("acme")
    record(room, step("removed"))
    assert room.run("events", "--for", "acme").code == 0
    assert room.run("events", "--for", "removed").code == 0


@pytest.mark.parametrize(
    "arguments", [["--since", "yesterday"], ["--since", "2026-01-01T00:00:00"], ["-n", "-1"], ["-o", "xml"], ["acme"]]
)
def test_wrong_use_is_2(room: CliRoom, arguments: list[str]) -> None:
    assert room.run("events", *arguments).code == 2


@pytest.mark.parametrize("arguments", [[], ["-w"]])
def test_events_is_4_when_redis_cannot_be_reached(tmp_path: Path, arguments: list[str]) -> None:
    with CliRoom("unix:///tmp/there-is-no-such-socket", tmp_path) as room:
        shown = room.run("events", *arguments)
    assert (shown.code, shown.out) == (4, "")
    assert "see whether it runs" in shown.err


def test_an_event_that_cannot_be_read_is_left_out_with_a_warning(room: CliRoom) -> None:
    room.redis.xadd("wa:events", {"event": "no json"})
    room.redis.xadd("wa:events", {"other": "field"})
    room.redis.xadd("wa:events", {"event": b'{"schema": 1, "at": 1, "kind": "\xff"}'})
    record(room, step("acme", "good"))
    shown = room.run("events")
    assert (shown.code, messages(shown.out.splitlines()[1:])) == (0, ["good"])
    assert shown.err.count("which cannot be read; is another version at work?") == 3


def test_nothing_reaches_a_terminal_that_it_would_obey(room: CliRoom) -> None:
    record(room, step("\x1b[2Jevil", "\x1b[31mred\nnext line", reason="\x07Bell", source="\x1bA", target="\tB"))
    shown = room.run("events")
    assert len(shown.out.splitlines()) == 2
    assert not set(shown.out) & set("\x1b\x07\t")


# The table


def shown_in(width: int | None, *events: Event, is_watched: bool = False) -> list[str]:
    entries = [Entry(id=f"{number}-0", event=event) for number, event in enumerate(events)]
    return list(Table(entries, now=1000.0, width=width, is_watched=is_watched).first_lines())


LONG = "the gateway did not answer within the time that it has for an answer, which is a long time"


def test_ages_are_relative_on_a_terminal() -> None:
    assert shown_in(100, step("acme", at=700.0))[1].startswith("5 min ago  acme")


def test_a_watch_on_a_terminal_has_the_time_of_day() -> None:
    assert shown_in(100, step("acme", at=700.0), is_watched=True)[1].startswith("00:11:40Z  acme")
    assert shown_in(100, step("acme", at=1e300), is_watched=True)[1].startswith("- ")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_table_fits_its_terminal_and_loses_no_word(width: int) -> None:
    name = "a-session-with-a-long-name" * 3
    lines = shown_in(width, step(name, LONG, at=1.0), gate(LONG, at=2.0))
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()).count("long time") == 2


def test_a_long_message_stands_beside_its_event_where_there_is_room_and_below_where_there_is_none() -> None:
    wide = shown_in(110, step("acme", LONG))
    assert wide[2].startswith(" " * 50)
    narrow = shown_in(60, step("acme", LONG), step("acme", ""))
    assert narrow[0].split()[-1] == "REASON"
    assert narrow[2].startswith("  the gateway")
    assert narrow[-1].split()[-1] == "GatewayError"


def test_nothing_has_no_head() -> None:
    assert shown_in(80) == []
    assert len(shown_in(80, is_watched=True)) == 1


# What comes


def begin(room: CliRoom, *arguments: str) -> subprocess.Popen[str]:
    return room.start("events", "-w", *arguments)


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    shown = ended(process)
    assert (shown.code, shown.out.strip(), shown.err.strip()) == (130, "", "")


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_watch_shows_the_last_ten_and_goes_on_until_ctrl_c(room: CliRoom) -> None:
    record(room, *(step("acme", str(number)) for number in range(12)))
    process = begin(room)
    assert line_of(process).startswith("TIME")
    assert messages([line_of(process) for _ in range(10)]) == [str(number) for number in range(2, 12)]
    record(room, step("acme", "new"))
    assert messages([line_of(process)]) == ["new"]
    record(room, gate("newer"), step("bolt", "newest"))
    assert messages([line_of(process), line_of(process)]) == ["newer", "newest"]
    end(process)


def test_a_watch_as_json_has_one_object_on_each_line(room: CliRoom) -> None:
    record(room, step("acme", "old"), step("acme", "kept"))
    process = begin(room, "-n", "1", "-o", "json")
    assert json.loads(line_of(process))["message"] == "kept"
    (entry,) = record(room, step("acme", "new\nline", at=1000.5))
    shown = json.loads(line_of(process))
    assert (shown["schema"], shown["id"], shown["at"]) == (1, entry, "1970-01-01T00:16:40.500Z")
    assert (shown["message"], shown["source"], shown["lasted"]) == ("new\nline", "starting", 4.5)
    end(process)


def test_a_watch_shows_only_what_is_chosen(room: CliRoom) -> None:
    room.declare("acme")
    process = begin(room, "--for", "acme", "-n", "0")
    assert line_of(process).startswith("TIME")
    record(room, step("bolt", "not this"), gate("nor this"), step("acme", "this"))
    assert messages([line_of(process)]) == ["this"]
    end(process)


def test_a_watch_since_a_moment_shows_everything_since(room: CliRoom) -> None:
    record(room, step("acme", "old", at=1.0), *(step("acme", str(number)) for number in range(15)))
    process = begin(room, "--since", "1d", "-o", "json")
    assert [json.loads(line_of(process))["message"] for _ in range(15)] == [str(number) for number in range(15)]
    end(process)


def test_a_watch_of_what_nobody_has_ends_at_once(room: CliRoom) -> None:
    shown = room.run("events", "-w", "--for", "acne")
    assert (shown.code, shown.err.startswith("error: no session 'acne'")) == (4, True)


def test_a_watch_without_a_living_daemon_says_so(redis_url: str, tmp_path: Path) -> None:
    with CliRoom(redis_url, tmp_path) as room:
        process = begin(room, "-o", "json")
        assert process.stderr is not None
        assert process.stderr.readline().startswith("warning: no daemon is alive")
        record(room, step("acme", "new"))
        assert json.loads(line_of(process))["message"] == "new"
        end(process)


def test_a_watch_whose_reader_goes_away_ends_quietly(room: CliRoom) -> None:
    process = begin(room, "-o", "json")
    record(room, step("acme"))
    assert line_of(process)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    record(room, step("acme"), step("acme"))
    assert process.stderr.read() == ""
    assert process.wait(LONGEST) == 1
    process.stderr.close()


def test_events_of_an_agent_name_it_where_there_is_no_session(room: CliRoom) -> None:
    record(
        room,
        gate("2 messages for agent a", kind="waiting", reason="AgentAway", gateway=None, agent="a"),
        gate("1 reply became a dead letter", kind="dead", reason="NoChat", integration="acme", agent="a"),
    )
    first, second = room.run("events").out.splitlines()[1:]
    assert first.split()[1:5] == ["agent", "a", "waiting", "AgentAway"]
    assert second.split()[1:4] == ["acme", "dead", "NoChat"]
