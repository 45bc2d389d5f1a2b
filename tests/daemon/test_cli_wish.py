"""`add`, `set`, `remove`: what is written, what is refused, and that nobody's change is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.cli_room import CliRoom, ended
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.cli.changing import Changes
from wa_supervisor.cli.records import decoded, encoded, with_keys
from wa_supervisor.domain.integration import Defaults, Integration, read_integration
from wa_supervisor.domain.names import GatewayName


@pytest.fixture
def room(redis_url: str, tmp_path: Path) -> Iterator[CliRoom]:
    with CliRoom(redis_url, tmp_path) as opened:
        opened.announce()
        yield opened


def followed(room: CliRoom, name: str) -> Integration:
    """Read the record as the daemon does; it must be one that can be followed."""
    record: Any = room.redis.hget("wa:integrations", name)
    known = frozenset({GatewayName("main"), GatewayName("second")})
    read = read_integration(name, record, Defaults(gateways=known, gateway=GatewayName("main")))
    assert isinstance(read, Integration), read
    return read


# add


def test_add_writes_a_record_that_the_daemon_can_follow(room: CliRoom, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("tok-1\n")
    shown = room.run(
        *("add", "acme", "--agent", "agent-1", "--session", "acme", "--gateway", "second", "--token-file", str(token)),
        *("--phone", "5511988887777", "--paused", "--no-typing"),
    )
    assert (shown.code, shown.out, shown.err) == (0, "acme: added\n", "")
    read = followed(room, "acme")
    assert (read.agent_id, read.session, read.gateway, read.token) == ("agent-1", "acme", "second", "tok-1")
    assert (read.phone, read.paused, read.typing) == ("5511988887777", True, False)


def test_add_leaves_out_what_was_not_said(room: CliRoom) -> None:
    assert room.run("add", "acme", "--agent", "a", "--session", "s").code == 0
    assert room.record("acme") == {"agent_id": "a", "session": "s"}


def test_add_reads_a_token_from_stdin(room: CliRoom) -> None:
    shown = room.run("add", "acme", "--agent", "a", "--session", "s", "--token-file", "-", given="tok-2\n")
    assert shown.code == 0
    assert room.record("acme") == {"agent_id": "a", "session": "s", "token": "tok-2"}
    assert "tok-2" not in shown.out + shown.err


def test_add_refuses_an_id_that_is_there_and_names_set(room: CliRoom) -> None:
    before = room.declare("acme")
    shown = room.run("add", "acme", "--agent", "other", "--session", "other")
    assert (shown.code, shown.out) == (1, "")
    assert "wa-supervisor set acme" in shown.err
    assert room.redis.hget("wa:integrations", "acme") == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--session", "not a name"], "session: must be 1 to 40 letters"),
        (["--session", "s", "--phone", "+55 11"], "phone: must be 7 to 15 digits"),
        (["--session", "s", "--gateway", "mian"], "gateway: no gateway 'mian' is configured; known: main, second"),
        ([], "session: missing"),
        (["--session", "taken"], "session 'taken' at gateway 'main' already belongs to 'zeta'"),
    ],
)
def test_add_refuses_what_the_daemon_could_not_follow(room: CliRoom, arguments: list[str], why: str) -> None:
    room.declare("zeta", session="taken")
    shown = room.run("add", "acme", "--agent", "a", *arguments)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith("error: acme: ")
    assert why in shown.err
    assert room.record("acme") is None


def test_add_without_any_configured_gateway_writes_and_warns(redis_url: str, tmp_path: Path) -> None:
    with CliRoom(redis_url, tmp_path, settings="") as room:
        room.announce()
        for extra in (["--gateway", "elsewhere"], []):
            name = f"acme{len(extra)}"
            shown = room.run("add", name, "--agent", "a", "--session", name, *extra)
            assert (shown.code, shown.out) == (0, f"{name}: added\n")
            assert "no gateway is configured here" in shown.err
        shown = room.run("add", "other", "--agent", "a", "--session", "acme2", "--gateway", "elsewhere")
        assert (shown.code, "already belongs to 'acme2'" in shown.err) == (1, True)


def test_add_without_a_living_daemon_says_that_nothing_happens_yet(redis_url: str, tmp_path: Path) -> None:
    with CliRoom(redis_url, tmp_path) as room:
        shown = room.run("add", "acme", "--agent", "a", "--session", "s")
    assert (shown.code, shown.out) == (0, "acme: added\n")
    assert shown.err == "warning: no daemon is alive; it takes effect when one is started\n"


@pytest.mark.parametrize("content", ["", "two words", "two\nlines", "x" * 20_000])
def test_a_token_file_must_hold_one_secret_which_is_never_repeated(room: CliRoom, tmp_path: Path, content: str) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    shown = room.run("add", "acme", "--agent", "a", "--session", "s", "--token-file", str(token))
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith(f"error: {token} ")
    assert not content or content not in shown.err
    assert room.record("acme") is None


def test_a_token_file_that_is_not_there_is_an_error_with_its_name(room: CliRoom, tmp_path: Path) -> None:
    shown = room.run("set", "acme", "--token-file", str(tmp_path / "none"))
    assert (shown.code, shown.err) == (1, f"error: {tmp_path}/none cannot be read: No such file or directory\n")


# set


def test_set_changes_takes_out_and_keeps_the_rest(room: CliRoom) -> None:
    room.declare("acme", token="tok-1", phone="5511988887777", integration_type="whatsapp")
    shown = room.run("set", "acme", "typing=false", "phone=", "gateway=second", "pause_reason=true story")
    assert (shown.code, shown.out, shown.err) == (0, "acme: changed\n", "")
    assert room.record("acme") == {
        "agent_id": "agent-1",
        "session": "acme",
        "gateway": "second",
        "token": "tok-1",
        "integration_type": "whatsapp",
        "typing": False,
        "pause_reason": "true story",
    }


def test_set_reads_text_as_text_even_if_it_looks_like_a_number(room: CliRoom) -> None:
    room.declare("acme")
    assert room.run("set", "acme", "phone=5511988887777", "agent_id=12").code == 0
    assert (room.record("acme") or {})["phone"] == "5511988887777"
    assert followed(room, "acme").agent_id == "12"


@pytest.mark.parametrize("spelling", ["session", "sessionName", "session_name"])
@pytest.mark.parametrize("stored", ["session", "sessionName", "session_name"])
def test_set_of_the_session_takes_its_other_spellings_out(room: CliRoom, stored: str, spelling: str) -> None:
    room.redis.hset("wa:integrations", "acme", encoded({"agent_id": "a", stored: "old"}))
    assert room.run("set", "acme", f"{spelling}=new").code == 0
    assert followed(room, "acme").session == "new"


def test_set_takes_a_token_and_a_proxy_from_files(room: CliRoom, tmp_path: Path) -> None:
    room.declare("acme")
    proxy = tmp_path / "proxy.json"
    proxy.write_text('{"url": "http://10.0.0.1:3128", "username": "u", "password": "hunter2"}')
    shown = room.run("set", "acme", "--token-file", "-", "--proxy-file", str(proxy), given="tok-9\n")
    assert (shown.code, shown.out, shown.err) == (0, "acme: changed\n", "")
    read = followed(room, "acme")
    assert read.token == "tok-9"
    assert read.proxy is not None
    assert read.proxy.password == "hunter2"


@pytest.mark.parametrize("content", ["", "{", "[" * 5000, '{"password": hunter2}'])
def test_a_proxy_file_must_hold_json_which_is_never_repeated(room: CliRoom, content: str) -> None:
    room.declare("acme")
    shown = room.run("set", "acme", "--proxy-file", "-", given=content)
    assert (shown.code, shown.out, shown.err) == (1, "", "error: stdin must hold JSON and nothing else\n")


@pytest.mark.parametrize(
    "assignment", ["token=hunter2", 'proxy={"url": "http://10.0.0.1:1", "password": "hunter2"}', 'proxy={"password":1}']
)
def test_set_takes_no_secret_from_the_command_line(room: CliRoom, assignment: str) -> None:
    room.declare("acme")
    shown = room.run("set", "acme", assignment)
    assert (shown.code, shown.out) == (1, "")
    assert "a secret never stands on a command line" in shown.err
    assert "hunter2" not in shown.err


def test_set_can_take_a_secret_out(room: CliRoom) -> None:
    room.declare("acme", token="tok-1")
    assert room.run("set", "acme", "token=").code == 0
    assert "token" not in (room.record("acme") or {})


@pytest.mark.parametrize(
    ("assignment", "why"),
    [
        ("pausd=true", "pausd: no such key; did you mean 'paused'?"),
        ("paused=yes", "paused: must be true or false"),
        ("gateway=mian", "no gateway 'mian' is configured"),
        ("agent_id=", "agent_id: missing"),
        ("session=taken", "already belongs to 'zeta'"),
    ],
)
def test_set_refuses_what_the_daemon_could_not_follow(room: CliRoom, assignment: str, why: str) -> None:
    room.declare("zeta", session="taken")
    before = room.declare("acme")
    shown = room.run("set", "acme", assignment)
    assert (shown.code, shown.out) == (1, "")
    assert why in shown.err
    assert room.redis.hget("wa:integrations", "acme") == before


def test_set_mends_a_record_that_could_not_be_followed(room: CliRoom) -> None:
    room.declare("acme", pausd=True)
    assert room.run("set", "acme", "pausd=", "paused=true").code == 0
    assert followed(room, "acme").paused


def test_set_of_nothing_new_says_so_and_writes_nothing(room: CliRoom) -> None:
    room.declare("acme", typing=True)
    assert room.run("set", "acme", "typing=true").out == "acme: nothing to change\n"


def test_set_is_4_for_an_id_that_nobody_has(room: CliRoom) -> None:
    shown = room.run("set", "acme", "typing=false")
    assert (shown.code, shown.out) == (4, "")
    assert shown.err == "error: no session 'acme' is declared; see: wa-supervisor status\n"


@pytest.mark.parametrize("arguments", [[], ["typing"], ["=x"]])
def test_set_without_a_change_is_refused(room: CliRoom, arguments: list[str]) -> None:
    room.declare("acme")
    assert room.run("set", "acme", *arguments).code == (1 if arguments else 2)


@pytest.mark.parametrize("record", [b"no json", b"[]", b"\xff"])
def test_set_of_a_record_that_is_no_object_says_what_to_do(room: CliRoom, record: bytes) -> None:
    room.redis.hset("wa:integrations", "acme", record)
    shown = room.run("set", "acme", "typing=false")
    assert (shown.code, "remove and add it" in shown.err) == (1, True)


# Concurrent changes


def test_a_change_made_meanwhile_is_kept(room: CliRoom) -> None:
    room.declare("acme")
    seen: list[bytes | None] = []

    def change(old: bytes | None) -> bytes:
        assert old is not None
        if not seen:
            room.declare("acme", phone="5511988887777")
        seen.append(old)
        return encoded(with_keys(decoded("acme", old), {"typing": False}))

    with OperatorDesk(room.url) as desk:
        changes = Changes(desk)
        changes.write("acme", change, "changed")
        changes.end()
    assert len(seen) == 2
    record = room.record("acme") or {}
    assert (record["phone"], record["typing"]) == ("5511988887777", False)


def test_processes_that_change_one_record_at_once_lose_nothing(room: CliRoom) -> None:
    room.declare("acme")
    changes = ["typing=false", "phone=5511988887777", "pause_reason=moving", "gateway=second"]
    processes = [room.start("set", "acme", change) for change in changes]
    assert [ended(process).code for process in processes] == [0] * 4
    record = room.record("acme") or {}
    assert [record[key] for key in ("typing", "phone", "pause_reason", "gateway")] == [
        False,
        "5511988887777",
        "moving",
        "second",
    ]


def test_of_processes_that_add_one_id_at_once_one_wins(room: CliRoom) -> None:
    agents = ["a", "b", "c"]
    processes = [room.start("add", "acme", "--agent", agent, "--session", "acme") for agent in agents]
    codes = [ended(process).code for process in processes]
    assert sorted(codes) == [0, 1, 1]
    assert (room.record("acme") or {})["agent_id"] == agents[codes.index(0)]


# remove


def test_remove_takes_records_out(room: CliRoom) -> None:
    room.declare("acme")
    room.declare("bolt")
    shown = room.run("remove", "acme", "bolt", "acme")
    assert (shown.code, shown.out) == (0, "acme: removed\nbolt: removed\n")
    assert room.redis.hlen("wa:integrations") == 0


def test_remove_takes_out_a_record_that_cannot_be_read(room: CliRoom) -> None:
    room.redis.hset("wa:integrations", "acme", b"no json")
    assert room.run("remove", "acme").code == 0


def test_remove_of_one_that_is_not_there_is_4_and_the_others_are_removed(room: CliRoom) -> None:
    room.declare("bolt")
    shown = room.run("remove", "acme", "bolt")
    assert (shown.code, shown.out) == (4, "bolt: removed\n")
    assert shown.err.startswith("error: no session 'acme' is declared")


def test_remove_takes_no_globs(room: CliRoom) -> None:
    room.declare("acme")
    assert room.run("remove", "*").code == 4
    assert room.record("acme") is not None
