"""Port `EventLog`: the history in order, each batch once, for the fake and for Redis read as an operator does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import KINDS, real_store
from tests.fakes.event_log import FakeEventLog
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.cli.history import read_entry
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.history import Event
from wa_supervisor.engine.ports import EventLog

pytestmark = pytest.mark.anyio


class Side(Protocol):
    """What the tests do behind the port's back."""

    @property
    def log(self) -> EventLog: ...

    async def events(self) -> list[Event]: ...

    async def refuse_next(self) -> None: ...

    async def allow(self) -> None: ...


class FakeSide:
    def __init__(self) -> None:
        self.log = FakeEventLog()

    async def events(self) -> list[Event]:
        await checkpoint()
        return self.log.events

    async def refuse_next(self) -> None:
        await checkpoint()
        self.log.fail_next("append")

    async def allow(self) -> None:
        await checkpoint()


class RedisSide:
    def __init__(self, url: str, store: RedisStore) -> None:
        self._url = url
        self._client = store.client
        self.log: EventLog = store.events

    async def events(self) -> list[Event]:
        return await anyio.to_thread.run_sync(self._read)

    async def refuse_next(self) -> None:
        await self._client.call(b"RENAMENX", b"wa:events", b"aside")
        await self._client.call(b"SET", b"wa:events", b"no stream")

    async def allow(self) -> None:
        await self._client.call(b"RENAME", b"aside", b"wa:events")

    def _read(self) -> list[Event]:
        with OperatorDesk(self._url) as desk:
            entries = [read_entry(*recorded) for recorded in desk.events(desk.newest_entry())]
        return [entry.event for entry in entries if entry is not None][::-1]


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def anyio_backend(kind: tuple[str, str]) -> str:
    return kind[1]


@pytest.fixture
def url(kind: tuple[str, str], request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url")) if kind[0] == "redis" else ""


@pytest.fixture
async def side(url: str) -> AsyncIterator[Side]:
    if not url:
        yield FakeSide()
        return
    async with real_store(url) as store:
        yield RedisSide(url, store)


def event(number: int) -> Event:
    return Event(
        at=1000.5 + number,
        kind="transition",
        reason="Connected",
        message=f"number {number} ç \u0000",
        daemon="d1",
        integration="one",
        source="starting",
        target="running",
        attempt=number,
        lasted=0.25,
    )


async def test_events_are_added_whole_and_in_order(side: Side) -> None:
    await side.log.append(1, [event(0), event(1)])
    await side.log.append(2, [event(2)])
    assert await side.events() == [event(0), event(1), event(2)]


async def test_a_batch_that_is_repeated_adds_nothing_twice(side: Side) -> None:
    for _ in range(3):
        await side.log.append(1, [event(0), event(1)])
    await side.log.append(2, [event(2)])
    await side.log.append(2, [event(2)])
    assert await side.events() == [event(0), event(1), event(2)]


async def test_an_earlier_batch_adds_nothing_after_a_later_one(side: Side) -> None:
    await side.log.append(2, [event(2)])
    await side.log.append(1, [event(1)])
    assert await side.events() == [event(2)]


async def test_a_batch_that_could_not_be_added_is_an_error_and_is_added_when_it_is_repeated(side: Side) -> None:
    await side.log.append(1, [event(0)])
    await side.refuse_next()
    with pytest.raises(StoreUnavailableError):
        await side.log.append(2, [event(1), event(2)])
    await side.allow()
    assert await side.events() == [event(0)]
    await side.log.append(2, [event(1), event(2)])
    assert await side.events() == [event(0), event(1), event(2)]
