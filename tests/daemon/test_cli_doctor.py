"""`doctor`: what is amiss with the neighbours is found and said with what mends it, and nothing is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from anyio.from_thread import start_blocking_portal

from tests.adapters.redis_server import own_server
from tests.adapters.scripted_server import Peer, serving
from tests.daemon.cli_room import CliRoom, make_daemon
from wa_supervisor import __version__
from wa_supervisor.adapters.postgres.queries import queries
from wa_supervisor.cli.findings import Verdict, as_json, doubtful, draw, fine, parted, without, worst, wrong
from wa_supervisor.cli.redis_findings import clock, daemons, memory, notifications, server
from wa_supervisor.embedded import EmbeddedEndpoints
from wa_supervisor.embedded.endpoints import endpoints_shown
from wa_supervisor.simulator import SimulatedGateway, simulated_gateway

SECRET = "a-secret/of ours"
NOWHERE = "unix:///tmp/there-is-no-such-socket"


@contextmanager
def gateway(secret: str = SECRET) -> Iterator[SimulatedGateway]:
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(simulated_gateway(secret=secret)) as running,
    ):
        yield running


@contextmanager
def scripted(script: Callable[[Peer], Any]) -> Iterator[str]:
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(serving(script)) as running:
        yield running.url


async def answering(peer: Peer, *, health: bytes, token: bytes) -> None:
    """Answer `healthz` and `generate-token`, once each."""
    received = await peer.read_request()
    await peer.send(health if "healthz" in received.line else token)


def http(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def at(url: str, *, secret: str = SECRET, more: str = "") -> str:
    return f'[gateways.main]\nurl = "{url}"\nsecret = "{secret}"\n{more}'


@contextmanager
def room_with(redis_url: str, folder: Path, settings: str) -> Iterator[CliRoom]:
    with CliRoom(redis_url, folder, settings=settings) as room:
        yield room


def found(room: CliRoom, *, code: int = 0) -> dict[str, tuple[str, str, str | None]]:
    """Run it; give verdict, message and what mends it of each check."""
    shown = room.run("doctor", "-o", "json")
    assert (shown.code, shown.err) == (code, "")
    document = shown.json
    assert set(document) == {"schema", "verdict", "checks"}
    assert document["schema"] == 1
    assert all(set(each) == {"check", "verdict", "message", "mend"} for each in document["checks"])
    assert all((each["mend"] is None) == (each["verdict"] == "ok") for each in document["checks"])
    return {each["check"]: (each["verdict"], each["message"], each["mend"]) for each in document["checks"]}


# All of it


def test_where_all_is_well_it_says_so_and_is_0(redis_url: str, database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(queries()["create_tables"])
    postgres = f'[postgres]\nurl = "{database_url}"\n'
    with gateway() as running, room_with(redis_url, tmp_path, at(running.url, more=postgres)) as room:
        room.announce(version=__version__)
        checks = found(room)
        assert set(checks) == {
            *("configuration", "redis", "redis.persistence", "redis.eviction", "redis.notifications", "redis.clock"),
            *("daemons.d1", "postgres", "postgres.tables", "gateways.main", "gateways.main.secret"),
        }
        assert {check: told for check, told in checks.items() if told[0] == "problem"} == {}
        shown = room.run("doctor")
        assert (shown.code, shown.err) == (0, "")
        assert shown.out.splitlines()[0].split() == ["ok", "configuration", str(room.config)]


def test_nothing_is_written_and_no_session_touched(redis_url: str, database_url: str, tmp_path: Path) -> None:
    postgres = f'[postgres]\nurl = "{database_url}"\n'
    with gateway() as running, room_with(redis_url, tmp_path, at(running.url, more=postgres)) as room:
        assert found(room)["postgres.tables"][0] == "warning"
        assert room.redis.dbsize() == 0
        assert running.sessions == {}
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT to_regclass('users')").fetchone()
    assert row == (None,)


def test_a_wrong_configuration_is_78_and_nothing_else_is_looked_at(tmp_path: Path) -> None:
    with room_with(NOWHERE, tmp_path, "[gateways.main]\nurl = 'ftp://x'\nseceret = 'hunter22'\n") as room:
        checks = room.run("doctor", "-o", "json")
        assert (checks.code, checks.json["verdict"]) == (78, "problem")
        assert [each["check"] for each in checks.json["checks"]] == ["configuration"] * 2
        shown = room.run("doctor")
    assert shown.code == 78
    assert "gateways.main.url" in shown.out
    assert "hunter22" not in shown.out + checks.out


def test_everything_that_is_away_is_a_problem_of_its_own_and_is_1(tmp_path: Path) -> None:
    postgres = '[postgres]\nurl = "postgresql://hub:hunter22@127.0.0.1:1/hub"\n'
    with room_with(NOWHERE, tmp_path, at("http://127.0.0.1:1", more=postgres)) as room:
        checks = found(room, code=1)
        shown = room.run("doctor")
    assert {check for check, told in checks.items() if told[0] == "problem"} == {"redis", "postgres", "gateways.main"}
    assert checks["redis"][2] == "see whether it runs and whether redis.url is right"
    for secret in ("hunter22", SECRET):
        assert secret not in shown.out + str(checks)


def test_a_notice_about_the_configuration_is_a_warning(redis_url: str, tmp_path: Path) -> None:
    with gateway() as running, room_with(redis_url, tmp_path, f'[gateways.main]\nurl = "{running.url}"\n') as room:
        checks = found(room)
    assert "has neither secret nor token" in checks["configuration"][1]
    assert checks["gateways.main.secret"][0] == "warning"


def test_wrong_use_is_2(tmp_path: Path) -> None:
    with CliRoom(NOWHERE, tmp_path) as room:
        assert room.run("doctor", "acme").code == 2
        assert room.run("doctor", "-o", "yaml").code == 2


# Redis


@contextmanager
def weak_server(folder: Path, *options: str) -> Iterator[CliRoom]:
    with own_server(*options) as own, gateway() as running, room_with(own.url, folder, at(running.url)) as room:
        yield room


def forbid(room: CliRoom, *rules: str) -> None:
    cast("Any", room.redis).execute_command("ACL", "SETUSER", "default", *rules)


def test_a_server_that_forgets_and_removes_is_found_out(tmp_path: Path) -> None:
    options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with weak_server(tmp_path, *options) as room:
        checks = found(room, code=1)
    assert checks["redis.persistence"][::2] == ("warning", "CONFIG SET appendonly yes")
    assert checks["redis.eviction"][::2] == ("problem", "CONFIG SET maxmemory-policy noeviction")
    assert checks["redis.notifications"][0] == "ok"
    assert checks["redis.clock"][0] == "ok"
    assert checks["daemons"][0] == "warning"


def test_a_server_that_keeps_everything_is_fine(tmp_path: Path) -> None:
    options = ("--appendonly", "yes", "--appendfsync", "always", "--notify-keyspace-events", "KEA")
    with weak_server(tmp_path, *options) as room:
        checks = found(room)
    for check in ("redis", "redis.persistence", "redis.eviction", "redis.notifications"):
        assert checks[check][0] == "ok", checks[check]


def test_a_server_that_lets_nobody_look_is_a_warning_and_not_taken_for_fine(tmp_path: Path) -> None:
    with weak_server(tmp_path) as room:
        forbid(room, "-config", "-time", "-info")
        checks = found(room)
    for check in ("redis", "redis.persistence", "redis.eviction", "redis.notifications", "redis.clock"):
        assert checks[check][0] == "warning", checks[check]


def test_where_settings_are_hidden_info_says_what_it_can(tmp_path: Path) -> None:
    with weak_server(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as room:
        forbid(room, "-config")
        checks = found(room, code=1)
    assert checks["redis.eviction"][0] == "problem"
    assert checks["redis.persistence"][0] == "warning"


def test_a_server_that_wants_a_password_is_a_problem_without_showing_one(tmp_path: Path) -> None:
    with own_server("--requirepass", "hunter22") as own, CliRoom(own.url, tmp_path) as room:
        shown = room.run("doctor")
        assert (shown.code, "-> give redis.password" in shown.out) == (1, True)
        room.configure(room.config.read_text().replace("[redis]\n", '[redis]\npassword = "hunter23"\n'))
        shown = room.run("doctor")
        assert (shown.code, "hunter" in shown.out) == (1, False)


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"redis_version": "7.0.15"}, Verdict.OK),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.0.1"}, Verdict.OK),
        ({"redis_version": "10.1.0"}, Verdict.OK),
        ({"redis_version": "6.2.14"}, Verdict.PROBLEM),
        ({"redis_version": "unstable"}, Verdict.WARNING),
        ({"redis_version": "7"}, Verdict.WARNING),
        ({}, Verdict.WARNING),
        ({"redis_version": "7.2.4", "redis_mode": "cluster"}, Verdict.PROBLEM),
        ({"redis_version": "7.2.4", "role": "slave"}, Verdict.PROBLEM),
    ],
)
def test_what_a_server_is_is_judged_by_what_it_says(facts: dict[str, str], verdict: Verdict) -> None:
    assert server(facts).verdict is verdict


def test_the_name_of_a_server_is_its_own() -> None:
    assert server({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.0.1"}).message == (
        "Valkey 9.0.1"
    )


@pytest.mark.parametrize(
    ("ahead", "asked_for", "verdict"),
    [
        (0.0, 0.0, Verdict.OK),
        (2.0, 0.0, Verdict.OK),
        (-2.0, 0.0, Verdict.OK),
        (2.1, 0.0, Verdict.WARNING),
        (-2.1, 0.0, Verdict.WARNING),
        (4.0, 3.0, Verdict.OK),
        (-2.1, 3.0, Verdict.WARNING),
        (5.5, 3.0, Verdict.WARNING),
    ],
)
def test_clocks_may_be_two_seconds_apart_beyond_doubt(ahead: float, asked_for: float, verdict: Verdict) -> None:
    judged = clock(ahead, asked_for=asked_for)
    assert judged.verdict is verdict
    if verdict is Verdict.WARNING:
        assert ("ahead of" if ahead > 0 else "behind") in judged.message


def test_what_is_on_disk_is_judged() -> None:
    def verdicts(**config: str) -> list[str]:
        return [each.verdict.value for each in memory({}, {key.replace("_", "-"): v for key, v in config.items()})]

    assert verdicts(appendonly="yes", appendfsync="always", maxmemory="0") == ["ok", "ok"]
    assert verdicts(appendonly="yes", appendfsync="everysec", maxmemory="9", maxmemory_policy="noeviction") == [
        "warning",
        "ok",
    ]
    assert verdicts(appendonly="no", save="60 1", maxmemory="9", maxmemory_policy="volatile-lru") == [
        "warning",
        "problem",
    ]
    assert verdicts() == ["warning", "warning"]


def test_notifications_that_a_daemon_may_switch_on_are_no_worry() -> None:
    name = "notify-keyspace-events"
    assert notifications({name: "Kh"}, may_configure=False).verdict is Verdict.OK
    assert notifications({name: ""}, may_configure=True).verdict is Verdict.OK
    off = notifications({name: "Ex"}, may_configure=False)
    assert (off.verdict, off.mend) == (Verdict.WARNING, "CONFIG SET notify-keyspace-events ExKh")
    assert notifications({}, may_configure=True).verdict is Verdict.WARNING


def test_daemons_say_what_they_lack() -> None:
    (none,) = daemons([], 0.0)
    assert (none.verdict, none.check) == (Verdict.WARNING, "daemons")
    (well,) = daemons([make_daemon(version=__version__)], 0.0)
    assert well.verdict is Verdict.OK
    (coming,) = daemons([make_daemon(version=__version__, ready=False, missing=["a; b"])], 0.0)
    assert (coming.verdict, "not ready" in coming.message) == (Verdict.WARNING, True)
    lacking, old = daemons([make_daemon(version="0.0.1", missing=["no notifications; set Kh"])], 0.0)
    assert (lacking.message, lacking.mend) == ("no notifications", "set Kh")
    assert "0.0.1" in old.message


# PostgreSQL


def test_a_table_that_lacks_a_column_is_a_problem(redis_url: str, database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(queries()["create_tables"])
        connection.execute("ALTER TABLE users DROP COLUMN username")
    postgres = f'[postgres]\nurl = "{database_url}"\n'
    with gateway() as running, room_with(redis_url, tmp_path, at(running.url, more=postgres)) as room:
        verdict, message, mend = found(room, code=1)["postgres.tables"]
    assert (verdict, message) == ("problem", "table users has no column username")
    assert str(mend).startswith("GRANT")


def test_no_database_is_fine(redis_url: str, tmp_path: Path) -> None:
    with gateway() as running, room_with(redis_url, tmp_path, at(running.url)) as room:
        assert found(room)["postgres"][:2] == (
            "ok",
            "not configured: agents see everybody as not authenticated",
        )


# Gateways


def test_a_wrong_secret_is_a_problem_and_is_not_shown(redis_url: str, tmp_path: Path) -> None:
    with gateway("another") as running, room_with(redis_url, tmp_path, at(running.url)) as room:
        checks = found(room, code=1)
    assert checks["gateways.main"][0] == "ok"
    assert checks["gateways.main.secret"] == (
        "problem",
        "gateway main refuses the secret",
        "set gateways.main.secret to its secretKey",
    )


def test_the_secret_that_everybody_knows_is_a_warning(redis_url: str, tmp_path: Path) -> None:
    known = "THISISMYSECURETOKEN"
    with gateway(known) as running, room_with(redis_url, tmp_path, at(running.url, secret=known)) as room:
        verdict, message, mend = found(room)["gateways.main.secret"]
    assert (verdict, "published default" in message, known in f"{message}{mend}") == ("warning", True, False)


def test_a_gateway_with_a_token_only_is_not_asked_for_one(redis_url: str, tmp_path: Path) -> None:
    settings = '[gateways.main]\nurl = "{}"\ntoken = "tok-1"\n'
    with gateway() as running, room_with(redis_url, tmp_path, settings.format(running.url)) as room:
        assert found(room)["gateways.main.secret"][0] == "ok"


@pytest.mark.parametrize(
    ("health", "mend"),
    [
        (http("<html>hello</html>"), "gateways.main.url leads to something else than a wppconnect-server: correct it"),
        (http('{"message": "busy"}', "503 Service Unavailable"), "see the log of that server; restart it if it hangs"),
    ],
)
def test_what_is_no_gateway_or_an_unwell_one_is_a_problem(
    redis_url: str, tmp_path: Path, health: bytes, mend: str
) -> None:
    script = partial(answering, health=health, token=http("{}"))
    with scripted(script) as url, room_with(redis_url, tmp_path, at(url)) as room:
        checks = found(room, code=1)
    assert checks["gateways.main"][::2] == ("problem", mend)
    assert "gateways.main.secret" not in checks


def test_a_gateway_that_repeats_the_secret_does_not_have_it_shown(redis_url: str, tmp_path: Path) -> None:
    repeated = f'{{"message": "Cannot POST /api/x/{SECRET} or a-secret%2Fof%20ours"}}'
    script = partial(answering, health=http('{"uptime": 5}'), token=http(repeated, "500 Internal Server Error"))
    with scripted(script) as url, room_with(redis_url, tmp_path, at(url)) as room:
        verdict, message, _ = found(room, code=1)["gateways.main.secret"]
    assert verdict == "problem"
    assert message.endswith("Cannot POST /api/x/***** or *****")


# Private servers


def test_private_servers_are_looked_at_in_the_place_of_others(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with gateway() as running, room_with(NOWHERE, tmp_path, at(running.url)) as room:
        assert "no daemon with private servers runs" in room.run("doctor", "--embedded").out
        assert room.run("doctor", "--embedded").code == 1
        with endpoints_shown(state, EmbeddedEndpoints(redis_url=redis_url, database_url=database_url)):
            shown = room.run("doctor", "--embedded", "-o", "json")
    checks = {each["check"]: each["verdict"] for each in shown.json["checks"]}
    assert (shown.code, checks["redis"], checks["postgres"]) == (0, "ok", "ok")


# Forms


FINDINGS = [
    fine("configuration", "fine"),
    doubtful("redis.clock", "a clock " * 12, "set it"),
    wrong("gateways.main", "\x1b[31mgone postgresql://u:hunter22@h/x", "start\nit"),
]


def test_findings_are_drawn_with_what_mends_them_below() -> None:
    lines = draw(FINDINGS, width=None, colour=False).splitlines()
    assert lines[0] == "ok       configuration  fine"
    assert lines[2] == "                        -> set it"
    assert lines[4] == "                        -> start it"
    assert "hunter22" not in "".join(lines)
    assert "\x1b" not in "".join(lines)
    assert max(map(len, draw(FINDINGS, width=60, colour=False).splitlines())) <= 60
    assert "\x1b[31mproblem" in draw(FINDINGS, width=60, colour=True)
    assert draw([], width=60, colour=False) == ""


def test_the_worst_is_the_verdict() -> None:
    assert [worst(FINDINGS[:number]) for number in (0, 1, 2, 3)] == ["ok", "ok", "warning", "problem"]
    assert b'"verdict": "problem"' in as_json(FINDINGS)


def test_a_sentence_is_parted_into_what_happened_and_what_to_do() -> None:
    assert parted("it is away; start it; soon") == ("it is away", "start it; soon")
    assert parted("it is away")[0] == "it is away"


def test_secrets_are_struck_out_the_longest_first_and_short_ones_are_no_words() -> None:
    (struck,) = without(["hunter", "hunter22", "t"], [wrong("x", "hunter22 hunter to", "hunter22")])
    assert (struck.message, struck.mend) == ("***** ***** to", "*****")
    assert cast("object", without(["hunter"], FINDINGS[:1])[0].mend) is None
