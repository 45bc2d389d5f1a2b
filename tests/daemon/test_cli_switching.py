"""`pause`, `resume`, `restart`, `release`, and `--wait` of everything that changes: until the daemon says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from tests.daemon.cli_daemon import accepting, answer_to, answering
from tests.daemon.cli_room import LONGEST, CliRoom, ended, make_status, revision_of, wall
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName
from wa_supervisor.domain.status import CommandResult


@pytest.fixture
def room(redis_url: str, tmp_path: Path) -> Iterator[CliRoom]:
    with CliRoom(redis_url, tmp_path) as opened:
        opened.announce()
        yield opened


def paused(room: CliRoom) -> list[str]:
    names = sorted(name.decode() for name in cast("list[bytes]", room.redis.hkeys("wa:integrations")))
    return [name for name in names if (room.record(name) or {}).get("paused") is True]


def commands(room: CliRoom) -> list[tuple[str, dict[str, str]]]:
    entries: Any = room.redis.xrange("wa:commands")
    return [
        (entry.decode(), {key.decode(): value.decode() for key, value in fields.items()}) for entry, fields in entries
    ]


# pause and resume


def test_pause_writes_the_wish_with_its_reason_and_keeps_the_rest(room: CliRoom) -> None:
    room.declare("acme", token="tok-1")
    shown = room.run("pause", "acme", "--reason", "moving house")
    assert (shown.code, shown.out, shown.err) == (0, "acme: paused\n", "")
    assert room.record("acme") == {
        "agent_id": "agent-1",
        "session": "acme",
        "gateway": "main",
        "token": "tok-1",
        "paused": True,
        "pause_reason": "moving house",
    }


def test_resume_takes_the_pause_and_its_reason_out(room: CliRoom) -> None:
    before = room.declare("acme")
    room.run("pause", "acme", "--reason", "moving house")
    assert room.run("resume", "acme").out == "acme: resumed\n"
    assert room.redis.hget("wa:integrations", "acme") == before


def test_a_second_pause_keeps_the_reason_of_the_first_unless_it_has_its_own(room: CliRoom) -> None:
    room.declare("acme")
    room.run("pause", "acme", "--reason", "moving house")
    assert room.run("pause", "acme").out == "acme: nothing to change\n"
    assert (room.record("acme") or {})["pause_reason"] == "moving house"
    room.run("pause", "acme", "--reason", "still moving")
    assert (room.record("acme") or {})["pause_reason"] == "still moving"


def test_resume_of_what_is_not_paused_says_so(room: CliRoom) -> None:
    room.declare("acme")
    shown = room.run("resume", "acme")
    assert (shown.code, shown.out) == (0, "acme: nothing to change\n")


@pytest.fixture
def crowd(room: CliRoom) -> CliRoom:
    room.has("acme-1")
    room.has("acme-2", State.BACKOFF, gateway=GatewayName("second"))
    room.has("bolt", agent_id=AgentId("agent-2"))
    return room


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["acme-*"], ["acme-1", "acme-2"]),
        (["*"], ["acme-1", "acme-2", "bolt"]),
        (["--state", "backoff"], ["acme-2"]),
        (["--gateway", "second"], ["acme-2"]),
        (["--agent", "agent-2"], ["bolt"]),
        (["acme-*", "--state", "running"], ["acme-1"]),
    ],
)
def test_pause_takes_names_globs_and_kinds(crowd: CliRoom, arguments: list[str], names: list[str]) -> None:
    assert crowd.run("pause", *arguments).code == 0
    assert paused(crowd) == names


@pytest.mark.parametrize("verb", ["pause", "resume", "restart", "release"])
def test_nothing_is_switched_without_saying_which(crowd: CliRoom, verb: str) -> None:
    shown = crowd.run(verb)
    assert (shown.code, "'*' is all sessions" in shown.err) == (2, True)
    assert (paused(crowd), commands(crowd)) == ([], [])


@pytest.mark.parametrize("verb", ["pause", "resume", "restart", "release"])
def test_a_name_that_nobody_has_is_4_and_the_others_are_switched(crowd: CliRoom, verb: str) -> None:
    with answering(crowd):
        shown = crowd.run(verb, "acne-1", "bolt")
    assert (shown.code, shown.out.startswith("bolt: ")) == (4, True)
    assert shown.err == "error: no session 'acne-1'; did you mean 'acme-1'?\n"


@pytest.mark.parametrize("verb", ["pause", "resume", "restart", "release"])
def test_kinds_that_nothing_fits_are_4(crowd: CliRoom, verb: str) -> None:
    shown = crowd.run(verb, "--gateway", "mian")
    assert (shown.code, shown.out) == (4, "")
    assert shown.err.startswith("error: no session fits")


def test_a_record_that_cannot_be_changed_does_not_keep_the_others_from_it(crowd: CliRoom) -> None:
    crowd.redis.hset("wa:integrations", "acme-1", b"no json")
    shown = crowd.run("pause", "acme-1", "bolt")
    assert (shown.code, shown.out) == (1, "bolt: paused\n")
    assert "acme-1: its record is not a JSON object" in shown.err


def test_a_session_that_was_removed_cannot_be_paused(room: CliRoom) -> None:
    room.publish(make_status("acme", State.DRAINING, observed_at=wall()))
    shown = room.run("pause", "acme")
    assert (shown.code, "no longer declared" in shown.err) == (4, True)
    assert room.record("acme") is None


def test_names_do_not_reach_the_terminal_as_they_are(room: CliRoom) -> None:
    room.has("\x1b[2Jevil")
    with answering(room, lambda verb, name: (verb == "release", f"{verb} of {name}")):
        for command in (
            ["pause", "*"],
            ["resume", "*"],
            ["restart", "*"],
            ["release", "*"],
            ["restart", "*", "--timeout", "0"],
            ["status", "\x1b"],
        ):
            shown = room.run(*command)
            assert shown.out + shown.err
            assert "\x1b" not in shown.out + shown.err


# A pause that ends by itself


@pytest.mark.parametrize(("given", "seconds"), [("30s", 30), ("30m", 1800), ("2h", 7200), ("1d", 86_400)])
def test_a_pause_for_a_while_has_an_end_in_the_record(room: CliRoom, given: str, seconds: int) -> None:
    room.declare("acme")
    before = wall()
    shown = room.run("pause", "acme", "--for", given)
    record = room.record("acme") or {}
    until = record["paused_until"]
    assert (shown.code, record["paused"]) == (0, True)
    assert isinstance(until, int)
    assert before + seconds <= until <= wall() + seconds + 1
    at = datetime.fromtimestamp(until, UTC)
    assert shown.out == f"acme: paused until {at:%Y-%m-%dT%H:%M:%S}.000Z\n"


@pytest.mark.parametrize("given", ["", "0s", "30", "-5m", "1h30m", "1.5h", "30 m", "9999999d", "\u0663m"])
def test_what_is_no_duration_is_wrong_use_and_pauses_nothing(room: CliRoom, given: str) -> None:
    room.declare("acme")
    shown = room.run("pause", "acme", "--for", given)
    assert (shown.code, "30s, 30m, 2h or 1d" in shown.err, paused(room)) == (2, True, [])


def test_a_plain_pause_takes_the_end_of_an_earlier_one_away(room: CliRoom) -> None:
    room.declare("acme")
    room.run("pause", "acme", "--for", "30m", "--reason", "moving house")
    assert room.run("pause", "acme").out == "acme: paused\n"
    record = room.record("acme") or {}
    assert (record["paused"], record["pause_reason"], "paused_until" in record) == (True, "moving house", False)


def test_resume_takes_the_end_of_a_pause_out_too(room: CliRoom) -> None:
    before = room.declare("acme")
    room.run("pause", "acme", "--for", "30m", "--reason", "moving house")
    assert room.run("resume", "acme").out == "acme: resumed\n"
    assert room.redis.hget("wa:integrations", "acme") == before


# restart and release


@pytest.mark.parametrize("verb", ["restart", "release"])
def test_one_command_is_given_for_each_session_with_reason_and_operator(crowd: CliRoom, verb: str) -> None:
    with answering(crowd):
        shown = crowd.run(verb, "acme-*", "--reason", "zombie", environ={"SUDO_USER": "anna"})
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        f"{name}: {verb} accepted: {verb} of {name} begun" for name in ("acme-1", "acme-2")
    ]
    assert [fields for _, fields in commands(crowd)] == [
        {"verb": verb, "reason": "zombie", "by": "anna", "integration_id": name} for name in ("acme-1", "acme-2")
    ]


@pytest.mark.parametrize("verb", ["restart", "release"])
def test_a_refusal_is_1_with_its_reason_and_the_others_are_accepted(crowd: CliRoom, verb: str) -> None:
    with answering(crowd, lambda _, name: (name == "bolt", "it is not so")):
        shown = crowd.run(verb, "acme-1", "bolt")
    assert (shown.code, shown.out) == (1, f"bolt: {verb} accepted: it is not so\n")
    assert shown.err == f"error: acme-1: {verb} refused: it is not so\n"


def test_what_is_refused_is_not_waited_for(crowd: CliRoom) -> None:
    with answering(crowd, lambda *_: (False, "it is not so")):
        shown = crowd.run("release", "*", "--wait", "--timeout", str(LONGEST))
    assert (shown.code, shown.out) == (1, "")
    assert len(shown.err.splitlines()) == 3


def test_no_answer_is_said_and_is_5(room: CliRoom) -> None:
    room.has("acme")
    shown = room.run("restart", "acme")
    assert (shown.code, shown.out) == (5, "")
    assert shown.err.startswith("error: acme: told to restart, but no daemon answered within 2 s")
    assert "wa-supervisor describe acme" in shown.err


def test_what_one_of_several_daemons_refuses_another_may_accept(room: CliRoom) -> None:
    room.announce(id="d2")
    room.has("acme")
    process = room.start("restart", "acme")
    ((command, fields),) = until(lambda: commands(room), "the command")
    encoded = {key.encode(): value.encode() for key, value in fields.items()}
    answer_to(room.redis, command, encoded, lambda *_: (False, "another daemon has it"))
    answer_to(room.redis, command, encoded, accepting)
    shown = ended(process)
    assert (shown.code, shown.out) == (0, "acme: restart accepted: restart of acme begun\n")


@pytest.mark.parametrize("verb", ["restart", "release"])
def test_a_command_is_4_without_a_living_daemon_and_leaves_nothing_behind(
    redis_url: str, tmp_path: Path, verb: str
) -> None:
    with CliRoom(redis_url, tmp_path) as room:
        room.has("acme")
        shown = room.run(verb, "acme")
        assert (shown.code, shown.out, commands(room)) == (4, "", [])
        assert shown.err == f"error: no daemon is alive to {verb} anything; start one: systemctl start wa-supervisor\n"


@pytest.mark.parametrize(
    ("state", "advice"), [(State.PAUSED, "resume it instead"), (State.INVALID, "wa-supervisor describe acme")]
)
def test_restart_of_what_cannot_be_restarted_says_what_to_do(room: CliRoom, state: State, advice: str) -> None:
    room.has("acme", state)
    room.has("bolt", State.QUARANTINED)
    with answering(room):
        shown = room.run("restart", "acme", "bolt")
    assert (shown.code, shown.out) == (1, "bolt: restart accepted: restart of bolt begun\n")
    assert advice in shown.err
    assert len(commands(room)) == 1


# --wait, with a daemon that the test plays


def until(look: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 - whatever is looked for
    """Look until there is something; a limit ends a test that fails."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.005)  # what is waited for is another process's work
    raise AssertionError(f"never came: {what}")


