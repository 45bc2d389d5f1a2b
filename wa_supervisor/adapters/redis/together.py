"""Run a few functions side by side until one fails, and let that one error out as itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

import anyio


async def run_together(*functions: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run all; the first that raises cancels the others, and its exception comes out without a group around it."""
    try:
        async with anyio.create_task_group() as group:
            for function in functions:
                group.start_soon(function)
    except ExceptionGroup as error:
        failure = _first(error)
    else:
        return
    raise failure  # outside the handler: the group must not become the context of its own member


def _first(error: Exception) -> Exception:
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error
