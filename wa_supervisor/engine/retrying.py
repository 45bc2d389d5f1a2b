"""Trying again: tenacity with anyio's sleep, full jitter and a cap, in two shapes.

tenacity has no reset of its own, so whoever was healthy for a while makes a fresh `patient` object: an old failure
must not make a new one wait long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

import anyio
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_never,
    wait_random_exponential,
)
from tenacity.wait import wait_base

from wa_supervisor.domain.errors import PermanentError, TemporaryError

Tell = Callable[[BaseException, float, int], None]
"""Told before each wait: the error, the seconds to wait, the number of the attempt that failed."""


class full_jitter(wait_base):  # noqa: N801  # tenacity names its wait strategies so
    """Between nothing and a bound that doubles up to a cap; never sooner than the other side asked for."""

    def __init__(self, initial: float, longest: float) -> None:
        self._spread = wait_random_exponential(multiplier=initial, max=longest)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Give the seconds to wait after the attempt in `retry_state`."""
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.retry_after if isinstance(error, TemporaryError) else None
        return max(self._spread(retry_state), asked or 0.0)


def patient(initial: float, longest: float, *, attempts: int | None = None, tell: Tell | None = None) -> AsyncRetrying:
    """Retry whatever may pass by itself, unknown exceptions included; a `PermanentError` goes through at once."""
    return AsyncRetrying(
        sleep=anyio.sleep,
        wait=full_jitter(initial, longest),
        stop=stop_never if attempts is None else stop_after_attempt(attempts),
        retry=retry_if_exception(_may_pass),
        before_sleep=_teller(tell) if tell else None,
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
                except TemporaryError as error:
                    if anyio.current_time() - began <= longest:
                        raise
                    tell(error, 0.0, attempt.retry_state.attempt_number)
        await anyio.lowlevel.checkpoint()


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, PermanentError)


def _teller(tell: Tell) -> Callable[[RetryCallState], None]:
    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        delay = state.next_action.sleep if state.next_action else 0.0
        if error is not None:
            tell(error, delay, state.attempt_number)

    return before_sleep