def follow(room: CliRoom, name: str, state: State) -> None:
    """Follow the record as it is now."""
    record = cast("bytes", room.redis.hget("wa:integrations", name))
    revision = revision_of(name, record)
    room.publish(make_status(name, state, observed_generation=revision, observed_at=wall(), since=wall()))


def test_pause_waits_until_the_daemon_says_that_it_follows(room: CliRoom) -> None:
    room.has("acme")
    process = room.start("pause", "acme", "--wait", "--timeout", str(LONGEST))
    until(lambda: paused(room), "the pause")
    follow(room, "acme", State.DRAINING)
    follow(room, "acme", State.PAUSED)
    shown = ended(process)
    assert (shown.code, shown.out, shown.err) == (0, "acme: paused\nacme: is paused\n", "")


def test_add_waits_until_the_session_runs(room: CliRoom) -> None:
    process = room.start("add", "acme", "--agent", "a", "--session", "s", "--timeout", str(LONGEST))
    until(lambda: room.record("acme"), "the record")
    follow(room, "acme", State.STARTING)
    follow(room, "acme", State.RUNNING)
    assert (ended(process).code, room.redis.hlen("wa:status")) == (0, 1)


def test_add_of_a_paused_one_waits_until_it_is_paused(room: CliRoom) -> None:
    process = room.start("add", "acme", "--agent", "a", "--session", "s", "--paused", "--timeout", str(LONGEST))
    until(lambda: room.record("acme"), "the record")
    follow(room, "acme", State.PAUSED)
    assert ended(process).code == 0


