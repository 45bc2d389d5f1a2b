"""Trying again: tenacity with anyio's sleep, full jitter and a cap, in three shapes.

`patient` tries one thing until it works, `keep_doing` does for ever what is meant to last, and `insist` sees a small
thing through although everything around it is being cancelled.

tenacity has no reset of its own, so whoever was healthy for a while counts from one again: an old failure must not make
a new one wait long. A cancellation that none of our scopes asked for (a library's own, on asyncio) is a failure that
may pass: it is our own scopes that are asked, never the exception's type.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import NoReturn, cast

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential
from tenacity.wait import wait_base

from wa_supervisor.domain.errors import PermanentError, TemporaryError

Tell = Callable[[BaseException, float, int], None]
"""Told before each wait: the error, the seconds to wait, the number of the attempt that failed."""

INSIST_INITIAL = 0.2
"""Seconds: upper bound of the first delay of `insist`; what it is for is small, and somebody waits for it."""

INSIST_LONGEST = 2.0
"""Seconds: cap of that delay."""


class full_jitter(wait_base):  # noqa: N801  # tenacity names its wait strategies so
    """Between nothing and a bound that doubles up to a cap; never sooner than the other side asked for."""

    def __init__(self, initial: float, longest: float) -> None:
        self._spread = wait_random_exponential(multiplier=initial, max=longest)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Give the seconds to wait after the attempt in `retry_state`."""
        error = _error_of(retry_state)
        asked = error.retry_after if isinstance(error, TemporaryError) else None
        return max(self._spread(retry_state), asked or 0.0)


def patient(
    initial: float,
    longest: float,
    *,
    tell: Tell,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    unless: tuple[type[Exception], ...] = (),
) -> AsyncRetrying:
    """Retry for ever what may pass by itself, unknown exceptions included.

    A `PermanentError` and one of `unless` go through at once, and so does what `sleep` raises.
    """
    return AsyncRetrying(
        sleep=sleep,
        wait=full_jitter(initial, longest),
        retry=retry_if_exception(lambda error: _may_pass(error) and not isinstance(error, unless)),
        before_sleep=_teller(tell),
        reraise=True,
    )


async def keep_doing(work: Callable[[], Awaitable[object]], *, initial: float, longest: float, tell: Tell) -> NoReturn:
    """Do `work` again and again until cancelled; one that lasted longer than `longest` starts the count anew."""
    while True:
        async for attempt in patient(initial, longest, tell=tell):
            with attempt:
                began = anyio.current_time()
                try:
                    await work()
                except Exception:
                    if anyio.current_time() - began > longest:
                        attempt.retry_state.attempt_number = 1
                    raise
        await anyio.lowlevel.checkpoint()


async def insist(work: Callable[[], Awaitable[None]], *, limit: float, tell: Tell) -> bool:
    """Do `work` until it succeeds; once everything is being cancelled, for at most `limit` seconds more.

    Says whether it succeeded. A `TemporaryError` is told and tried again; anything else is told and ends it. Raises
    nothing and is not interrupted: a cancellation comes at the caller's next await. `work` may be repeated after it had
    its effect.
    """
    failures = 0

    def count(error: BaseException, delay: float, attempt: int) -> None:
        nonlocal failures
        del attempt
        failures += 1
        tell(error, delay, failures)

    while True:
        with anyio.move_on_after(limit, shield=True):
            return await _try_until_done(work, count)
        if is_being_cancelled():
            return False


def is_being_cancelled() -> bool:
    """Whether a scope around the current task was cancelled, which is the only cancellation that counts."""
    return anyio.current_effective_deadline() == -math.inf


async def _try_until_done(work: Callable[[], Awaitable[None]], tell: Tell) -> bool:
    async for attempt in patient(INSIST_INITIAL, INSIST_LONGEST, tell=tell):
        with attempt:
            try:
                await work()
            except TemporaryError:
                raise
            except Exception as error:  # noqa: BLE001  # supervision border: whoever insists is told, and goes on
                tell(error, 0.0, attempt.retry_state.attempt_number)
                return False
    return True


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return not is_being_cancelled()
    return isinstance(error, Exception) and not isinstance(error, PermanentError)


def _teller(tell: Tell) -> Callable[[RetryCallState], None]:
    def before_sleep(state: RetryCallState) -> None:
        delay = state.next_action.sleep if state.next_action else 0.0
        tell(cast("BaseException", _error_of(state)), delay, state.attempt_number)  # it only sleeps after a failure

    return before_sleep


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
