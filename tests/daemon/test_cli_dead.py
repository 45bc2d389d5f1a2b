"""`dead`: what could not be delivered is shown to whom it may concern, and replayed once or dropped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tests.daemon.cli_room import CliRoom, ended, wall
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.cli.clearing import Wanted, carried_out
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError
from wa_supervisor.cli.letters import Kept, table
from wa_supervisor.domain.dead_letters import LONGEST_PAYLOAD, DeadLetter, NoReplay, Replay, replay_of

CHAT = "5511988887777@c.us"


@pytest.fixture
def room(redis_url: str, tmp_path: Path) -> Iterator[CliRoom]:
    with CliRoom(redis_url, tmp_path) as opened:
        opened.announce()
        yield opened


def payload(**fields: object) -> str:
    return msgspec.json.encode({"chat_id": CHAT, "response": "hello"} | fields).decode()


def letter(**fields: object) -> DeadLetter:
    told: dict[str, object] = {
        "at": wall(),
        "direction": "out",
        "reason": "HeldTooLong",
        "message": "gateway main was away",
        "is_unknown": False,
        "attempts": 3,
        "agent_id": "agent-1",
        "integration_id": "acme",
        "session": "acme-session",
        "gateway": "main",
        "chat_id": CHAT,
        "payload": payload(),
    }
    return msgspec.convert(told | fields, DeadLetter)


def bury(room: CliRoom, *letters: DeadLetter) -> list[str]:
    """Have a daemon keep letters."""
    added = [room.redis.xadd("wa:dead", {"letter": msgspec.json.encode(each)}) for each in letters]
    return [cast("bytes", entry).decode() for entry in added]


def kept(room: CliRoom) -> list[str]:
    rows: Any = room.redis.xrange("wa:dead")
    return [entry.decode() for entry, _ in rows]


def replies(room: CliRoom, agent: str = "agent-1") -> list[Any]:
    """Give what is in an agent's output stream."""
    rows: Any = room.redis.xrange(f"agent:{agent}:output")
    assert all(set(fields) == {b"payload"} for _, fields in rows)
    return [msgspec.json.decode(fields[b"payload"]) for _, fields in rows]


def listed(room: CliRoom, *arguments: str) -> list[str]:
    shown = room.run("dead", "list", "-o", "tsv", *arguments)
    assert shown.code == 0, shown.err
    return [line.split("\t")[0] for line in shown.out.splitlines()[1:]]


# list


def test_letters_are_listed_oldest_first_without_what_they_say_and_with_the_chat_masked(room: CliRoom) -> None:
    first, second = bury(room, letter(at=wall() - 300), letter(integration_id=None, is_unknown=True, chat_id=None))
    shown = room.run("dead", "list")
    assert (shown.code, shown.err) == (0, "")
    head, one, other = shown.out.splitlines()
    assert head.split() == ["ID", "AGE", "SESSION", "AGENT", "CHAT", "REASON", "UNKNOWN", "ATTEMPTS"]
    assert one.split() == [first, "5", "min", "acme", "agent-1", "5511*****777@c.us", "HeldTooLong", "no", "3"]
    assert other.split() == [second, "0", "s", "-", "agent-1", "-", "HeldTooLong", "yes", "3"]
    assert "hello" not in shown.out


def test_the_list_as_json_has_every_field_of_every_letter(room: CliRoom) -> None:
    one = letter(at=1000.5)
    (entry,) = bury(room, one)
    document = room.run("dead", "list", "-o", "json").json
    assert (document["schema"], len(document["letters"])) == (1, 1)
    (shown,) = document["letters"]
    told = cast("dict[str, object]", msgspec.to_builtins(one))
    assert shown == {"id": entry} | told | {"at": "1970-01-01T00:16:40.500Z"}


