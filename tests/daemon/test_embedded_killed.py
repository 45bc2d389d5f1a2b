"""Private servers after violence: a killed owner or server, stale marks, a cut-off file, a server that will not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.embedded_room import (
    PATIENCE,
    POLICY,
    another_owner,
    head_of,
    kill,
    needs_servers,
    program,
    put_into_postgres,
    put_into_valkey,
    remember,
    remembered,
    residents,
    short_directory,
    until_postgres_answers,
    until_said,
    until_valkey_answers,
    words_in_postgres,
    words_in_valkey,
)
from wa_supervisor.embedded import (
    ClusterVersionError,
    ServerStartError,
    embedded_postgres,
    embedded_servers,
    embedded_valkey,
    read_endpoints,
)
from wa_supervisor.embedded.software import find_valkey

pytestmark = [pytest.mark.anyio, needs_servers]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def state_dir() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture
def stranger(state_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that is no server but works in Valkey's directory."""
    (state_dir / "valkey").mkdir()
    with subprocess.Popen(("/bin/sleep", "1000"), cwd=state_dir / "valkey") as process:
        yield process
        process.kill()


def everyone_in(state_dir: Path) -> set[int]:
    return {each.pid for name in ("valkey", "postgres") for each in residents(state_dir / name)}


async def test_servers_of_a_killed_owner_are_replaced_and_nothing_is_lost(state_dir: Path) -> None:
    with another_owner(state_dir) as (owner, endpoints):
        assert read_endpoints(state_dir) == endpoints
        await remember(endpoints, "before")
        kill(owner.pid)
    left = everyone_in(state_dir)
    assert left, "the servers outlive their owner"
    assert read_endpoints(state_dir) is None
    async with embedded_servers(state_dir, policy=POLICY) as endpoints:
        assert not left & everyone_in(state_dir)
        assert await remembered(endpoints) == (["before"], ["before"])


def test_owner_that_is_told_to_stop_stops_its_servers(state_dir: Path) -> None:
    with another_owner(state_dir) as (owner, _):
        owner.send_signal(signal.SIGTERM)
        assert owner.wait(PATIENCE) == 0
    assert everyone_in(state_dir) == set()


async def test_valkey_that_dies_is_started_again_with_its_data(state_dir: Path) -> None:
    async with embedded_valkey(state_dir, policy=POLICY) as url:
        await put_into_valkey(url, "before")
        kill(head_of(state_dir / "valkey"))
        await until_valkey_answers(url)
        assert await words_in_valkey(url) == ["before"]


async def test_postgres_that_dies_is_started_again_with_its_data(state_dir: Path) -> None:
    async with embedded_postgres(state_dir, policy=POLICY) as url:
        await put_into_postgres(url, "before")
        kill(head_of(state_dir / "postgres"))
        await until_postgres_answers(url)
        assert await words_in_postgres(url) == ["before"]


async def test_server_that_does_not_come_back_is_tried_until_it_does(state_dir: Path) -> None:
    closed, knocks = state_dir / "closed", state_dir / "knocks"
    real = find_valkey(POLICY.redis_server)
    door = program(state_dir / "door", f"[ -e {closed} ] && echo knock >> {knocks} && exit 1", f'exec {real} "$@"')
    policy = replace(POLICY, redis_server=door, restart_first_seconds=0.001, restart_most_seconds=0.01)
    async with embedded_valkey(state_dir, policy=policy) as url:
        await put_into_valkey(url, "before")
        closed.touch()
        kill(head_of(state_dir / "valkey"))
        await until_said(knocks, "knock\nknock\n")
        closed.unlink()
        await until_valkey_answers(url)
        assert await words_in_valkey(url) == ["before"]


async def test_marks_of_a_dead_postgres_with_a_strangers_process_id_do_not_matter(
    state_dir: Path, stranger: subprocess.Popen[bytes]
) -> None:
    async with embedded_postgres(state_dir, policy=POLICY) as url:
        await put_into_postgres(url, "before")
    cluster = state_dir / "postgres"
    for mark in (cluster / "postmaster.pid", cluster / ".s.PGSQL.5432.lock"):
        mark.write_text(f"{stranger.pid}\n{cluster}\n1\n5432\n{cluster}\n\n  1 1\nready\n")
    async with embedded_postgres(state_dir, policy=POLICY) as url:
        assert await words_in_postgres(url) == ["before"]
    assert stranger.poll() is None


async def test_stranger_working_in_the_directory_of_valkey_is_left_alone(
    state_dir: Path, stranger: subprocess.Popen[bytes]
) -> None:
    async with embedded_valkey(state_dir, policy=POLICY) as url:
        await until_valkey_answers(url)
    assert stranger.poll() is None


async def test_stale_socket_does_not_matter(state_dir: Path) -> None:
    (state_dir / "valkey").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(state_dir / "valkey" / "valkey.sock"))
    async with embedded_valkey(state_dir, policy=POLICY) as url:
        await until_valkey_answers(url)


async def test_append_only_file_cut_off_in_its_last_command_is_loaded_up_to_there(state_dir: Path) -> None:
    async with embedded_valkey(state_dir, policy=POLICY) as url:
        await put_into_valkey(url, "whole")
        await put_into_valkey(url, "cut off")
    (file,) = (state_dir / "valkey" / "appendonlydir").glob("*.incr.aof")
    os.truncate(file, file.stat().st_size - 5)
    async with embedded_valkey(state_dir, policy=POLICY) as url:
        assert await words_in_valkey(url) == ["whole"]


async def test_failed_start_quotes_the_log_and_says_what_to_do(state_dir: Path) -> None:
    full = program(state_dir / "full", "echo 'Write error: No space left on device'", "exit 3")
    with pytest.raises(ServerStartError) as caught:
        async with embedded_valkey(state_dir, policy=replace(POLICY, redis_server=full)):
            pytest.fail("a server that ended is said to run")
    assert str(caught.value) == (
        "valkey ended with status 3; the disk is full: free some space;"
        f" the end of {state_dir}/log/valkey.log:\nWrite error: No space left on device"
    )


async def test_server_that_never_answers_is_given_up_and_ended(state_dir: Path) -> None:
    mute = program(state_dir / "mute", "echo thinking", "exec sleep 1000")
    policy = replace(POLICY, redis_server=mute, start_seconds=0.2)
    with pytest.raises(ServerStartError, match=r"valkey does not answer; the end of .*:\nthinking"):
        async with embedded_valkey(state_dir, policy=policy):
            pytest.fail("a server that does not answer is said to run")


async def test_both_failures_are_told_when_both_servers_do_not_start(state_dir: Path) -> None:
    (state_dir / "postgres").mkdir()
    (state_dir / "postgres" / "PG_VERSION").write_text("9\n")
    broken = program(state_dir / "broken", "exit 1")
    with pytest.raises((ServerStartError, ClusterVersionError)) as caught:
        async with embedded_servers(state_dir, policy=replace(POLICY, redis_server=broken)):
            pytest.fail("servers that cannot start are said to run")
    told = "\n".join((str(caught.value), *caught.value.__notes__))
    assert "valkey ended with status 1" in told
    assert "was made by PostgreSQL 9, and installed is" in told


async def test_server_that_does_not_heed_the_stop_signal_is_killed(state_dir: Path) -> None:
    async with embedded_valkey(state_dir, policy=replace(POLICY, stop_seconds=0.1)):
        os.kill(head_of(state_dir / "valkey"), signal.SIGSTOP)
    assert everyone_in(state_dir) == set()
