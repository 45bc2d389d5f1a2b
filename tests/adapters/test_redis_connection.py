"""What is particular to the connections with Redis: refusals, lost servers, cancellation, and no secret in any word."""

from __future__ import annotations

import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import anyio
import pytest
from anyio.abc import ByteStream, TaskGroup
from anyio.lowlevel import checkpoint

from tests.adapters.redis_server import CERTIFICATE, OwnServer, always, own_server, scripted_server
from tests.contracts.redis_sides import SOON, clients, eventually
from wa_supervisor.adapters.redis.address import RedisAddress, read_address
from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.direct import DirectLine
from wa_supervisor.adapters.redis.packing import Command
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.wire import Wire
from wa_supervisor.domain.errors import ConfigurationError, StoreUnavailableError

pytestmark = pytest.mark.anyio

SECRET = "s3cret/p@ss"
HASTY = RedisPolicy(connect_timeout=0.3, command_timeout=0.3)

Ask = Callable[[str, RedisPolicy, tuple[bytes, ...]], Awaitable[object]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def running(address: RedisAddress, policy: RedisPolicy | None = None) -> AsyncIterator[RedisClient]:
    client = RedisClient(address, policy or RedisPolicy())
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(client.run)
            yield client
            group.cancel_scope.cancel()


async def ask_the_client(url: str, policy: RedisPolicy, command: tuple[bytes, ...]) -> object:
    async with running(read_address(url, SECRET), policy) as client:
        try:
            return await client.call(*command)
        except StoreUnavailableError as error:
            return error


async def ask_directly(url: str, policy: RedisPolicy, command: tuple[bytes, ...]) -> object:
    def ask() -> object:
        line = DirectLine(read_address(url, SECRET), policy)
        try:
            return line.call(*command)
        except StoreUnavailableError as error:
            return error
        finally:
            line.close()

    return await anyio.to_thread.run_sync(ask)


@pytest.fixture(params=[ask_the_client, ask_directly], ids=["client", "directly"])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


def told(error: object) -> str:
    """Everything that anybody could get to read about an error."""
    assert isinstance(error, StoreUnavailableError)
    return "".join(traceback.format_exception(error)) + repr(error)


REFUSALS = [
    (b"-LOADING Redis is loading the dataset in memory", "LOADING", "wait until"),
    (b"-MOVED 3999 10.0.0.1:6381", "MOVED", "cluster"),
    (b"-CLUSTERDOWN Hash slot not served", "CLUSTERDOWN", "cluster"),
    (b"-CROSSSLOT Keys in request don't hash to the same slot", "CROSSSLOT", "cluster"),
    (b"-OOM command not allowed when used memory > 'maxmemory'.", "OOM", "maxmemory"),
    (b"-READONLY You can't write against a read only replica.", "READONLY", "primary"),
    (b"-MASTERDOWN Link with MASTER is down", "MASTERDOWN", "primary"),
    (b"-NOAUTH Authentication required.", "NOAUTH", "redis.password"),
    (b"-WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS", "redis.password"),
    (b"-NOPERM this user has no permissions to run the 'hgetall' command", "NOPERM", "ACL"),
    (b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable", "MISCONF", "disk"),
    (b"-WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE", "rename"),
    (b"-BUSY Redis is busy running a script.", "BUSY", "SCRIPT KILL"),
    (b"-NOREPLICAS Not enough good replicas to write.", "NOREPLICAS", "replicas"),
    (b"-ERR something new", "ERR", "something new"),
]


@pytest.mark.parametrize(("reply", "code", "advice"), REFUSALS, ids=[code for _, code, _ in REFUSALS])
async def test_every_refusal_says_what_to_do_and_names_the_command(
    ask: Ask, reply: bytes, code: str, advice: str
) -> None:
    async def answer(command: list[bytes], stream: ByteStream) -> None:
        await stream.send(reply + b"\r\n" if command[0] == b"HGETALL" else b"+OK\r\n")

    async with scripted_server(answer) as place:
        error = await ask(f"redis://{place}/0", RedisPolicy(), (b"HGETALL", b"wa:integrations"))
    assert isinstance(error, RefusalError)
    assert error.code == code
    assert advice in str(error)
    assert "HGETALL wa:integrations" in str(error)
    assert place in str(error)


async def test_what_the_server_repeats_of_our_arguments_is_not_told(ask: Ask) -> None:
    reply = b"-ERR unknown command 'HGETALL', with args beginning with: 'a private text' \r\n"
    async with scripted_server(always(reply)) as place:
        error = await ask(f"redis://{place}", RedisPolicy(), (b"HGETALL", b"wa:integrations"))
    assert "unknown command" in str(error)
    assert "private" not in str(error)


async def test_a_password_that_a_server_repeats_is_struck_out(ask: Ask) -> None:
    async with scripted_server(always(b"-ERR what is %b?\r\n" % SECRET.encode())) as place:
        error = await ask(f"redis://{place}", RedisPolicy(), (b"PING",))
    assert isinstance(error, StoreUnavailableError)
    assert SECRET not in str(error)
    assert "***" in str(error)


async def test_a_server_that_says_nothing_is_given_up_in_time(ask: Ask) -> None:
    async def say_nothing(command: list[bytes], stream: ByteStream) -> None:
        del command, stream
        await checkpoint()

    async with scripted_server(say_nothing) as place:
        error = await ask(f"redis://{place}", HASTY, (b"PING",))
    assert "did not answer within 0.3 s" in told(error)


@pytest.mark.parametrize("half", [b"", b"$10\r\nhal", b"*2\r\n$1\r\na\r\n"])
async def test_a_connection_that_ends_within_an_answer_is_an_error(ask: Ask, half: bytes) -> None:
    async def hang_up(command: list[bytes], stream: ByteStream) -> None:
        if command[0] == b"GET":
            await stream.send(half) if half else None
            await stream.aclose()
        else:
            await stream.send(b"+OK\r\n")

    async with scripted_server(hang_up) as place:
        error = await ask(f"redis://{place}", RedisPolicy(), (b"GET", b"key"))
    assert "cannot be reached" in told(error)
    assert "redis.url" in str(error)


async def test_an_answer_that_is_no_redis_is_an_error(ask: Ask) -> None:
    async with scripted_server(always(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as place:
        error = await ask(f"redis://{place}", RedisPolicy(), (b"PING",))
    assert isinstance(error, StoreUnavailableError)


async def test_nobody_listening_is_an_error_that_names_the_address(ask: Ask) -> None:
    async with scripted_server(always(b"+PONG\r\n")) as place:
        pass
    error = await ask(f"redis://{place}/3", RedisPolicy(), (b"PING",))
    assert place in told(error)
    assert "(database 3)" in str(error)


async def test_an_encrypted_server_is_spoken_to_when_its_certificate_is_trusted(ask: Ask) -> None:
    async with scripted_server(polite, is_encrypted=True) as place:
        url = f"rediss://{place}?ssl_ca_certs={CERTIFICATE}"
        assert await ask(url, RedisPolicy(), (b"ECHO", b"secret")) in (b"OK", "OK")


@pytest.mark.parametrize(
    ("host", "options"),
    [("127.0.0.1", ""), ("127.0.0.2", f"?ssl_ca_certs={CERTIFICATE}")],
    ids=["nobody trusted", "another name"],
)
async def test_a_server_that_cannot_prove_who_it_is_hears_nothing(ask: Ask, host: str, options: str) -> None:
    asked: list[bytes] = []

    async def note(command: list[bytes], stream: ByteStream) -> None:
        asked.append(command[0])
        await stream.send(b"+OK\r\n")

    async with scripted_server(note, is_encrypted=True, host=host) as place:
        error = await ask(f"rediss://{place}{options}", RedisPolicy(), (b"PING",))
    assert "cannot be reached" in told(error)
    assert "certificate" in told(error).lower()
    assert asked == []


async def polite(command: list[bytes], stream: ByteStream) -> None:
    del command
    await stream.send(b"+OK\r\n")


async def test_a_surprise_within_the_library_fails_the_callers_and_not_the_daemon(redis_url: str) -> None:
    class Surprising(Wire):
        async def exchange(self, commands: Sequence[Command]) -> list[object]:
            await checkpoint()
            if commands[0] == (b"SURPRISE",):
                raise LookupError("nobody expected this")
            return await super().exchange(commands)

    address = read_address(redis_url)
    client = RedisClient(address, RedisPolicy(), Surprising(address, RedisPolicy()))
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(client.run)
            with pytest.raises(StoreUnavailableError, match="nobody expected this"):
                await client.call(b"SURPRISE")
            assert await client.call(b"PING") == b"PONG"
            group.cancel_scope.cancel()


class TestAddress:
    """What the operator's URL is read into."""

    def test_every_part_of_a_url_counts(self) -> None:
        address = read_address("redis://user:p%40ss@example.org:6380/5")
        expected = RedisAddress(host="example.org", port=6380, database=5, username="user", password="p@ss")
        assert address == expected

    def test_a_password_beside_the_url_takes_the_place_of_one_in_it(self) -> None:
        assert read_address("redis://:inside@localhost", "outside").password == "outside"

    def test_a_socket_has_a_path_and_a_database(self) -> None:
        address = read_address("unix:///run/my%20redis.sock?db=2")
        assert (address.socket, address.database) == ("/run/my redis.sock", 2)

    def test_tls_trusts_what_the_url_says_and_checks_the_host(self) -> None:
        address = read_address("rediss://h?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/etc/c&ssl_keyfile=/etc/k")
        assert address.tls is not None
        assert (address.tls.ca_certs, address.tls.checks_hostname) == ("/etc/ca.pem", True)
        assert read_address("redis://h").tls is None

    @pytest.mark.parametrize(
        "url", [f"redis://:{SECRET}@h:1/0", "http://h", f"redis://:{SECRET}", "redis://h/zero", ""]
    )
    def test_a_url_that_is_none_is_a_mistake_without_the_secret(self, url: str) -> None:
        with pytest.raises(ConfigurationError) as error:
            read_address(url)
        assert "redis.url" in str(error.value)
        assert "s3cret" not in "".join(traceback.format_exception(error.value))

    def test_a_secret_is_not_shown(self) -> None:
        address = read_address("redis://user@h", SECRET)
        wire = Wire(address, RedisPolicy())
        assert SECRET not in repr(address) + repr(address.server) + repr(wire)


class TestPassword:
    """On a real server that asks for one."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[OwnServer]:
        with own_server("--requirepass", SECRET) as server:
            yield server

    async def test_the_right_password_is_let_in(self, server: OwnServer, ask: Ask) -> None:
        assert await ask(server.url, RedisPolicy(), (b"PING",)) in (b"PONG", "PONG")

    @pytest.mark.parametrize("password", [None, "wr0ng"])
    async def test_a_wrong_one_is_refused_and_told_nowhere(self, server: OwnServer, password: str | None) -> None:
        async with running(read_address(server.url, password)) as client:
            with pytest.raises(RefusalError) as error:
                await client.call(b"PING")
        assert "redis.password" in str(error.value)
        assert "wr0ng" not in told(error.value)
        line = DirectLine(read_address(server.url, password), RedisPolicy())
        with pytest.raises(RefusalError) as error:
            line.call(b"PING")
        line.close()
        assert "redis.password" in str(error.value)
        assert "wr0ng" not in told(error.value)


class TestClient:
    """The one connection that everybody shares."""

    async def test_callers_get_their_own_answers_in_one_go(self, redis_url: str) -> None:
        answers: dict[int, object] = {}

        async def call(client: RedisClient, number: int) -> None:
            answers[number] = await client.call(b"ECHO", b"%d" % number)

        async with running(read_address(redis_url)) as client:
            async with anyio.create_task_group() as group:
                for number in range(2000):
                    group.start_soon(call, client, number)
            assert len(await clients(client, "")) == 1
        assert answers == {number: b"%d" % number for number in range(2000)}

    async def test_an_error_reply_is_its_callers_alone(self, redis_url: str) -> None:
        async with running(read_address(redis_url)) as client:
            answers = await client.call_all([(b"SET", b"k", b"v"), (b"LPUSH", b"k", b"1"), (b"GET", b"k")])
        assert answers[0] == b"OK"
        assert isinstance(answers[1], RefusalError)
        assert answers[2] == b"v"

    async def test_no_commands_are_no_round_trip(self, redis_url: str) -> None:
        async with running(read_address(redis_url)) as client:
            assert await client.call_all([]) == []

    async def test_a_cancelled_caller_disturbs_nobody(self, redis_url: str) -> None:
        answers: list[object] = []

        async def call(client: RedisClient, number: int) -> None:
            answers.append(await client.call(b"ECHO", b"%d" % number))

        async with running(read_address(redis_url)) as client:
            for steps in range(30):
                async with anyio.create_task_group() as group:
                    group.start_soon(call, client, steps)
                    async with anyio.create_task_group() as doomed:
                        for _ in range(5):
                            doomed.start_soon(client.call, b"ECHO", b"nobody")
                        for _ in range(steps):
                            await checkpoint()
                        doomed.cancel_scope.cancel()
            assert len(await clients(client, "")) == 1
        assert answers == [b"%d" % steps for steps in range(30)]

    async def test_a_killed_server_fails_everybody_who_waits_and_a_new_one_serves_again(self) -> None:
        async with waiting_for_ever() as (server, client, errors, callers):
            for _ in range(3):
                callers.start_soon(wait_for_ever, client, errors)
            await eventually(lambda: anyio.to_thread.run_sync(is_blocked, server.url))
            server.kill()
            await eventually(lambda: has(errors, 3))
            with pytest.raises(StoreUnavailableError):
                await client.call(b"PING")
            told: list[str] = []
            client.on_other_server = lambda: told.append("another")
            server.start()
            with pytest.raises(StoreUnavailableError, match="began anew"):
                await client.call(b"SET", b"key", b"decided with what the old one knew")
            assert told == ["another"]
            assert await client.call(b"GET", b"key") is None
            assert told == ["another"]

    async def test_a_connection_that_is_lost_and_made_again_to_the_same_server_is_nothing_new(
        self, redis_url: str
    ) -> None:
        async with running(read_address(redis_url)) as client, running(read_address(redis_url)) as other:
            told: list[str] = []
            client.on_other_server = lambda: told.append("another")
            (number,) = cast("list[int]", [await client.call(b"CLIENT", b"ID")])
            await other.call(b"CLIENT", b"KILL", b"ID", b"%d" % number)
            with pytest.raises(StoreUnavailableError):
                await client.call(b"PING")
            assert await client.call(b"PING") == b"PONG"
            assert told == []

    async def test_nothing_of_what_waited_is_written_to_a_server_that_began_anew_before_that_is_told(self) -> None:
        told: list[int] = []
        errors: list[str] = []

        async def write(client: RedisClient, number: int) -> None:
            with pytest.raises(StoreUnavailableError) as error:
                await client.call_all([(b"SET", b"%d" % number, b"old"), (b"RPUSH", b"all", b"%d" % number)])
            errors.append(str(error.value))

        with own_server() as server:
            async with running(read_address(server.url), RedisPolicy(batch=10)) as client:
                client.on_other_server = lambda: told.append(len(errors))
                await client.call(b"SET", b"kept", b"by the old one")
                server.kill()
                server.start()
                await fails_once(client)
                async with anyio.create_task_group() as group:
                    for number in range(50):  # many batches
                        group.start_soon(write, client, number)
                assert told == [0]  # before anybody heard of it
                assert await client.call(b"DBSIZE") == 0
        assert len(errors) == 50
        assert all("began anew" in error for error in errors)

    async def test_callers_cancelled_while_it_is_asked_which_server_it_is_disturb_nobody(self) -> None:
        told: list[str] = []
        with own_server() as server:
            async with running(read_address(server.url)) as client:
                client.on_other_server = lambda: told.append("another")
                await client.call(b"PING")
                for steps in range(12):
                    server.kill()
                    server.start()
                    await fails_once(client)
                    async with anyio.create_task_group() as doomed:
                        doomed.start_soon(client.call, b"SET", b"key", b"old")
                        for _ in range(steps):
                            await checkpoint()
                        doomed.cancel_scope.cancel()
                    await eventually(lambda: answers(client))
                    assert await client.call(b"EXISTS", b"key") == 0
                    assert len(told) == steps + 1

    async def test_a_server_that_does_not_say_which_it_is_may_be_another_at_every_connection(self) -> None:
        async def answer(command: list[bytes], stream: ByteStream) -> None:
            if command[0] == b"QUIT":
                await stream.aclose()
            elif command[0] == b"INFO":
                await stream.send(b"-NOPERM this user has no permissions to run the 'info' command\r\n")
            else:
                await stream.send(b"+OK\r\n")

        told: list[str] = []
        async with scripted_server(answer) as place, running(read_address(f"redis://{place}")) as client:
            client.on_other_server = lambda: told.append("another")
            for times in range(3):
                assert await client.call(b"PING") == b"OK"
                assert len(told) == times
                with pytest.raises(StoreUnavailableError):
                    await client.call(b"QUIT")
                with pytest.raises(StoreUnavailableError, match="began anew"):
                    await client.call(b"PING")

    async def test_a_server_that_hangs_fails_calls_in_time_and_serves_again_when_it_is_back(self) -> None:
        with own_server() as server:
            async with running(read_address(server.url), HASTY) as client:
                await client.call(b"PING")
                server.signal(signal.SIGSTOP)
                try:
                    with pytest.raises(StoreUnavailableError, match="did not answer within"):
                        await client.call(b"PING")
                finally:
                    server.signal(signal.SIGCONT)
                assert await client.call(b"PING") == b"PONG"

    async def test_calls_after_the_end_are_refused(self, redis_url: str) -> None:
        async with running(read_address(redis_url)) as client:
            await client.call(b"PING")
        with pytest.raises(StoreUnavailableError, match="stopping"):
            await client.call(b"PING")

    async def test_calls_that_wait_at_the_end_are_refused(self) -> None:
        async with waiting_for_ever() as (server, client, errors, callers):
            callers.start_soon(wait_for_ever, client, errors)
            await eventually(lambda: anyio.to_thread.run_sync(is_blocked, server.url))
            callers.start_soon(wait_for_ever, client, errors)
            await checkpoint()
        assert len(errors) == 2


async def fails_once(client: RedisClient) -> None:
    """Have the client learn that its connection is lost."""
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        await client.call(b"PING")


async def answers(client: RedisClient) -> bool:
    try:
        return await client.call(b"PING") == b"PONG"
    except StoreUnavailableError:
        return False


@asynccontextmanager
async def waiting_for_ever() -> AsyncIterator[tuple[OwnServer, RedisClient, list[StoreUnavailableError], TaskGroup]]:
    """Give a server, a client of it that waits for answers long, and a task group that outlives the client's task."""
    errors: list[StoreUnavailableError] = []
    with own_server() as server:
        client = RedisClient(read_address(server.url), RedisPolicy(command_timeout=SOON))
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as callers, anyio.create_task_group() as group:
                group.start_soon(client.run)
                yield server, client, errors, callers
                group.cancel_scope.cancel()


async def wait_for_ever(client: RedisClient, errors: list[StoreUnavailableError]) -> None:
    try:
        await client.call(b"BLPOP", b"never", b"0")
    except StoreUnavailableError as error:
        errors.append(error)


def is_blocked(url: str) -> bool:
    line = DirectLine(read_address(url), RedisPolicy())
    try:
        return b"cmd=blpop" in cast("bytes", line.call(b"CLIENT", b"LIST"))
    finally:
        line.close()


async def has(errors: list[StoreUnavailableError], count: int) -> bool:
    await checkpoint()
    return len(errors) == count