def test_the_list_as_tsv_has_a_head_no_payload_and_no_tab_in_a_field(room: CliRoom) -> None:
    (entry,) = bury(room, letter(at=1000.5, message="a\tb\nc", integration_id=None))
    head, line = room.run("dead", "list", "-o", "tsv").out.splitlines()
    fields = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    assert fields == {
        "id": entry,
        "at": "1970-01-01T00:16:40.500Z",
        "integration_id": "",
        "agent_id": "agent-1",
        "chat": "5511*****777@c.us",
        "reason": "HeldTooLong",
        "is_unknown": "false",
        "attempts": "3",
        "direction": "out",
        "message": "a b c",
    }


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ([], [0, 1, 2, 3]),
        (["acme-1"], [0]),
        (["acme-*"], [0, 1]),
        (["acme-1", "bolt"], [0, 2]),
        (["--reason", "No*"], [1, 3]),
        (["--reason", "NoAck", "--reason", "HeldTooLong"], [0, 1, 2]),
        (["--agent", "b"], [2, 3]),
        (["--unknown"], [1]),
        (["acme-*", "--reason", "NoAck", "--agent", "a"], [1]),
        (["-n", "1"], [3]),
        (["-n", "0"], []),
    ],
)
def test_what_is_listed_can_be_narrowed(room: CliRoom, arguments: list[str], chosen: list[int]) -> None:
    entries = bury(
        room,
        letter(agent_id="a", integration_id="acme-1"),
        letter(agent_id="a", integration_id="acme-2", reason="NoAck", is_unknown=True),
        letter(agent_id="b", integration_id="bolt"),
        letter(agent_id="b", integration_id=None, reason="NoSession"),
    )
    assert listed(room, *arguments) == [entries[number] for number in chosen]


def test_a_list_shows_the_last_fifty_and_says_that_there_are_more(room: CliRoom) -> None:
    entries = bury(room, *(letter() for _ in range(120)))
    assert listed(room) == entries[-50:]
    assert room.run("dead", "list").err == "older ones are not shown; -n N shows more\n"
    assert listed(room, "-n", "120") == entries
    assert room.run("dead", "list", "-n", "120").err == ""


def test_no_letters_are_said_and_are_0(room: CliRoom) -> None:
    shown = room.run("dead", "list")
    assert (shown.code, shown.out, shown.err) == (0, "", "no such dead letter is kept\n")
    assert room.run("dead", "list", "-o", "json").json == {"schema": 1, "letters": []}


def test_a_name_that_nobody_has_is_4_and_one_without_letters_is_0(room: CliRoom) -> None:
    room.declare("acme")
    bury(room, letter(integration_id="removed"))
    shown = room.run("dead", "list", "acne", "removed")
    assert (shown.code, len(shown.out.splitlines())) == (4, 2)
    assert shown.err == "error: no session 'acne'; did you mean 'acme'?\n"
    assert room.run("dead", "list", "acme").code == 0


def test_a_letter_that_cannot_be_read_is_left_out_with_a_warning(room: CliRoom) -> None:
    room.redis.xadd("wa:dead", {"letter": "no json"})
    room.redis.xadd("wa:dead", {"other": "field"})
    room.redis.xadd("wa:dead", {"letter": b"[" * 100_000})
    (good,) = bury(room, letter())
    shown = room.run("dead", "list", "-o", "tsv")
    assert (shown.code, len(shown.out.splitlines()), good in shown.out) == (0, 2, True)
    assert shown.err.count("cannot be read; is another version at work?") == 3


def test_nothing_reaches_a_terminal_that_it_would_obey(room: CliRoom) -> None:
    evil = "\x1b[2J\x07\x9b"
    (entry,) = bury(
        room,
        letter(reason=evil, integration_id=evil, agent_id=evil, message=evil, chat_id=f"{evil}@c.us", payload=evil),
        letter(payload=payload(response=f"\x9b\u202e{evil}")),
    )[:1]
    for shown in (room.run("dead", "list"), room.run("dead", "list", "-o", "tsv"), room.run("dead", "show", entry)):
        assert shown.code == 0
        assert not set(shown.out) & set("\x1b\x07\x9b\u202e")


@pytest.mark.parametrize("width", [66, 80, 120])
def test_a_table_fits_its_terminal_and_keeps_the_ids_whole(width: int) -> None:
    letters = [Kept(id="1700000000000-0", letter=letter(integration_id="a-long-name" * 9, agent_id="b" * 40))]
    head, line = table(letters, now=wall(), width=width).splitlines()
    assert max(len(head), len(line)) <= width
    assert line.startswith("1700000000000-0  ")
    assert "HeldTooLong" in line


