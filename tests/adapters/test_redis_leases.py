"""What is particular to leases as keys in Redis: what stands in them, how many at once, and what is not ours there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from tests.adapters.redis_server import own_server
from tests.contracts.redis_sides import SOON, clients, eventually, real_store
from wa_supervisor.adapters.redis import holder as holders
from wa_supervisor.adapters.redis.holder import Holder, KeptLease, is_left_behind, read_lease, this_process
from wa_supervisor.adapters.redis.keys import Keys
from wa_supervisor.adapters.redis.leases import RedisLeases
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.engine.ports import Lease

pytestmark = pytest.mark.anyio

A, B, C, D = (IntegrationId(name) for name in "abcd")
KEY_A, KEY_B = b"wa:lease:a", b"wa:lease:b"
LONG = 3600.0
MANY = [IntegrationId(f"number-{number}") for number in range(10_000)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    async with real_store(redis_url) as store:
        yield store


async def kept(store: RedisStore, key: bytes = KEY_A) -> KeptLease:
    lease = read_lease(cast("bytes", await store.client.call(b"GET", key)))
    assert lease is not None
    return lease


async def seconds_left(store: RedisStore, key: bytes) -> float:
    return cast("int", await store.client.call(b"PTTL", key)) / 1000


async def calls_of_scripts(store: RedisStore) -> int:
    answer = cast("bytes", await store.client.call(b"INFO", b"commandstats")).decode()
    rows = [row for row in answer.splitlines() if row.startswith(("cmdstat_eval:", "cmdstat_evalsha:"))]
    return sum(int(row.partition("calls=")[2].partition(",")[0]) for row in rows)


def ended_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    return child.pid


def left_by(**changes: object) -> Holder:
    """Give a process of the daemon `one` that has ended, in this very place unless `changes` says otherwise."""
    return msgspec.structs.replace(this_process("one", "before"), **{"pid": ended_pid(), **changes})


async def leave(store: RedisStore, process: Holder) -> None:
    """Have a process hold A."""
    leases = RedisLeases(store.client, Keys(), daemon_id="one", instance=process.instance, process=process)
    assert (await leases.hold([A], LONG))[A].is_ours


async def take(store: RedisStore, name: IntegrationId = A) -> Lease:
    return (await store.leases.hold([name], LONG))[name]


async def test_the_key_says_to_a_person_who_holds_it_and_ends_by_itself(store: RedisStore) -> None:
    lease = await take(store)
    value = await kept(store)
    assert (value.daemon, value.pid, value.fence) == ("one", os.getpid(), lease.fence)
    assert value.host
    assert 3590 < await seconds_left(store, KEY_A) <= 3600
    assert await store.client.call(b"GET", b"wa:fence") == b"%d" % lease.fence
    assert await store.client.call(b"PTTL", b"wa:fence") == -1


async def test_every_store_is_a_process_of_its_own(redis_url: str, store: RedisStore) -> None:
    async with real_store(redis_url, "two") as two, real_store(redis_url, "one") as namesake:
        assert (await take(store)).is_ours
        assert (await take(two)).holder == "one"
        seen = await take(namesake)
        assert not seen.is_ours
        assert str(os.getpid()) in seen.holder
        await two.leases.release([A])
        await namesake.leases.release([A])
        assert (await take(store)).is_ours


async def test_when_the_ttl_is_over_the_key_is_gone_and_the_other_daemon_has_it(
    redis_url: str, store: RedisStore
) -> None:
    first = (await store.leases.hold([A], 0.02))[A]

    async def is_gone() -> bool:
        return await store.client.call(b"EXISTS", KEY_A) == 0

    await eventually(is_gone)
    async with real_store(redis_url, "two") as two:
        second = await take(two)
        assert second.is_ours
        assert second.fence > first.fence
        assert not (await take(store)).is_ours


async def test_a_ttl_below_a_millisecond_is_one(store: RedisStore) -> None:
    assert (await store.leases.hold([A], 0.0))[A].is_ours


async def test_a_server_that_forgot_the_scripts_is_given_them_again(store: RedisStore) -> None:
    first = await take(store)
    await store.client.call(b"SCRIPT", b"FLUSH")
    assert await take(store) == first
    await store.client.call(b"SCRIPT", b"FLUSH")
    await store.leases.release([A])
    assert await store.client.call(b"EXISTS", KEY_A) == 0


async def test_ten_thousand_are_taken_renewed_seen_and_given_back_in_a_few_calls(redis_url: str) -> None:
    policy = RedisPolicy(batch=500)
    async with real_store(redis_url, "one", policy) as one, real_store(redis_url, "two", policy) as two:
        taken = await one.leases.hold(MANY, LONG)
        assert all(lease.is_ours for lease in taken.values())
        assert sorted(lease.fence for lease in taken.values()) == list(range(1, 10_001))
        before = await calls_of_scripts(one)
        assert await one.leases.hold(MANY, LONG) == taken
        assert await calls_of_scripts(one) - before == 20
        assert {lease.holder for lease in (await two.leases.hold(MANY, LONG)).values()} == {"one"}
        before = await calls_of_scripts(one)
        await one.leases.release(MANY)
        assert await calls_of_scripts(one) - before <= 21  # one more if the server did not know the script yet
        assert await one.client.call(b"DBSIZE") == 1  # the counter


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"pid": os.getpid()}, id="its process lives, or another has its number"),
        pytest.param({"place": "another boot or container"}, id="it ran where we cannot see"),
        pytest.param({"place": ""}, id="nobody knows where it ran"),
        pytest.param({"daemon": "two"}, id="it is another daemon"),
    ],
)
async def test_what_is_not_certainly_left_behind_is_not_taken(store: RedisStore, changes: dict[str, object]) -> None:
    await leave(store, left_by(**changes))
    assert not (await take(store)).is_ours


async def test_what_our_dead_process_left_is_taken_at_once(store: RedisStore) -> None:
    await leave(store, left_by())
    assert (await take(store)).is_ours
    assert (await kept(store)).pid == os.getpid()


def test_our_own_process_is_never_left_behind() -> None:
    ended = left_by()
    assert not is_left_behind(ended, ended)
    assert is_left_behind(ended, this_process("one", "after"))


def test_without_proc_there_is_no_place_and_with_it_there_is(tmp_path: Path) -> None:
    assert holders._place(tmp_path) == ""
    assert holders._place(Path("/proc"))
    assert this_process("one", "word").place == holders._place(Path("/proc"))


@pytest.mark.parametrize("text", [b"", b"garbage", b"{}", b'{"fence":1,"daemon":"x"}', b"\xff"])
async def test_a_text_that_is_no_lease_is_left_alone_and_told(store: RedisStore, text: bytes) -> None:
    await store.client.call(b"SET", KEY_A, text)
    seen = await store.leases.hold([A, B], LONG)
    assert not seen[A].is_ours
    assert "wa:lease:<its id> holds no lease; delete it" in seen[A].holder
    assert seen[B].is_ours
    await store.leases.release([A, B])
    assert await store.client.call(b"GET", KEY_A) == text


async def test_a_key_of_a_wrong_type_is_its_own_trouble_only(store: RedisStore) -> None:
    await store.client.call(b"RPUSH", KEY_A, b"no text")
    for _ in range(2):
        seen = await store.leases.hold([A, B], LONG)
        assert not seen[A].is_ours
        assert "delete it" in seen[A].holder
        assert seen[B].is_ours
    await store.leases.release([A, B])
    assert await store.client.call(b"TYPE", KEY_A) == b"list"
    assert await store.client.call(b"EXISTS", KEY_B) == 0


async def test_a_counter_of_a_wrong_type_is_refused_by_name_and_what_we_have_is_renewed(store: RedisStore) -> None:
    await store.leases.hold([A], 100)
    await store.client.call(b"DEL", b"wa:fence")
    await store.client.call(b"RPUSH", b"wa:fence", b"no counter")
    with pytest.raises(RefusalError, match=r"rename or delete that key .*wa:fence"):
        await store.leases.hold([B, A], LONG)
    assert await seconds_left(store, KEY_A) > 100
    assert await store.client.call(b"EXISTS", KEY_B) == 0


async def test_a_full_server_takes_nothing_new_and_renews_what_we_have() -> None:
    with own_server() as server:
        async with real_store(server.url, policy=RedisPolicy(batch=2)) as store:
            await store.leases.hold([A, B], 100)
            await store.client.call(b"CONFIG", b"SET", b"maxmemory", b"1")
            with pytest.raises(RefusalError, match="maxmemory"):
                await store.leases.hold([C, D, A, B], LONG)  # two batches, of which the first is refused
            assert await seconds_left(store, KEY_A) > 100
            assert await seconds_left(store, KEY_B) > 100
            await store.client.call(b"CONFIG", b"SET", b"maxmemory", b"0")
            assert (await take(store, C)).is_ours


async def test_a_user_who_may_not_read_leases_is_told_so_and_no_id_is_named(redis_url: str) -> None:
    async with real_store(redis_url) as store, real_store(redis_url) as narrow:
        await store.client.call(b"ACL", b"SETUSER", b"narrow", b"on", b"nopass", b"+@all", b"resetkeys", b"~wa:fence")
        await narrow.client.call(b"AUTH", b"narrow", b"any")
        number = IntegrationId("5511988887777")
        with pytest.raises(RefusalError, match="ACL SETUSER") as error:
            await narrow.leases.hold([number], LONG)
        assert number not in str(error.value)
        await store.client.call(b"ACL", b"DELUSER", b"narrow")


async def test_a_server_that_forgot_everything_gives_leases_to_who_asks_first(redis_url: str) -> None:
    async with real_store(redis_url) as one, real_store(redis_url, "two") as two:
        await take(one)
        await one.client.call(b"FLUSHALL")
        assert (await take(two)).is_ours
        assert (await take(one)).holder == "two"


async def test_ids_that_are_no_text_have_leases_all_the_same(store: RedisStore) -> None:
    odd = IntegrationId("\ud800")
    assert (await take(store, odd)).is_ours


async def test_a_call_cancelled_at_any_step_leaves_no_connection_and_the_next_one_works(redis_url: str) -> None:
    async with real_store(redis_url, "observer") as observer:
        await observer.client.call(b"PING")
        before = await clients(observer.client, "")
        for steps in range(30):
            async with real_store(redis_url) as store:
                async with anyio.create_task_group() as group:
                    group.start_soon(store.leases.hold, [A], LONG)
                    for _ in range(steps):
                        await checkpoint()
                    group.cancel_scope.cancel()
                with anyio.fail_after(SOON):
                    assert (await take(store)).is_ours
                    await store.leases.release([A])

        async def only_these() -> bool:
            return await clients(observer.client, "") == before

        await eventually(only_these)
        assert await observer.client.call(b"EXISTS", KEY_A) == 0


async def test_an_unreachable_server_is_an_error_at_once() -> None:
    async with real_store("unix:///tmp/there-is-no-such-socket") as store:
        with pytest.raises(StoreUnavailableError, match=r"redis\.url"):
            await store.leases.hold([A], LONG)
        with pytest.raises(StoreUnavailableError, match=r"redis\.url"):
            await store.leases.release([A])
