"""The last resort: it ends a process that does not end, from a thread of its own, and says what kept it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from tests.daemon.daemon_room import PATIENCE
from wa_supervisor.daemon.last_resort import ABANDONED, LastResort, end_children, unfinished

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Tasks are asyncio's."""
    return "asyncio"


class Left:
    """Stands for the end of the process."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self._is_left = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self._is_left.set()

    def wait(self) -> None:
        assert self._is_left.wait(PATIENCE)


@pytest.fixture
def left() -> Left:
    return Left()


@pytest.fixture
def resort(left: Left) -> Iterator[LastResort]:
    """Give a last resort that leaves nothing behind."""
    made = LastResort(leave=left)
    yield made
    made.disarm()


async def test_when_its_time_has_come_it_names_what_was_abandoned_and_leaves(
    resort: LastResort, left: Left, caplog: pytest.LogCaptureFixture
) -> None:
    resort.arm(0.01, names=lambda: ("acme", "bureau"))
    assert resort.is_armed
    await anyio.to_thread.run_sync(left.wait)
    assert left.codes == [ABANDONED]
    (said,) = caplog.records
    assert said.levelno == logging.CRITICAL
    assert said.__dict__["abandoned"] == "acme, bureau"
    assert "run_sync_in_worker_thread" in said.__dict__["tasks"]
    assert said.__dict__["exit_code"] == 70


async def test_it_needs_no_event_loop(resort: LastResort, left: Left) -> None:
    resort.arm(0.01)
    left.wait()  # blocks the loop
    assert left.codes == [ABANDONED]


def test_armed_before_a_loop_runs_it_leaves_all_the_same(
    resort: LastResort, left: Left, caplog: pytest.LogCaptureFixture
) -> None:
    resort.arm(0.01)
    left.wait()
    (told,) = [record.__dict__ for record in caplog.records if "exit_code" in record.__dict__]
    assert told["tasks"] is None
    assert "wait" in told["main_thread"]


async def test_disarmed_it_leaves_the_process_alone(resort: LastResort, left: Left) -> None:
    assert repr(resort) == "<LastResort not armed>"
    resort.arm(3600.0)
    assert repr(resort) == "<LastResort in 3600 s>"
    resort.disarm()
    resort.disarm()
    assert not resort.is_armed
    assert not [each for each in threading.enumerate() if each.name == "last resort" and not each.daemon]
    assert not left.codes


async def test_armed_anew_only_the_last_word_counts(
    resort: LastResort, left: Left, caplog: pytest.LogCaptureFixture
) -> None:
    resort.arm(3600.0, names=lambda: ("first",))
    resort.arm(0.01, names=lambda: ("last",))
    await anyio.to_thread.run_sync(left.wait)
    assert left.codes == [ABANDONED]
    assert [each.__dict__["abandoned"] for each in caplog.records] == ["last"]


class Stuck(logging.Handler):
    """A log whose reader has gone away: whoever writes waits."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.go_on.wait(PATIENCE)


async def test_a_log_that_cannot_be_written_does_not_keep_it(resort: LastResort, left: Left) -> None:
    stuck = Stuck()
    logger = logging.getLogger("wa_supervisor.daemon.last_resort")
    logger.addHandler(stuck)
    try:
        resort.arm(0.01)
        await anyio.to_thread.run_sync(left.wait)
    finally:
        stuck.go_on.set()
        logger.removeHandler(stuck)
    assert left.codes == [ABANDONED]


async def test_names_that_cannot_be_given_do_not_keep_it(
    resort: LastResort, left: Left, caplog: pytest.LogCaptureFixture
) -> None:
    def names() -> tuple[str, ...]:
        raise ZeroDivisionError

    resort.arm(0.01, names=names)
    await anyio.to_thread.run_sync(left.wait)
    assert left.codes == [ABANDONED]
    assert "leaving by force" in caplog.text


async def deeper() -> None:
    await anyio.sleep_forever()


async def deaf() -> None:
    await deeper()


async def test_tasks_are_named_with_the_place_where_they_wait() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deaf, name="acme's session")
        await anyio.wait_all_tasks_blocked()
        (named,) = [each for each in unfinished(asyncio.get_running_loop()) if each.startswith("acme's session at ")]
        tasks.cancel_scope.cancel()
    assert ".py:" in named
    assert "unknown" not in named


async def test_of_very_many_tasks_some_are_named_and_the_rest_counted() -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(deaf)
        await anyio.wait_all_tasks_blocked()
        named = unfinished(asyncio.get_running_loop())
        tasks.cancel_scope.cancel()
    assert len(named) == 31
    assert named[-1].endswith(" more")


def test_children_are_told_to_end() -> None:
    program = "import subprocess; c = subprocess.Popen(['sleep', '3600']); print(c.pid, flush=True); c.wait()"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline())
        end_children(parent.pid)
        assert parent.wait(PATIENCE) == 0
