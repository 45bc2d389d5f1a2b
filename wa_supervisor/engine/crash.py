"""Crashes: what ended that was to go on, whatever it was.

At a border of supervision it does not matter what was raised: a permanent error of a part is no reason to end the
whole, and `patient` lets permanent errors through. So they are raised on as one that may pass, with their cause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable


class CrashError(RuntimeError):
    """Something ended that was to go on; the cause says why. It is begun anew."""


async def crashing(work: Callable[[], Awaitable[object]]) -> None:
    """Do `work`. Raises `CrashError` for whatever it raises; a cancellation goes through."""
    try:
        await work()
    except Exception as error:
        raise CrashError(str(error)) from error


def cause_of(error: BaseException) -> BaseException:
    """Give what was raised where it crashed."""
    while isinstance(error, CrashError) and error.__cause__ is not None:
        error = error.__cause__
    return error
