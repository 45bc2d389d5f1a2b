"""A refusal ends the waiting for a connection when none can come any more, and only then."""

from __future__ import annotations

from typing import NoReturn

import anyio
import psycopg
import pytest

from tests.adapters.postgres.room import PATIENCE
from wa_supervisor.adapters.postgres.attempts import Attempts, Connection

pytestmark = pytest.mark.anyio


class Pool:
    """Has no connection, ever; counts who asks."""

    def __init__(self) -> None:
        self.asked = 0

    async def getconn(self) -> Connection:
        self.asked += 1
        await anyio.sleep_forever()
        raise AssertionError


class Attempt:
    """Refused in these words when the test says so."""

    def __init__(self, words: str) -> None:
        self._words = words
        self._over = anyio.Event()

    def refuse(self) -> None:
        self._over.set()

    async def connect(self) -> NoReturn:
        await self._over.wait()
        raise psycopg.OperationalError(self._words)


class Scene:
    """Someone who waits, and attempts that are followed."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.attempts = Attempts()
        self.error: Exception | None = None

    async def wait(self) -> None:
        try:
            await self.attempts.wait(self.pool.getconn)
        except psycopg.OperationalError as error:
            self.error = error

    async def follow(self, attempt: Attempt) -> None:
        with pytest.raises(psycopg.OperationalError):
            await self.attempts.follow(attempt.connect())


async def test_a_refused_attempt_ends_the_waiting_with_its_words() -> None:
    scene, attempt = Scene(), Attempt("no such role")
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for work in (scene.wait, scene.wait):
                group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(scene.follow, attempt)
            attempt.refuse()
    assert str(scene.error) == "no such role"
    assert scene.pool.asked == 2


async def test_while_another_attempt_runs_the_waiting_goes_on() -> None:
    scene, first, second = Scene(), Attempt("first"), Attempt("second")
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(scene.wait)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(scene.follow, first)
            group.start_soon(scene.follow, second)
            await anyio.wait_all_tasks_blocked()
            first.refuse()
            await anyio.wait_all_tasks_blocked()
            assert scene.error is None
            second.refuse()
    assert str(scene.error) == "second"


async def test_an_attempt_that_began_before_the_waiting_makes_the_pool_be_asked_again() -> None:
    scene, early, late = Scene(), Attempt("early"), Attempt("late")
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(scene.follow, early)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(scene.wait)
            await anyio.wait_all_tasks_blocked()
            early.refuse()
            await anyio.wait_all_tasks_blocked()
            assert scene.error is None
            assert scene.pool.asked == 2
            group.start_soon(scene.follow, late)
            late.refuse()
    assert str(scene.error) == "late"


async def test_the_waiting_can_be_cancelled_from_outside() -> None:
    scene = Scene()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(scene.wait)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert scene.error is None
    attempt = Attempt("refused")
    attempt.refuse()
    await scene.follow(attempt)
