"""The operator's desk: nobody's change is lost, daemons are told, and it loads fast."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from tests.adapters.redis_server import own_server
from wa_supervisor.adapters.redis.address import read_address
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.adapters.redis.direct import DirectLine
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.domain.dead_letters import Replay
from wa_supervisor.domain.errors import ConfigurationError, StoreUnavailableError
from wa_supervisor.domain.names import AgentId


@pytest.fixture
def desk(redis_url: str) -> Iterator[OperatorDesk]:
    with OperatorDesk(redis_url) as desk:
        yield desk


@pytest.fixture
def line(redis_url: str) -> Iterator[DirectLine]:
    line = DirectLine(read_address(redis_url), RedisPolicy())
    yield line
    line.close()


def test_a_record_is_added_changed_and_removed(desk: OperatorDesk) -> None:
    assert desk.wishes() == {}
    assert desk.write("one", lambda old: b"new" if old is None else old) == b"new"
    assert desk.write("one", lambda old: (old or b"") + b"er") == b"newer"
    assert desk.wishes() == {"one": b"newer"}
    assert desk.write("one", lambda _: None) is None
    assert desk.write("one", lambda _: None) is None
    assert desk.wishes() == {}


def test_an_empty_record_is_not_the_same_as_none(desk: OperatorDesk) -> None:
    desk.write("one", lambda _: b"")
    assert desk.wishes() == {"one": b""}
    seen: list[bytes | None] = []

    def change(old: bytes | None) -> bytes:
        seen.append(old)
        return b"\xff\x00"

    desk.write("one", change)
    assert seen == [b""]
    assert desk.wishes() == {"one": b"\xff\x00"}


def test_a_change_made_meanwhile_is_not_lost(desk: OperatorDesk, redis_url: str) -> None:
    calls: list[bytes | None] = []

    def change(old: bytes | None) -> bytes:
        calls.append(old)
        if len(calls) == 1:
            with OperatorDesk(redis_url) as other:
                other.write("one", lambda _: b"theirs")
        return (old or b"") + b" and mine"

    assert desk.write("one", change) == b"theirs and mine"
    assert calls == [None, b"theirs"]


def test_a_record_removed_meanwhile_is_not_brought_back_unseen(desk: OperatorDesk, line: DirectLine) -> None:
    desk.write("one", lambda _: b"there")
    calls: list[bytes | None] = []

    def pause(old: bytes | None) -> bytes | None:
        calls.append(old)
        line.call(b"HDEL", b"wa:integrations", b"one")
        return None if old is None else old + b" paused"

    assert desk.write("one", pause) is None
    assert calls == [b"there", None]
    assert desk.wishes() == {}


def test_many_who_change_one_record_at_once_all_have_their_effect(redis_url: str, desk: OperatorDesk) -> None:
    def count_up(_: int) -> None:
        with OperatorDesk(redis_url) as mine:
            for _ in range(20):
                mine.write("one", lambda old: b"%d" % (int(old or b"0") + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, range(4)))
    assert desk.wishes() == {"one": b"80"}


def test_a_record_that_never_holds_still_is_an_error(desk: OperatorDesk, line: DirectLine) -> None:
    def interfere(old: bytes | None) -> bytes:
        line.call(b"HINCRBY", b"wa:integrations", b"one", b"1")
        return (old or b"") + b"0"

    with pytest.raises(StoreUnavailableError, match="changes faster"):
        desk.write("one", interfere)


def test_what_a_change_raises_comes_out_and_nothing_is_written(desk: OperatorDesk) -> None:
    def refuse(old: bytes | None) -> bytes:
        raise ConfigurationError([f"no such key in {old!r}"])

    with pytest.raises(ConfigurationError):
        desk.write("one", refuse)
    assert desk.wishes() == {}


def test_writing_works_on_a_server_that_lets_nobody_ring(redis_url: str, line: DirectLine, desk: OperatorDesk) -> None:
    line.call(b"ACL", b"SETUSER", b"default", b"resetchannels")
    try:
        with OperatorDesk(redis_url) as narrow:
            narrow.write("one", lambda _: b"1")
    finally:
        line.call(b"ACL", b"SETUSER", b"default", b"allchannels")
    assert desk.wishes() == {"one": b"1"}


def test_commands_are_numbered_in_order_and_say_who_gave_them(desk: OperatorDesk, line: DirectLine) -> None:
    ids = desk.command("restart", ["one", "two-ç"], "because", by="ana@host")
    rows = line.call(b"XRANGE", b"wa:commands", b"-", b"+")
    assert isinstance(rows, list)
    assert [row[0].decode() for row in rows] == ids
    fields = [dict(zip(row[1][::2], row[1][1::2], strict=True)) for row in rows]
    assert fields[1] == {
        b"verb": b"restart",
        b"reason": b"because",
        b"by": b"ana@host",
        b"integration_id": "two-ç".encode(),
    }
    assert desk.command("restart", []) == []


def test_commands_are_bounded(redis_url: str, line: DirectLine) -> None:
    with OperatorDesk(redis_url, policy=RedisPolicy(commands_maxlen=100)) as desk:
        desk.command("restart", [str(number) for number in range(1000)])
    length = line.call(b"XLEN", b"wa:commands")
    assert isinstance(length, int)
    assert 100 <= length <= 300


def test_a_status_that_cannot_be_read_is_left_out_with_a_warning(
    desk: OperatorDesk, line: DirectLine, caplog: pytest.LogCaptureFixture
) -> None:
    good = {
        "id": "good",
        "agent_id": "a",
        "session": "s",
        "gateway": "g",
        "state": "running",
        "reason": "Up",
        "message": "m",
        "since": 1.0,
        "a_field_of_a_later_version": 1,
    }
    later = {**good, "id": "later", "state": "a state of a later version"}
    for name, data in (("good", msgspec.json.encode(good)), ("later", msgspec.json.encode(later)), ("bad", b"\xff{")):
        line.call(b"HSET", b"wa:status", name.encode(), data)
    with caplog.at_level(logging.WARNING):
        assert set(desk.statuses()) == {"good"}
    assert {vars(record)["about"] for record in caplog.records} == {"later", "bad"}


def test_a_command_to_the_daemons_names_no_integration(desk: OperatorDesk, line: DirectLine) -> None:
    issued = desk.command_daemons("confirm", "they are gone", by="ana@host")
    rows = line.call(b"XRANGE", b"wa:commands", b"-", b"+")
    assert isinstance(rows, list)
    ((entry, flat),) = rows
    assert entry.decode() == issued
    assert flat == [b"verb", b"confirm", b"reason", b"they are gone", b"by", b"ana@host"]


def test_answers_that_are_there_are_given_and_those_that_cannot_be_read_are_told(
    desk: OperatorDesk, line: DirectLine, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"id": "1-0", "verb": "restart", "at": 1.0, "accepted": True, "message": "m"}
    line.call(b"SET", b"wa:answer:1-0", msgspec.json.encode(good))
    line.call(b"SET", b"wa:answer:2-0", b"?")
    with caplog.at_level(logging.WARNING):
        found = desk.answers(["1-0", "2-0", "3-0"])
    assert [(name, answer.message) for name, answer in found.items()] == [("1-0", "m")]
    assert len(caplog.records) == 1
    assert desk.answers([]) == {}


def test_some_are_read_without_the_others(desk: OperatorDesk, line: DirectLine) -> None:
    for name in ("one", "two"):
        desk.write(name, lambda _: b"record")
        status = {
            "id": name,
            "agent_id": "a",
            "session": "s",
            "gateway": "g",
            "state": "running",
            "reason": "Up",
            "message": "m",
            "since": 1.0,
        }
        line.call(b"HSET", b"wa:status", name.encode(), msgspec.json.encode(status))
    assert list(desk.statuses_of(["two", "three"])) == ["two"]
    assert desk.wishes_of(["two", "three"]) == {"two": b"record"}
    assert (desk.statuses_of([]), desk.wishes_of([])) == ({}, {})


# Events


def record(line: DirectLine, *numbers: int) -> list[str]:
    added = [line.call(b"XADD", b"wa:events", b"*", b"event", b"%d" % number) for number in numbers]
    return [entry.decode() for entry in added if isinstance(entry, bytes)]


def test_events_are_read_newest_first_however_many(desk: OperatorDesk, line: DirectLine) -> None:
    entries = record(line, *range(1203))
    assert desk.newest_entry() == entries[-1]
    assert list(desk.events(entries[-2])) == [(entries[n], b"%d" % n) for n in range(1201, -1, -1)]


def test_a_history_that_is_empty_has_no_events(desk: OperatorDesk) -> None:
    assert (desk.newest_entry(), list(desk.events("0-0"))) == ("0-0", [])


def test_an_entry_that_is_no_event_is_read_as_nothing(desk: OperatorDesk, line: DirectLine) -> None:
    entry = line.call(b"XADD", b"wa:events", b"*", b"other", b"field")
    assert isinstance(entry, bytes)
    assert list(desk.events(entry.decode())) == [(entry.decode(), b"")]


def test_a_watch_gives_what_comes_after_an_entry_in_order(redis_url: str, line: DirectLine) -> None:
    first, *later = record(line, 0, 1, 2)
    with OperatorDesk(redis_url, policy=RedisPolicy(command_timeout=1.0)) as desk:
        assert desk.events_after(first) == (later[-1], [(later[0], b"1"), (later[1], b"2")])
        assert desk.events_after(later[-1]) == (later[-1], [])


def test_a_watch_sees_that_the_server_is_gone() -> None:
    with own_server() as server, OperatorDesk(server.url, policy=RedisPolicy(command_timeout=1.0)) as desk:
        assert desk.events_after("0-0") == ("0-0", [])
        server.kill()
        with pytest.raises(StoreUnavailableError):
            desk.events_after("0-0")


def test_a_daemon_whose_time_ran_out_is_not_shown(desk: OperatorDesk, line: DirectLine) -> None:
    line.call(b"SADD", b"wa:daemons", b"gone")
    assert desk.daemons() == []


def test_another_prefix_is_another_installation(redis_url: str, desk: OperatorDesk) -> None:
    with OperatorDesk(redis_url, prefix="b") as other:
        other.write("one", lambda _: b"1")
        assert desk.wishes() == {}
        assert other.wishes() == {"one": b"1"}


def test_an_unreachable_server_says_what_to_do() -> None:
    with (
        OperatorDesk("unix:///tmp/there-is-no-such-socket") as desk,
        pytest.raises(StoreUnavailableError, match=r"see whether it runs and whether redis\.url is right"),
    ):
        desk.statuses()


def test_a_desk_goes_on_after_its_server_was_away() -> None:
    with own_server() as server, OperatorDesk(server.url) as desk:
        desk.write("one", lambda _: b"1")
        server.kill()
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                desk.wishes()
        server.start()
        assert desk.wishes() == {}


def test_databases_are_apart(redis_url: str, desk: OperatorDesk) -> None:
    base = redis_url.partition("?")[0] if redis_url.startswith("unix") else redis_url
    url = f"{base}?db=5"
    with OperatorDesk(url) as other:
        other.write("five", lambda _: b"1")
        assert other.wishes() == {"five": b"1"}
    assert desk.wishes() == {}


def test_loading_the_desk_does_not_load_what_is_slow_to_load() -> None:
    slow = "{'redis', 'ssl', 'asyncio', 'anyio'}"
    code = f"import sys, wa_supervisor.adapters.redis.desk; print(sorted({slow} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


# Dead letters


REPLAY = Replay(agent_id=AgentId("a"), payload=b'{"n":1}')


def bury(line: DirectLine, *texts: bytes) -> list[str]:
    added = [line.call(b"XADD", b"wa:dead", b"*", b"letter", text) for text in texts]
    return [entry.decode() for entry in added if isinstance(entry, bytes)]


def length(line: DirectLine, key: bytes) -> object:
    return line.call(b"XLEN", key)


def test_letters_are_read_from_either_end_however_many(desk: OperatorDesk, line: DirectLine) -> None:
    entries = bury(line, *(b"%d" % number for number in range(123)))
    expected = [(entry, b"%d" % number) for number, entry in enumerate(entries)]
    assert list(desk.dead_letters()) == expected[::-1]
    assert list(desk.dead_letters_so_far()) == expected
    assert desk.dead_letter(entries[7]) == expected[7]
    assert desk.dead_letter("1-0") is None


def test_reading_all_letters_ends_although_new_ones_come(desk: OperatorDesk, line: DirectLine) -> None:
    entries = bury(line, *(b"old" for _ in range(60)))
    read = []
    for entry, _ in desk.dead_letters_so_far():
        read.append(entry)
        bury(line, b"new")
    assert read == entries


def test_no_letters_are_none(desk: OperatorDesk) -> None:
    assert (list(desk.dead_letters()), list(desk.dead_letters_so_far())) == ([], [])


def test_a_letter_is_replayed_once_however_many_try_at_once(redis_url: str, line: DirectLine) -> None:
    entries = bury(line, *(b"letter" for _ in range(50)))

    def replay(_: int) -> list[str]:
        with OperatorDesk(redis_url) as mine:
            return [entry for entry in entries if mine.replay(entry, REPLAY) is not None]

    with ThreadPoolExecutor(4) as pool:
        done = [entry for each in pool.map(replay, range(4)) for entry in each]
    assert sorted(done) == sorted(entries)
    assert (length(line, b"wa:dead"), length(line, b"agent:a:output")) == (0, 50)


def test_a_replay_races_a_drop_and_one_of_them_wins(redis_url: str, line: DirectLine) -> None:
    entries = bury(line, *(b"letter" for _ in range(50)))

    def work(kind: str) -> int:
        with OperatorDesk(redis_url) as mine:
            if kind == "drop":
                return sum(mine.drop(entry) for entry in entries)
            return sum(mine.replay(entry, REPLAY) is not None for entry in entries)

    with ThreadPoolExecutor(2) as pool:
        dropped, replayed = pool.map(work, ["drop", "replay"])
    assert dropped + replayed == 50
    assert (length(line, b"wa:dead"), length(line, b"agent:a:output")) == (0, replayed)


def test_a_letter_stays_when_the_stream_of_its_agent_is_none(desk: OperatorDesk, line: DirectLine) -> None:
    (entry,) = bury(line, b"letter")
    line.call(b"SET", b"agent:a:output", b"text")
    with pytest.raises(RefusalError, match="WRONGTYPE"):
        desk.replay(entry, REPLAY)
    assert length(line, b"wa:dead") == 1


def test_nothing_is_replayed_by_whoever_may_not_take_the_letter_out(redis_url: str, line: DirectLine) -> None:
    (entry,) = bury(line, b"letter")
    line.call(b"ACL", b"SETUSER", b"default", b"-xdel")
    try:
        with OperatorDesk(redis_url) as narrow, pytest.raises(RefusalError):
            narrow.replay(entry, REPLAY)
    finally:
        line.call(b"ACL", b"SETUSER", b"default", b"+xdel")
    assert (length(line, b"wa:dead"), length(line, b"agent:a:output")) == (1, 0)


def test_a_replay_works_on_a_server_that_lets_nobody_ring(redis_url: str, line: DirectLine) -> None:
    (entry,) = bury(line, b"letter")
    line.call(b"ACL", b"SETUSER", b"default", b"resetchannels")
    try:
        with OperatorDesk(redis_url) as narrow:
            assert narrow.replay(entry, REPLAY) is not None
    finally:
        line.call(b"ACL", b"SETUSER", b"default", b"allchannels")
    assert length(line, b"wa:dead") == 0


def test_a_letter_is_dropped_once(desk: OperatorDesk, line: DirectLine) -> None:
    (entry,) = bury(line, b"letter")
    assert [desk.drop(entry), desk.drop(entry)] == [True, False]
    assert desk.replay(entry, REPLAY) is None
    assert length(line, b"agent:a:output") == 0


# What the server says of itself


def test_a_server_says_what_it_is_and_what_time_it_has(desk: OperatorDesk) -> None:
    assert desk.facts()["redis_version"]
    assert desk.time() > 1_700_000_000
    assert desk.configured(["appendonly", "no-such-setting"]).keys() == {"appendonly"}


def test_settings_that_nobody_may_look_at_are_left_out(redis_url: str, line: DirectLine) -> None:
    line.call(b"ACL", b"SETUSER", b"default", b"-config|get")
    try:
        with OperatorDesk(redis_url) as narrow:
            assert narrow.configured(["appendonly"]) == {}
    finally:
        line.call(b"ACL", b"SETUSER", b"default", b"+config|get")