def test_a_terminal_that_is_too_narrow_keeps_what_matters() -> None:
    head, _ = table([Kept(id="1700000000000-0", letter=letter())], now=wall(), width=20).splitlines()
    assert head.split() == ["ID", "AGE", "SESSION", "REASON"]


# show


def test_everything_about_a_letter_is_shown_with_what_the_person_was_to_read(room: CliRoom) -> None:
    (entry,) = bury(room, letter(payload=payload(response="olá ✓")))
    shown = room.run("dead", "show", entry)
    assert (shown.code, shown.err) == (0, "")
    for word in (entry, "HeldTooLong", "gateway main was away", "acme-session at gateway main", CHAT, "no: it was not"):
        assert word in shown.out
    assert '    "response": "olá ✓"' in shown.out.splitlines()


def test_a_payload_that_is_no_json_is_shown_as_it_came(room: CliRoom) -> None:
    first, second = bury(room, letter(payload="no  json\nat all"), letter(payload="", direction="in"))
    assert room.run("dead", "show", first).out.endswith("Payload\n  no  json\n  at all\n")
    assert room.run("dead", "show", second).out.endswith("Payload: none\n")


def test_a_letter_as_json_has_everything(room: CliRoom) -> None:
    one = letter(at=1000.5)
    (entry,) = bury(room, one)
    told = cast("dict[str, object]", msgspec.to_builtins(one))
    shown = room.run("dead", "show", entry, "-o", "json").json
    assert shown == {"schema": 1, "id": entry} | told | {"at": "1970-01-01T00:16:40.500Z"}


@pytest.mark.parametrize("name", ["1700000000000-0", "1700000000000", "-", "abc", f"{2**64}-0", "1-0 "])
@pytest.mark.parametrize("verb", ["show", "replay", "drop"])
def test_a_letter_that_is_not_there_is_4(room: CliRoom, verb: str, name: str) -> None:
    room.redis.xadd("wa:dead", {"letter": msgspec.json.encode(letter())}, id="1700000000000-7")
    shown = room.run("dead", verb, name)
    assert (shown.code, shown.out) == (4, "")
    assert kept(room) == ["1700000000000-7"]


# replay


def test_a_replay_moves_the_reply_into_the_stream_of_its_agent_and_rings(room: CliRoom) -> None:
    (entry,) = bury(room, letter(payload=payload(reply_id="r1")))
    listening: Any = cast("Any", room.redis).pubsub()
    listening.subscribe("agent:agent-1:output")
    assert listening.get_message(timeout=5)
    shown = room.run("dead", "replay", entry)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"{entry}: replayed; it is ")
    assert shown.out.endswith(" in the output stream of agent agent-1\n")
    rung = listening.get_message(timeout=5)
    listening.close()
    assert rung is not None
    assert rung["data"] == b""
    assert kept(room) == []
    assert replies(room) == [{"chat_id": CHAT, "response": "hello", "reply_id": "r1", "session": "acme"}]


def test_a_reply_that_named_its_session_keeps_it_and_every_byte(room: CliRoom) -> None:
    text = f'{{"chat_id": "{CHAT}",  "response": "h", "session": "mine", "n": 12345678901234567890123}}'
    entries = bury(room, letter(payload=text), letter(integration_id=None, payload=text.replace("mine", "")))
    assert room.run("dead", "replay", *entries).code == 0
    rows: Any = room.redis.xrange("agent:agent-1:output")
    assert [fields[b"payload"].decode() for _, fields in rows] == [text, text.replace("mine", "")]


def test_a_session_is_added_without_changing_other_fields(room: CliRoom) -> None:
    (entry,) = bury(room, letter(payload=f'{{"n":12345678901234567890123,"chat_id":"{CHAT}","response":"h"}}'))
    room.run("dead", "replay", entry)
    rows: Any = room.redis.xrange("agent:agent-1:output")
    expected = f'{{"n":12345678901234567890123,"chat_id":"{CHAT}","response":"h","session":"acme"}}'
    assert [fields[b"payload"].decode() for _, fields in rows] == [expected]


