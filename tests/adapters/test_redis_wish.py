"""What is particular to hearing of a changed wish from Redis."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.adapters.redis_server import own_server
from tests.contracts.redis_sides import FAST, SOON, clients, eventually, real_store
from wa_supervisor.adapters.redis.address import read_address
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.adapters.redis.keys import Keys
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.store import RedisStore, open_store
from wa_supervisor.adapters.redis.wish import RedisWish, lacking_flags
from wa_supervisor.domain.errors import StoreUnavailableError

pytestmark = pytest.mark.anyio

SETTING = b"notify-keyspace-events"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    async with real_store(redis_url) as store:
        await store.client.call(b"CONFIG", b"SET", SETTING, b"")
        yield store
        await store.client.call(b"CONFIG", b"SET", SETTING, b"Kh")


class Bell:
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


@asynccontextmanager
async def watching(wish: RedisWish) -> AsyncIterator[Bell]:
    bell = Bell()
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(wish.watch, bell)
            await bell.next(0)
            yield bell
            group.cancel_scope.cancel()


async def setting(store: RedisStore) -> set[str]:
    answer = await store.client.call(b"CONFIG", b"GET", SETTING)
    assert isinstance(answer, list)
    return set(answer[1].decode())


@pytest.mark.parametrize(
    ("flags", "lacking"),
    [("", "Kh"), ("K", "h"), ("h", "K"), ("Kh", ""), ("AK", ""), ("AKE", ""), ("Ex", "Kh"), ("g$lshzxeK", "")],
)
def test_only_what_is_lacking_is_added(flags: str, lacking: str) -> None:
    assert lacking_flags(flags) == lacking


async def test_notifications_are_switched_on_beside_what_is_there(store: RedisStore) -> None:
    await store.client.call(b"CONFIG", b"SET", SETTING, b"Ex")
    async with watching(store.wish) as bell:
        assert await setting(store) == set("ExKh")
        assert store.wish.missing is None
        await store.client.call(b"HSET", b"wa:integrations", b"one", b"1")
        await bell.next(1)


async def test_without_notifications_the_command_line_still_rings(
    store: RedisStore, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    wish = RedisWish(store.client, Keys(), may_configure=False)
    with caplog.at_level(logging.WARNING):
        async with watching(wish) as bell:
            assert await setting(store) == set()
            assert wish.missing is not None
            assert "notify-keyspace-events" in wish.missing
            await anyio.to_thread.run_sync(write, redis_url)
            await bell.next(1)
            assert dict(await wish.read()) == {"one": b"1"}
    assert [record.message for record in caplog.records] == ["changes of the wish are not notified"]


def write(url: str) -> None:
    with OperatorDesk(url) as desk:
        desk.write("one", lambda _: b"1")


async def test_a_server_that_lets_nobody_configure_it_is_listened_to_all_the_same(
    store: RedisStore, redis_url: str
) -> None:
    await store.client.call(b"ACL", b"SETUSER", b"tenant", b"on", b">pass", b"~*", b"&*", b"+@all", b"-config")
    await store.client.call(b"CONFIG", b"SET", SETTING, b"Kh")
    tenant = replace(read_address(redis_url, "pass"), username="tenant")
    async with open_store(tenant, daemon_id="one", policy=FAST) as guest, watching(guest.wish) as bell:
        assert guest.wish.missing is not None
        await store.client.call(b"HSET", b"wa:integrations", b"one", b"1")
        await bell.next(1)
    await store.client.call(b"ACL", b"DELUSER", b"tenant")


async def test_another_database_has_a_wish_and_notifications_of_its_own(store: RedisStore, redis_url: str) -> None:
    other = replace(read_address(redis_url), database=3)
    async with open_store(other, daemon_id="one", policy=FAST) as second, watching(second.wish) as bell:
        await store.client.call(b"HSET", b"wa:integrations", b"zero", b"1")
        await second.client.call(b"HSET", b"wa:integrations", b"three", b"1")
        await bell.next(1)
        assert set(await second.wish.read()) == {"three"}


async def test_another_prefix_is_another_installation(store: RedisStore, redis_url: str) -> None:
    async with open_store(read_address(redis_url), daemon_id="one", keys=Keys(prefix="b:c")) as second:
        await store.client.call(b"HSET", b"b:c:integrations", b"theirs", b"1")
        assert set(await second.wish.read()) == {"theirs"}
        assert set(await store.wish.read()) == set()


async def test_a_server_killed_while_it_is_watched_is_an_error_and_watching_a_new_one_works() -> None:
    with own_server() as server:
        async with real_store(server.url) as store:
            for _ in range(2):
                bell = Bell()
                ended = await watch_until_killed(store.wish, bell, server.kill)
                assert "cannot be reached" in str(ended)
                with pytest.raises(StoreUnavailableError):
                    await store.wish.watch(bell)
                server.start()
                with pytest.raises(StoreUnavailableError, match="began anew"):
                    await store.ping()
            async with watching(store.wish) as bell:
                await store.client.call(b"HSET", b"wa:integrations", b"one", b"1")
                await bell.next(1)


async def test_a_server_that_hangs_is_noticed_by_its_silence() -> None:
    policy = RedisPolicy(ping_interval=0.05)
    with own_server() as server:
        async with real_store(server.url, policy=policy) as store:
            ended = await watch_until_killed(store.wish, Bell(), lambda: server.signal(signal.SIGSTOP))
            assert "did not answer within 0.05 s (listening on channels)" in str(ended)
            server.signal(signal.SIGCONT)


async def test_a_quiet_server_that_answers_pings_is_not_given_up() -> None:
    policy = RedisPolicy(ping_interval=0.01)
    with own_server() as server:
        async with real_store(server.url, policy=policy) as store, watching(store.wish) as bell:
            await eventually(lambda: many_pings(store))
            await store.client.call(b"HSET", b"wa:integrations", b"one", b"1")
            await bell.next(1)


async def many_pings(store: RedisStore) -> bool:
    answer = await store.client.call(b"INFO", b"commandstats")
    assert isinstance(answer, bytes)
    calls = re.search(r"cmdstat_ping:calls=(\d+)", answer.decode())
    return calls is not None and int(calls[1]) > 20


async def watch_until_killed(wish: RedisWish, bell: Bell, kill: Callable[[], object]) -> StoreUnavailableError:
    errors: list[StoreUnavailableError] = []

    async def watch() -> None:
        try:
            await wish.watch(bell)
        except StoreUnavailableError as error:
            errors.append(error)

    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await bell.next(0)
            kill()
    return errors[0]


async def test_watching_cancelled_at_any_step_leaves_no_connection(redis_url: str) -> None:
    async with real_store(redis_url) as store:
        await store.client.call(b"PING")
        before = await clients(store.client, "")
        for steps in range(60):
            async with anyio.create_task_group() as group:
                group.start_soon(store.wish.watch, Bell())
                for _ in range(steps):
                    await checkpoint()
                group.cancel_scope.cancel()
        await eventually(lambda: only_these(store, before))
        async with watching(store.wish):
            pass


async def only_these(store: RedisStore, connections: list[int]) -> bool:
    return await clients(store.client, "") == connections