def test_remove_waits_until_the_status_is_gone(room: CliRoom) -> None:
    room.has("acme")
    process = room.start("remove", "acme", "--wait", "--timeout", str(LONGEST))
    until(lambda: room.record("acme") is None, "the removal")
    room.redis.hdel("wa:status", "acme")
    shown = ended(process)
    assert (shown.code, shown.out) == (0, "acme: removed\nacme: is gone\n")


@pytest.mark.parametrize("verb", ["restart", "release"])
def test_a_command_is_waited_for_until_it_is_answered_and_the_session_runs_since(room: CliRoom, verb: str) -> None:
    running = room.has("acme")
    process = room.start(verb, "acme", "--wait", "--timeout", str(LONGEST))
    ((command, fields),) = until(lambda: commands(room), "the command")
    encoded = {key.encode(): value.encode() for key, value in fields.items()}
    answer = answer_to(room.redis, command, encoded, accepting)
    assert process.stdout is not None
    assert process.stdout.readline() == f"acme: {verb} accepted: {verb} of acme begun\n"
    told: dict[str, Any] = {"observed_generation": running.observed_generation, "observed_at": wall()}
    room.publish(make_status("acme", State.QUARANTINED, since=running.since, **told))
    room.publish(make_status("acme", since=answer.at + 3, **told))
    shown = ended(process)
    assert (shown.code, shown.out) == (0, "acme: is running\n")