def test_what_may_have_been_sent_is_replayed_only_when_that_is_said(room: CliRoom) -> None:
    unknown, known = bury(room, letter(is_unknown=True), letter())
    shown = room.run("dead", "replay", unknown, known)
    assert shown.code == 1
    assert shown.err.startswith(f"error: {unknown}: may have been sent all the same; --even-if-sent")
    assert shown.out.startswith(f"{known}: replayed")
    assert kept(room) == [unknown]
    assert room.run("dead", "replay", unknown, "--even-if-sent").code == 0
    assert (kept(room), len(replies(room))) == ([], 2)


POISON = {
    "no json": "{",
    "nothing": "",
    "blank": "  \n",
    "no object": "[1]",
    "a number": "7",
    "no chat": '{"response": "hello"}',
    "several chats": payload(chat_id=f"{CHAT},{CHAT}"),
    "a chat of another type": payload(chat_id=[CHAT]),
    "no text": payload(response=""),
    "another channel": payload(channel="telegram"),
    "a session of another type": payload(session=7),
    "nested without end": f'{{"chat_id": "{CHAT}", "response": "h", "x": {"[" * 30_000}{"]" * 30_000}}}',
    "cut": payload(response="x" * LONGEST_PAYLOAD)[:LONGEST_PAYLOAD],
    "perhaps cut": payload() + " " * (LONGEST_PAYLOAD - len(payload())),
}


@pytest.mark.parametrize("name", POISON)
def test_a_poisonous_payload_is_refused_and_stays(room: CliRoom, name: str) -> None:
    entries = bury(room, letter(payload=POISON[name]), letter())
    shown = room.run("dead", "replay", *entries, "--even-if-sent")
    assert shown.code == 1
    assert shown.err.startswith(f"error: {entries[0]}: ")
    assert len(shown.err.splitlines()) == 1
    assert (kept(room), len(replies(room))) == (entries[:1], 1)


def test_what_is_no_reply_or_was_no_text_is_refused() -> None:
    for one in (letter(direction="in"), letter(agent_id=None), letter(reason="NotJson", payload=payload(response="�"))):
        assert isinstance(replay_of(one, even_if_sent=True), NoReplay)
    assert isinstance(replay_of(letter()), Replay)
    assert "hello" not in repr(replay_of(letter())) + repr(letter())


def test_a_letter_that_cannot_be_read_can_only_be_dropped(room: CliRoom) -> None:
    entry = cast("bytes", room.redis.xadd("wa:dead", {"letter": "?"})).decode()
    for verb in ("show", "replay"):
        shown = room.run("dead", verb, entry)
        assert (shown.code, "`wa-supervisor dead drop` takes it out" in shown.err) == (1, True)
    assert room.run("dead", "drop", entry).code == 0
    assert kept(room) == []


def test_all_is_what_is_there_oldest_first_and_can_be_narrowed(room: CliRoom) -> None:
    entries = bury(room, *(letter(reason="NoAck" if n % 2 else "Held", payload=payload(n=n)) for n in range(120)))
    shown = room.run("dead", "replay", "--all", "--reason", "Hel*", "--yes")
    assert shown.code == 0
    assert [line.split(":")[0] for line in shown.out.splitlines()] == entries[::2]
    assert [each["n"] for each in replies(room)] == list(range(0, 120, 2))
    assert kept(room) == entries[1::2]


def test_all_leaves_what_is_refused_and_is_1(room: CliRoom) -> None:
    entries = bury(room, letter(is_unknown=True), letter(), letter(payload="{"))
    room.redis.xadd("wa:dead", {"letter": "?"})
    shown = room.run("dead", "replay", "--all", "--yes")
    assert (shown.code, len(shown.err.splitlines()), len(replies(room))) == (1, 3, 1)
    assert entries[1] not in kept(room)
    assert len(kept(room)) == 3


def test_all_of_nothing_is_said_and_is_0(room: CliRoom) -> None:
    bury(room, letter())
    room.redis.xadd("wa:dead", {"letter": "?"})
    for verb in ("replay", "drop"):
        shown = room.run("dead", verb, "--all", "--reason", "Other", "--yes")
        assert (shown.code, shown.out) == (0, "")
        assert shown.err.endswith("is another version at work?\nno such dead letter is kept\n")
    assert len(kept(room)) == 2


