"""What is particular to reading one-off commands from a stream in Redis."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.adapters.redis_server import own_server
from tests.contracts.redis_sides import SOON, clients, eventually, real_store
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.status import CommandResult
from wa_supervisor.engine.ports import Command

pytestmark = pytest.mark.anyio

STREAM = b"wa:commands"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    async with real_store(redis_url) as store:
        yield store


class Taken:
    def __init__(self) -> None:
        self.commands: list[Command] = []
        self._came = anyio.Event()

    def __call__(self, command: Command) -> None:
        self.commands.append(command)
        self._came.set()
        self._came = anyio.Event()

    async def until(self, count: int) -> None:
        while len(self.commands) < count:
            await self._came.wait()

    @property
    def reasons(self) -> list[str]:
        return [command.reason for command in self.commands]


@asynccontextmanager
async def listening(store: RedisStore) -> AsyncIterator[Taken]:
    taken = Taken()
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(store.commands.listen, taken)
            await eventually(lambda: somebody_reads(store))
            yield taken
            group.cancel_scope.cancel()


async def somebody_reads(store: RedisStore) -> bool:
    return len(await clients(store.client, "cmd=xread")) > 0


async def give(store: RedisStore, reason: str) -> None:
    await store.client.call(
        b"XADD", STREAM, b"*", b"verb", b"restart", b"integration_id", b"one", b"reason", reason.encode(), b"by", b"me"
    )


async def test_what_is_no_command_is_left_out_and_told(store: RedisStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with listening(store) as taken:
            await store.client.call(b"XADD", STREAM, b"*", b"integration_id", b"one")
            await store.client.call(b"XADD", STREAM, b"*", b"\xff", b"\xfe")
            await give(store, "good")
            await taken.until(1)
    assert taken.reasons == ["good"]
    assert len(caplog.records) == 2


async def test_a_command_that_names_no_integration_is_for_the_daemon(store: RedisStore) -> None:
    async with listening(store) as taken:
        await store.client.call(b"XADD", STREAM, b"*", b"verb", b"confirm")
        await store.client.call(b"XADD", STREAM, b"*", b"verb", b"confirm", b"integration_id", b"")
        await taken.until(2)
    assert [(command.verb, command.integration_id) for command in taken.commands] == [("confirm", None)] * 2


async def test_an_answer_is_kept_for_some_minutes(store: RedisStore) -> None:
    for accepted in (False, True):
        await store.commands.answer(CommandResult(id="1-0", verb="v", at=1.0, accepted=accepted, message="m"))
        left = await store.client.call(b"PTTL", b"wa:answer:1-0")
        assert isinstance(left, int)
        assert 60_000 < left <= 600_000


async def test_an_answer_that_cannot_be_kept_is_an_error() -> None:
    with own_server("--maxmemory", "1") as server:
        async with real_store(server.url) as store:
            with pytest.raises(StoreUnavailableError, match="is full"):
                await store.commands.answer(CommandResult(id="1-0", verb="v", at=1.0, accepted=True, message="m"))


async def test_many_commands_given_at_once_all_come(store: RedisStore) -> None:
    async with listening(store) as taken:
        async with anyio.create_task_group() as group:
            for number in range(350):
                group.start_soon(give, store, str(number))
        await taken.until(350)
    assert sorted(map(int, taken.reasons)) == list(range(350))


async def test_reading_goes_on_when_nothing_came_for_longer_than_it_blocks(redis_url: str) -> None:
    async with real_store(redis_url, policy=RedisPolicy(block=0.01)) as store, listening(store) as taken:
        await store.client.call(b"CONFIG", b"RESETSTAT")
        await eventually(lambda: has_asked_often(store))
        await give(store, "late")
        await taken.until(1)


async def has_asked_often(store: RedisStore) -> bool:
    answer = await store.client.call(b"INFO", b"commandstats")
    assert isinstance(answer, bytes)
    calls = re.search(r"cmdstat_xread:calls=(\d+)", answer.decode())
    return calls is not None and int(calls[1]) > 10


async def test_a_stream_that_began_anew_is_read_on(store: RedisStore) -> None:
    async with listening(store) as taken:
        await store.client.call(b"XADD", STREAM, b"99999999999999-0", b"verb", b"v", b"integration_id", b"i")
        await taken.until(1)
    await store.client.call(b"FLUSHALL")
    async with listening(store) as taken:
        await give(store, "after the loss")
        await taken.until(1)
    assert taken.reasons == ["after the loss"]


async def test_a_key_of_a_wrong_type_is_an_error(store: RedisStore) -> None:
    await store.client.call(b"SET", STREAM, b"no stream")
    with anyio.fail_after(SOON), pytest.raises(StoreUnavailableError, match="wa:commands"):
        await store.commands.listen(Taken())


async def test_a_server_killed_and_started_again_ends_one_listening_and_serves_the_next() -> None:
    errors: list[StoreUnavailableError] = []
    with own_server() as server:
        async with real_store(server.url) as store:

            async def listen() -> None:
                try:
                    await store.commands.listen(Taken())
                except StoreUnavailableError as error:
                    errors.append(error)

            with anyio.fail_after(SOON):
                async with anyio.create_task_group() as group:
                    group.start_soon(listen)
                    await eventually(lambda: somebody_reads(store))
                    server.kill()
            assert len(errors) == 1
            with pytest.raises(StoreUnavailableError):
                await store.client.call(b"PING")
            server.start()
            with pytest.raises(StoreUnavailableError, match="began anew"):
                await store.ping()
            async with listening(store) as taken:
                await give(store, "again")
                await taken.until(1)


async def test_listening_cancelled_at_any_step_leaves_no_connection_and_misses_nothing(store: RedisStore) -> None:
    taken = Taken()
    async with listening(store):
        before = [n for n in await clients(store.client, "") if n not in await clients(store.client, "cmd=xread")]
    for steps in range(60):
        await give(store, str(steps))
        async with anyio.create_task_group() as group:
            group.start_soon(store.commands.listen, taken)
            for _ in range(steps):
                await checkpoint()
            group.cancel_scope.cancel()
    await eventually(lambda: only_these(store, before))
    async with listening(store) as last:
        await last.until(60 - len(taken.commands))
    assert taken.reasons + last.reasons == [str(steps) for steps in range(60)]


async def only_these(store: RedisStore, connections: list[int]) -> bool:
    return await clients(store.client, "") == connections
