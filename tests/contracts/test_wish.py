"""Port `Wish`: the whole hash at once, and a ring whenever it may have changed, for the fake and for Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import anyio
import pytest

from tests.contracts.redis_sides import KINDS, SOON, hang_up, real_store
from tests.fakes.wish import FakeWish
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.adapters.redis.wish import RedisWish
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.engine.ports import Wish

pytestmark = pytest.mark.anyio


class Side(Protocol):
    """What the tests do behind the port's back."""

    @property
    def wish(self) -> Wish: ...

    async def put(self, field: str, record: bytes) -> None: ...

    async def remove(self, field: str) -> None: ...

    async def make_unreadable(self) -> None: ...

    async def hang_up(self) -> None: ...


class FakeSide:
    def __init__(self) -> None:
        self.wish = FakeWish()

    async def put(self, field: str, record: bytes) -> None:
        self.wish.put(field, record)

    async def remove(self, field: str) -> None:
        self.wish.remove(field)

    async def make_unreadable(self) -> None:
        self.wish.fail_next("read")

    async def hang_up(self) -> None:
        self.wish.break_off("watch")


class RedisSide:
    def __init__(self, store: RedisStore) -> None:
        self.wish: RedisWish = store.wish
        self._client = store.client

    async def put(self, field: str, record: bytes) -> None:
        await self._client.call(b"HSET", b"wa:integrations", field.encode(), record)

    async def remove(self, field: str) -> None:
        await self._client.call(b"HDEL", b"wa:integrations", field.encode())

    async def make_unreadable(self) -> None:
        await self._client.call(b"SET", b"wa:integrations", b"no hash")

    async def hang_up(self) -> None:
        await hang_up(self._client, "cmd=subscribe")


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
        yield RedisSide(store)


class Bell:
    """Counts rings."""

    def __init__(self) -> None:
        self.rings = 0
        self._rung = anyio.Event()

    def __call__(self) -> None:
        self.rings += 1
        self._rung.set()
        self._rung = anyio.Event()

    async def next(self, after: int) -> None:
        while self.rings <= after:
            await self._rung.wait()


async def test_an_empty_hash_is_an_empty_wish(side: Side) -> None:
    assert dict(await side.wish.read()) == {}


async def test_the_whole_hash_is_given_with_its_bytes_as_they_are(side: Side) -> None:
    await side.put("sales", b'{"agent_id": "a"}')
    await side.put("atend-ção", b"\xff\x00 no text at all")
    assert dict(await side.wish.read()) == {"sales": b'{"agent_id": "a"}', "atend-ção": b"\xff\x00 no text at all"}


async def test_what_was_read_stays_as_it_was_when_the_hash_changes(side: Side) -> None:
    await side.put("sales", b"1")
    before = await side.wish.read()
    await side.put("sales", b"2")
    assert dict(before) == {"sales": b"1"}


async def test_a_hash_that_cannot_be_read_is_an_error_and_not_an_empty_wish(side: Side) -> None:
    await side.make_unreadable()
    with pytest.raises(StoreUnavailableError):
        await side.wish.read()


async def test_watching_rings_when_it_begins_and_with_every_kind_of_change(side: Side) -> None:
    bell = Bell()
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(side.wish.watch, bell)
            await bell.next(0)
            rings = bell.rings
            await side.put("sales", b"1")
            await bell.next(rings)
            rings = bell.rings
            await side.put("sales", b"2")
            await bell.next(rings)
            rings = bell.rings
            await side.remove("sales")
            await bell.next(rings)
            group.cancel_scope.cancel()


async def test_a_change_made_before_the_first_ring_is_in_what_is_read_after_it(side: Side) -> None:
    bell = Bell()
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            await side.put("sales", b"1")
            group.start_soon(side.wish.watch, bell)
            await bell.next(0)
            assert dict(await side.wish.read()) == {"sales": b"1"}
            group.cancel_scope.cancel()


async def test_a_lost_connection_ends_watching_with_an_error_and_the_next_watching_works(side: Side) -> None:
    with anyio.fail_after(SOON):
        for _ in range(2):
            bell = Bell()
            errors: list[StoreUnavailableError] = []

            async def watch(bell: Bell = bell, errors: list[StoreUnavailableError] = errors) -> None:
                try:
                    await side.wish.watch(bell)
                except StoreUnavailableError as error:
                    errors.append(error)

            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                await bell.next(0)
                await side.hang_up()
            assert len(errors) == 1


async def test_watching_that_is_cancelled_ends_and_disturbs_no_other(side: Side) -> None:
    one, two = Bell(), Bell()
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(side.wish.watch, two)
            await two.next(0)
            async with anyio.create_task_group() as first:
                first.start_soon(side.wish.watch, one)
                await one.next(0)
                first.cancel_scope.cancel()
            rings_of_one, rings_of_two = one.rings, two.rings
            await side.put("sales", b"1")
            await two.next(rings_of_two)
            assert one.rings == rings_of_one
            group.cancel_scope.cancel()