@pytest.mark.parametrize("verb", ["replay", "drop"])
@pytest.mark.parametrize("arguments", [[], ["--all"], ["1-0", "--all", "--yes"], ["1-0", "--reason", "NoAck"]])
def test_wrong_use_is_2_and_nothing_happens(room: CliRoom, verb: str, arguments: list[str]) -> None:
    entries = bury(room, letter())
    assert room.run("dead", verb, *arguments).code == 2
    assert (kept(room), replies(room)) == (entries, [])


def test_an_agent_whose_stream_is_none_does_not_keep_the_others_from_theirs(room: CliRoom) -> None:
    room.redis.set("agent:broken:output", "a text")
    bad, good = bury(room, letter(agent_id="broken"), letter())
    shown = room.run("dead", "replay", "--all", "--yes")
    assert (shown.code, len(replies(room)), kept(room)) == (1, 1, [bad])
    assert f"error: {bad}: not replayed: " in shown.err
    assert shown.out.startswith(f"{good}: replayed")


def test_without_a_daemon_it_is_said_that_replies_wait(redis_url: str, tmp_path: Path) -> None:
    with CliRoom(redis_url, tmp_path) as room:
        (entry,) = bury(room, letter())
        shown = room.run("dead", "replay", entry)
        assert (shown.code, shown.err.startswith("warning: no daemon is alive")) == (0, True)
        assert room.run("dead", "replay", entry).err.startswith("error: no dead letter")


# drop


def test_dropped_letters_are_gone_and_nothing_is_sent(room: CliRoom) -> None:
    entries = bury(room, letter(), letter(), letter())
    shown = room.run("dead", "drop", entries[0], entries[2])
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == f"{entries[0]}: dropped\n{entries[2]}: dropped\n"
    assert (kept(room), replies(room)) == ([entries[1]], [])


def test_dropping_all_takes_also_what_cannot_be_read(room: CliRoom) -> None:
    bury(room, letter())
    room.redis.xadd("wa:dead", {"letter": "?"})
    assert room.run("dead", "drop", "--all", "--yes").code == 0
    assert kept(room) == []


# Races


def test_a_letter_dropped_after_it_was_listed_is_not_replayed(room: CliRoom) -> None:
    entries = bury(room, letter(), letter())
    assert listed(room) == entries
    room.redis.xdel("wa:dead", entries[0])
    shown = room.run("dead", "replay", *entries)
    assert (shown.code, len(replies(room)), kept(room)) == (4, 1, [])
    assert shown.err.startswith(f"error: no dead letter '{entries[0]}' is kept")


def test_whoever_comes_second_under_all_has_not_failed(room: CliRoom, capsys: pytest.CaptureFixture[str]) -> None:
    entries = bury(room, letter(), letter())
    wanted = Wanted(verb="drop", names=(), reasons=(), is_all=True, is_sure=True)

    def work(name: str) -> str | None:
        if name == entries[0]:
            return None
        raise CommandError("gone before it was read", code=Exit.UNKNOWN)

    with OperatorDesk(room.url) as desk:
        outcome = carried_out(desk, wanted, work)
    assert (outcome.done, outcome.code) == (0, None)
    assert capsys.readouterr().out == f"{entries[0]}: gone meanwhile\n{entries[1]}: gone meanwhile\n"


def test_two_who_replay_everything_at_once_deliver_everything_once(room: CliRoom) -> None:
    entries = bury(room, *(letter(payload=payload(n=n)) for n in range(200)))
    processes = [room.start("dead", "replay", "--all", "--yes") for _ in range(2)]
    shown = [ended(process) for process in processes]
    assert [each.code for each in shown] == [0, 0]
    assert sorted(each["n"] for each in replies(room)) == list(range(200))
    assert sum(each.out.count(": replayed; ") for each in shown) == len(entries)
    assert kept(room) == []


# No Redis


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "1-0"], ["replay", "1-0"], ["drop", "1-0"], ["replay", "--all", "--yes"]]
)
def test_dead_is_4_when_redis_cannot_be_reached(tmp_path: Path, arguments: list[str]) -> None:
    with CliRoom("unix:///tmp/there-is-no-such-socket", tmp_path) as room:
        shown = room.run("dead", *arguments)
    assert (shown.code, shown.out) == (4, "")
    assert "see whether it runs" in shown.err
