"""What private servers say when something is wrong; stand-in programs where a real one would not go wrong so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.embedded_room import POLICY, needs_servers, program, short_directory, until_there
from wa_supervisor.embedded import (
    EmbeddedNotInstalledError,
    EmbeddedPolicy,
    ServerStartError,
    StateDirectoryUnusableError,
    embedded_postgres,
    embedded_servers,
    embedded_valkey,
)
from wa_supervisor.embedded.logs import log_end, shorten_log

pytestmark = pytest.mark.anyio

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")

SAYS_VERSION = 'if [ "$1" = --version ]; then echo "postgres (PostgreSQL) 18.4 (stand-in)"; exit; fi'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def state_dir() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture
def closed_dir(tmp_path: Path) -> Path:
    """Give a directory below one that nobody but us can enter."""
    tmp_path.chmod(0o700)
    return tmp_path / "state"


def stand_in(bin_directory: Path, *, postgres: str = "exit 1", initdb: str = "exit 1") -> EmbeddedPolicy:
    """Return a policy whose PostgreSQL is two programs of a line or two."""
    program(bin_directory / "postgres", SAYS_VERSION, postgres)
    program(bin_directory / "initdb", initdb)
    return replace(POLICY, postgres_bin=bin_directory)


async def refusal(error: type[Exception], state_dir: Path, policy: EmbeddedPolicy) -> str:
    """Return what is said when PostgreSQL is refused with this error."""
    with pytest.raises(error) as caught:
        async with embedded_postgres(state_dir, policy=policy):
            pytest.fail("it starts")
    return str(caught.value)


async def test_failed_initdb_is_quoted_and_leaves_no_cluster(state_dir: Path) -> None:
    policy = stand_in(state_dir / "bin", initdb="echo 'initdb: could not write: No space left on device'; exit 1")
    told = await refusal(ServerStartError, state_dir, policy)
    assert "initdb ended with status 1; the disk is full: free some space" in told
    assert told.endswith("initdb: could not write: No space left on device")
    assert not (state_dir / "postgres").exists()


async def test_initdb_that_hangs_is_given_up(state_dir: Path) -> None:
    policy = replace(stand_in(state_dir / "bin", initdb="exec sleep 1000"), tool_seconds=0.2)
    assert "making a cluster took more than 0 s" in await refusal(ServerStartError, state_dir, policy)


async def test_tool_that_cannot_be_started_is_named(state_dir: Path) -> None:
    policy = stand_in(state_dir / "bin")
    (state_dir / "bin" / "initdb").write_text("#!/no/such/interpreter\n")
    assert "initdb could not be started" in await refusal(ServerStartError, state_dir, policy)


async def test_programs_of_another_machine_are_named(state_dir: Path) -> None:
    policy = stand_in(state_dir / "bin")
    (state_dir / "bin" / "postgres").write_text("#!/no/such/interpreter\n")
    assert "bin/postgres cannot be run: " in await refusal(EmbeddedNotInstalledError, state_dir, policy)


async def test_programs_that_do_not_tell_their_version_are_quoted(state_dir: Path) -> None:
    policy = stand_in(state_dir / "bin")
    program(state_dir / "bin" / "postgres", "echo 'libicu.so.72 is missing' >&2", "exit 127")
    told = await refusal(EmbeddedNotInstalledError, state_dir, policy)
    assert told.endswith("bin/postgres cannot be run: libicu.so.72 is missing")


async def test_server_program_that_cannot_be_started_is_named(state_dir: Path) -> None:
    broken = program(state_dir / "server")
    broken.write_text("#!/no/such/interpreter\n")
    with pytest.raises(ServerStartError, match="valkey could not be started"):
        async with embedded_valkey(state_dir, policy=replace(POLICY, redis_server=broken)):
            pytest.fail("a program that cannot be started runs")


@only_root
async def test_root_is_told_when_no_place_for_the_cluster_can_be_made(closed_dir: Path, state_dir: Path) -> None:
    (state_dir / "file").touch()
    policy = replace(stand_in(state_dir / "bin"), root_home=state_dir / "file" / "home")
    assert "choose a state directory" in await refusal(StateDirectoryUnusableError, closed_dir, policy)


@only_root
async def test_root_is_told_when_the_user_of_postgres_can_enter_no_place(closed_dir: Path, state_dir: Path) -> None:
    policy = replace(stand_in(state_dir / "bin"), root_home=closed_dir.parent / "home")
    told = await refusal(StateDirectoryUnusableError, closed_dir, policy)
    assert "because it refuses root, and" in told
    assert f"cannot enter {closed_dir}; choose a state directory that it can enter" in told
    assert list_of(closed_dir.parent / "home") == []


@only_root
async def test_root_is_told_when_an_existing_cluster_cannot_be_entered(closed_dir: Path, state_dir: Path) -> None:
    (closed_dir / "postgres").mkdir(parents=True)
    told = await refusal(StateDirectoryUnusableError, closed_dir, stand_in(state_dir / "bin"))
    assert f"cannot enter {closed_dir}; choose a state directory that it can enter" in told


@only_root
async def test_root_is_told_when_the_owner_of_a_cluster_does_not_exist(state_dir: Path) -> None:
    hand_over(state_dir / "postgres", 54321)
    told = await refusal(StateDirectoryUnusableError, state_dir, stand_in(state_dir / "bin"))
    assert "belongs to user id 54321, who does not exist on this machine" in told


@only_root
async def test_chosen_programs_that_the_user_cannot_reach_are_named(closed_dir: Path, state_dir: Path) -> None:
    told = await refusal(ServerStartError, state_dir, stand_in(closed_dir / "bin"))
    assert f"PostgreSQL's programs in {closed_dir}/bin cannot be run by " in told


@needs_servers
@pytest.mark.parametrize("name", ["valkey", "log"])
async def test_file_in_the_way_of_a_directory_is_named(state_dir: Path, name: str) -> None:
    (state_dir / name).touch()
    with pytest.raises(StateDirectoryUnusableError, match=rf"cannot use {state_dir / name}: "):
        async with embedded_valkey(state_dir, policy=POLICY):
            pytest.fail("a server runs without its directory")


@needs_servers
async def test_endpoints_that_cannot_be_written_are_an_error_that_stops_the_servers(state_dir: Path) -> None:
    (state_dir / "endpoints.json" / "full").mkdir(parents=True)
    with pytest.raises(StateDirectoryUnusableError, match=r"cannot use .*endpoints\.json: "):
        async with embedded_servers(state_dir, policy=POLICY):
            pytest.fail("nobody can find the servers")


@needs_servers
async def test_log_of_a_running_server_is_kept_short(state_dir: Path) -> None:
    policy = replace(POLICY, log_check_seconds=0.01, log_limit_bytes=100)
    async with embedded_valkey(state_dir, policy=policy):
        await until_there(state_dir / "log" / "valkey.log.1")


def test_long_log_is_moved_aside_and_a_short_one_stays(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("0123456789")
    shorten_log(log, 10)
    assert log.read_text() == "0123456789"
    shorten_log(log, 9)
    assert (log.read_text(), log.with_name("server.log.1").read_text()) == ("", "0123456789")
    shorten_log(tmp_path / "never-made.log", 0)


def test_end_of_a_log_is_its_last_lines_or_why_there_are_none(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert log_end(log).splitlines() == [f"line {number}" for number in range(99_988, 100_000)]
    assert log_end(tmp_path / "never-made.log") == "(no log: No such file or directory)"


def hand_over(directory: Path, owner: int) -> None:
    directory.mkdir()
    os.chown(directory, owner, owner)


def list_of(directory: Path) -> list[Path]:
    return list(directory.iterdir())