def test_an_answer_that_comes_late_is_waited_for_too(room: CliRoom) -> None:
    room.has("acme")
    process = room.start("restart", "acme", "--wait", "--timeout", str(LONGEST))
    assert process.stdout is not None
    assert process.stdout.readline() == "acme: told to restart\n"
    ((command, fields),) = commands(room)
    encoded = {key.encode(): value.encode() for key, value in fields.items()}
    answer_to(room.redis, command, encoded, lambda *_: (False, "nothing to restart"))
    shown = ended(process)
    assert (shown.code, shown.err) == (1, "error: acme: nothing to restart\n")


@pytest.mark.parametrize(
    "arguments", [["pause", "acme"], ["restart", "acme"], ["remove", "acme"], ["set", "acme", "typing=false"]]
)
def test_waiting_in_vain_is_5_and_says_where_it_stands(room: CliRoom, arguments: list[str]) -> None:
    room.has("acme")
    shown = room.run(*arguments, "--wait", "--timeout", "0")
    assert shown.code == 5
    assert shown.err.startswith("error: acme: not in 0 s; ")


def test_waiting_for_what_only_the_status_says_was_refused_is_1(room: CliRoom) -> None:
    room.has("acme")
    process = room.start("restart", "acme", "--wait", "--timeout", str(LONGEST))
    ((command, _),) = until(lambda: commands(room), "the command")
    answer = CommandResult(id=command, verb="restart", at=wall(), accepted=False, message="nothing to restart")
    room.publish(make_status("acme", State.INVALID, observed_at=wall(), last_command=answer))
    shown = ended(process)
    assert (shown.code, shown.err) == (1, "error: acme: nothing to restart\n")
