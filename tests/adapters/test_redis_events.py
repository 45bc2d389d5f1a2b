"""What is particular to a history in a stream in Redis: runs, bounds, what is remembered for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from tests.adapters.redis_server import own_server
from tests.contracts.redis_sides import FAST, SOON, real_store
from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.history import Event

pytestmark = pytest.mark.anyio

STREAM = b"wa:events"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    async with real_store(redis_url) as store:
        yield store


def event(message: str) -> Event:
    return Event(at=1.0, kind="gate", reason="GateClosed", message=message, gateway="main")


async def length(client: RedisClient) -> int:
    return cast("int", await client.call(b"XLEN", STREAM))


async def batch_keys(client: RedisClient) -> list[bytes]:
    return cast("list[bytes]", await client.call(b"KEYS", b"wa:batch:*"))


async def test_an_entry_has_one_field_with_the_event_as_json(store: RedisStore) -> None:
    await store.events.append(1, [event("hello ç")])
    ((_, fields),) = cast("list[tuple[bytes, list[bytes]]]", await store.client.call(b"XRANGE", STREAM, b"-", b"+"))
    assert fields[0] == b"event"
    assert msgspec.json.decode(fields[1], type=Event) == event("hello ç")


async def test_each_run_counts_its_own_batches(redis_url: str) -> None:
    async with real_store(redis_url) as before:
        await before.events.append(1, [event("m")])
    async with real_store(redis_url) as after:
        await after.events.append(1, [event("m")])
        assert await length(after.client) == 2


async def test_the_stream_is_bounded(redis_url: str) -> None:
    async with real_store(redis_url, policy=RedisPolicy(events_maxlen=100)) as store:
        for batch in range(1, 11):
            await store.events.append(batch, [event("m")] * 100)
        assert 100 <= await length(store.client) <= 300


async def test_the_number_of_the_last_batch_is_forgotten_some_time_after_the_run(store: RedisStore) -> None:
    await store.events.append(1, [event("m")])
    (key,) = await batch_keys(store.client)
    left = await store.client.call(b"TTL", key)
    assert isinstance(left, int)
    assert 0 < left <= FAST.batch_ttl


async def test_a_batch_is_added_by_a_server_that_knows_no_scripts_any_more(store: RedisStore) -> None:
    await store.events.append(1, [event("m")])
    await store.client.call(b"SCRIPT", b"FLUSH")
    await store.events.append(2, [event("m")])
    assert await length(store.client) == 2


async def test_a_stream_of_a_wrong_type_takes_nothing_and_does_not_count_the_batch(store: RedisStore) -> None:
    await store.client.call(b"SET", STREAM, b"no stream")
    with pytest.raises(StoreUnavailableError, match="wa:events"):
        await store.events.append(1, [event("m")])
    assert await batch_keys(store.client) == []


async def test_a_server_killed_and_started_again_takes_the_next_batch() -> None:
    with own_server() as server:
        async with real_store(server.url) as store:
            await store.events.append(1, [event("m")])
            server.kill()
            with pytest.raises(StoreUnavailableError):
                await store.events.append(2, [event("m")])
            server.start()
            with pytest.raises(StoreUnavailableError, match="began anew"):
                await store.ping()
            await store.events.append(2, [event("m")])
            assert await length(store.client) == 1  # it keeps nothing over its death


async def test_cancelled_at_any_step_and_repeated_a_batch_is_added_once(store: RedisStore) -> None:
    with anyio.fail_after(SOON):
        for batch in range(1, 31):
            async with anyio.create_task_group() as group:
                group.start_soon(store.events.append, batch, [event(str(batch))])
                for _ in range(batch):
                    await checkpoint()
                group.cancel_scope.cancel()
            await store.events.append(batch, [event(str(batch))])
    assert await length(store.client) == 30
