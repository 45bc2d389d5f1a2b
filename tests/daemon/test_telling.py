"""What the daemon tells about itself: whether it is ready, what it waits for, what works with less than it could."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import anyio
import msgspec
import pytest

from tests.adapters.postgres.proxy import proxied
from tests.daemon.daemon_room import NOWHERE, PATIENCE, settings_for, until
from tests.daemon.test_summary import status
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.daemon.stores import with_redis
from wa_supervisor.daemon.telling import NO_DATABASE, STALE_WISH, Telling
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.observations import Observation, Reconciled, Trouble
from wa_supervisor.domain.status import SessionStatus

pytestmark = pytest.mark.anyio

SETTINGS = settings_for(NOWHERE)
QUICK = PostgresPolicy(timeout=1.0)


@pytest.fixture
def anyio_backend() -> str:
    """PostgreSQL is spoken to on asyncio."""
    return "asyncio"


def a_round(error: str | None = None) -> Reconciled:
    return Reconciled(seconds=0.0, wanted=1, invalid=0, changed=0, error=error)


def telling(*statuses: SessionStatus) -> Telling:
    def current() -> Sequence[SessionStatus]:
        return statuses

    return Telling(SETTINGS, current)


async def test_before_the_first_round_it_waits_for_the_wish() -> None:
    told = telling()
    assert not told.is_ready
    assert told.readiness().waiting_for == ("the wish has not been read yet",)
    assert told.headline() == "coming up: the wish has not been read yet"


async def test_a_round_that_failed_says_why_it_waits() -> None:
    told = telling()
    told.observe(a_round("Redis cannot be reached; start it"))
    assert told.readiness().waiting_for == ("Redis cannot be reached; start it",)
    assert told.headline() == "coming up: Redis cannot be reached; start it"
    told.observe(a_round())
    assert told.readiness().waiting_for == ("the first plan is being made",)
    assert told.headline() == "coming up"


async def test_ready_it_waits_for_nothing_and_counts_sessions() -> None:
    told = telling(status(State.RUNNING), status(State.BACKOFF))
    told.observe(a_round())
    told.phase = "ready"
    readiness = told.readiness()
    assert readiness.ready
    assert readiness.waiting_for == ()
    assert readiness.missing == ()
    assert told.headline() == "1/2 running, 1 backoff"


async def test_ready_with_a_wish_that_cannot_be_read_it_stays_ready_and_says_what_is_missing() -> None:
    told = telling()
    told.phase = "ready"
    told.observe(a_round("Redis is gone"))
    assert told.readiness().ready
    assert told.missing() == (f"{STALE_WISH}: Redis is gone",)
    told.observe(a_round())
    assert told.missing() == ()


async def test_stopping_is_why_it_is_not_ready_whatever_else_is_wrong() -> None:
    told = telling(status(State.DRAINING))
    told.phase = "ready"
    told.observe(a_round("Redis is gone"))
    told.phase = "stopping"
    readiness = told.readiness()
    assert not readiness.ready
    assert readiness.waiting_for == ("the daemon is stopping",)
    assert told.headline() == "stopping: 0/1 running, 1 draining"


async def test_a_round_good_or_bad_is_progress() -> None:
    told = telling()
    told.last_round = began = -1.0
    told.observe(a_round("Redis is gone"))
    after_a_bad_one = told.last_round
    assert after_a_bad_one > began
    told.last_round = began
    told.observe(a_round())
    assert told.last_round > began


async def test_without_a_database_it_says_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    told = telling()
    async with with_redis(SETTINGS) as store:
        told.note_stores(store, None)
        await told.prepare_people()
        assert told.missing() == (NO_DATABASE,)
    assert "postgres.url" in NO_DATABASE
    assert [each.message for each in caplog.records] == ["works with less than it could"]


async def test_a_store_that_does_not_notify_is_missing_something() -> None:
    told = telling()
    async with with_redis(SETTINGS) as store, PostgresPeople("postgresql:///x?host=/nowhere", QUICK) as people:
        told.note_stores(store, people)
        assert told.missing() == ()
        store.wish.missing = "Redis does not notify"
        assert told.missing() == ("Redis does not notify",)


async def test_a_database_that_comes_late_is_missed_until_its_tables_are_there(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    told = telling()
    async with (
        with_redis(SETTINGS) as store,
        proxied(database_url) as proxy,
        anyio.create_task_group() as tasks,
    ):
        await proxy.go_down()
        async with PostgresPeople(proxy.url, QUICK) as people:
            told.note_stores(store, people)
            tasks.start_soon(told.prepare_people)
            await until(told.missing)
            (missing,) = told.missing()
            assert missing.startswith("people cannot be looked up: PostgreSQL")
            await proxy.listen()
            await until(lambda: not told.missing())
        tasks.cancel_scope.cancel()
    said = [each.message for each in caplog.records if each.name == "wa_supervisor.daemon.telling"]
    assert said == ["works with less than it could", "people can be looked up"]


async def test_a_database_that_is_there_is_prepared_without_a_word(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    told = telling()
    async with with_redis(SETTINGS) as store, PostgresPeople(database_url) as people:
        told.note_stores(store, people)
        with anyio.fail_after(PATIENCE):
            await told.prepare_people()
    assert told.missing() == ()
    assert not [each for each in caplog.records if each.name == "wa_supervisor.daemon.telling"]


async def test_a_database_that_goes_and_comes_is_missed_meanwhile() -> None:
    told = telling()
    told.observe(Trouble(where="people_away", message="People cannot be looked up: it is away."))
    assert told.missing() == ("People cannot be looked up: it is away.",)
    told.observe(Trouble(where="people", message="one look-up failed"))
    assert told.missing() == ("People cannot be looked up: it is away.",)
    told.observe(Trouble(where="people_back", message="People can be looked up again."))
    assert told.missing() == ()


async def test_a_database_that_is_away_shows_in_a_number() -> None:
    told = telling()
    async with with_redis(SETTINGS) as store, PostgresPeople("postgresql:///x?host=/nowhere", QUICK) as people:
        told.note_stores(store, people)
        told.observe(Trouble(where="people_away", message="away"))
        assert b"\nwa_people_available 0.0\n" in told.metrics.render()[0]
        told.observe(Trouble(where="people_back", message="back"))
        assert b"\nwa_people_available 1.0\n" in told.metrics.render()[0]


async def test_whoever_listens_is_told_after_the_others() -> None:
    told = telling()
    heard: list[Observation] = []
    told.subscribe(heard.append)
    round_ = a_round("Redis is gone")
    told.observe(round_)
    assert heard == [round_]


async def test_a_rival_is_missed_until_it_is_gone_and_told_once_for_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    told = telling()
    rival = told.daemon_status([])
    other = msgspec.structs.replace(rival, pid=rival.pid + 1)
    for each in (None, rival, rival, other, None, None):
        told.note_rival(each)
    said = [(record.levelname, record.__dict__.get("pid")) for record in caplog.records]
    assert said == [("ERROR", rival.pid), ("ERROR", other.pid), ("INFO", None)]
    told.note_rival(rival)
    assert f"process {rival.pid} on {rival.host}" in told.missing()[0]
    assert told.daemon_status([]).missing == told.missing()


async def test_troubles_of_others_are_not_its_own() -> None:
    told = telling()
    told.observe(Trouble(where="close", message="a session may still be open"))
    assert told.missing() == ()


async def test_the_announcement_describes_the_daemon() -> None:
    told = telling()
    told.admin_url = "http://127.0.0.1:9477"
    told.phase = "ready"
    told.observe(a_round("Redis is gone"))
    announced = told.daemon_status([status(State.RUNNING), status(State.RUNNING), status(State.INVALID)])
    assert (announced.id, announced.host, announced.pid) == ("test", socket.gethostname(), os.getpid())
    assert announced.ready
    assert announced.sessions == 3
    assert announced.by_state == {"running": 2, "invalid": 1}
    assert announced.admin_url == "http://127.0.0.1:9477"
    assert announced.missing == (f"{STALE_WISH}: Redis is gone",)
    assert announced.started_at <= announced.observed_at


async def test_the_metrics_know_whether_it_is_ready() -> None:
    told = telling(status(State.RUNNING))
    assert b"\nwa_ready 0.0\n" in told.metrics.render()[0]
    told.phase = "ready"
    assert b"\nwa_ready 1.0\n" in told.metrics.render()[0]


async def test_what_the_log_held_back_is_written_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    told = telling()
    for number in range(20):
        told.observe(Trouble(where="close", message=f"trouble {number}"))
    assert "more troubles" not in caplog.text
    told.flush()
    assert "more troubles" in caplog.text
