"""Our own errors, let out of the groups in which task groups wrap whatever passes them.

Who runs a daemon wants the one sentence that says what to do, not a tree of tracebacks. It deliberately leaves alone
what nobody foresaw: there the tree is what one needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wa_supervisor.domain.errors import WaSupervisorError


@contextmanager
def told_plainly() -> Iterator[None]:
    """Raise the first of our errors as it is, the others as its notes, when a group holds nothing else."""
    failure: WaSupervisorError | None = None
    try:
        yield
    except BaseExceptionGroup as group:
        failure = _ours(group)
        if failure is None:
            raise
    if failure is not None:
        raise failure


def _ours(group: BaseExceptionGroup[BaseException]) -> WaSupervisorError | None:
    first: WaSupervisorError | None = None
    for error in _leaves(group):
        if not isinstance(error, WaSupervisorError):
            return None
        if first is None:
            first = error
        else:
            first.add_note(f"and also: {error}")
    return first


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
