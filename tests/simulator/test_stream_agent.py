"""The echo agent on streams against a real Valkey: at least once in, exactly once out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import msgspec
import pytest
from redis import asyncio as redis

from tests.adapters.redis_server import own_server
from tests.benchmarks.delivery.agents import read_line
from tests.simulator.agent_rooms import program, until_lines
from tests.simulator.harness import PATIENCE
from wa_supervisor.simulator.stream_agent import StreamEchoAgent

pytestmark = pytest.mark.anyio

ANNA = "5511900000077@c.us"


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    async with redis.Redis.from_url(redis_url, decode_responses=True, socket_timeout=None) as client:
        yield client


async def put(client: redis.Redis, agent: str, message_id: str, text: str = "hello", session: str = "acme") -> str:
    """Hand a message over, as the daemon does; its entry."""
    message = {"text": text, "chat_id": ANNA, "channel": "whatsapp", "session": session, "message_id": message_id}
    entry = await client.xadd(f"agent:{agent}:input", {"payload": msgspec.json.encode(message)})
    return str(entry)


async def answers(client: redis.Redis, agent: str) -> list[dict[str, object]]:
    """Everything on the output stream."""
    entries = cast("list[tuple[str, dict[str, str]]]", await client.xrange(f"agent:{agent}:output"))
    return [msgspec.json.decode(fields["payload"]) for _, fields in entries]


async def until_answers(client: redis.Redis, agent: str, last: str) -> list[dict[str, object]]:
    """Wait until the stream has the answer to this message; all of them."""
    with anyio.fail_after(20):
        while True:  # another process, or a connection that is cut, has no event to wait for
            found = await answers(client, agent)
            if last in [answer["reply_id"] for answer in found]:
                break
            await anyio.sleep(0.02)
    return found


async def pending(client: redis.Redis, agent: str) -> int:
    """How many entries were given and not acknowledged."""
    found: int = (await client.xpending(f"agent:{agent}:input", "echo"))["pending"]
    return found


@asynccontextmanager
async def running(agent: StreamEchoAgent) -> AsyncIterator[StreamEchoAgent]:
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(PATIENCE):
            await tasks.start(agent.run)
        yield agent
        tasks.cancel_scope.cancel()


async def until_answered(agent: StreamEchoAgent, count: int) -> None:
    with anyio.fail_after(PATIENCE):
        await agent.until(lambda agent: sum(agent.answered.values()) >= count)


async def test_it_answers_on_the_output_stream_acknowledges_and_rings(client: redis.Redis, redis_url: str) -> None:
    async with client.pubsub() as heard, running(StreamEchoAgent(redis_url, ["sales"])) as agent:
        await heard.subscribe("agent:sales:output")
        await put(client, "sales", "m1")
        await until_answered(agent, 1)
        with anyio.fail_after(PATIENCE):
            while (message := await heard.get_message(ignore_subscribe_messages=True, timeout=None)) is None:
                pass
        assert message["data"] == ""
        assert await answers(client, "sales") == [
            {"chat_id": ANNA, "response": "echo: hello", "channel": "whatsapp", "session": "acme", "reply_id": "m1"}
        ]
        assert await pending(client, "sales") == 0


async def test_one_agent_serves_many_ids_and_keeps_the_order(client: redis.Redis, redis_url: str) -> None:
    async with running(StreamEchoAgent(redis_url, ["a", "b"])) as agent:
        for number in range(60):
            await put(client, "ab"[number % 2], f"m{number}", f"no {number}")
        await until_answered(agent, 60)
        for first, name in enumerate("ab"):
            said = [answer["response"] for answer in await answers(client, name)]
            assert said == [f"echo: no {number}" for number in range(first, 60, 2)]


async def test_what_came_before_it_ever_ran_is_answered(client: redis.Redis, redis_url: str) -> None:
    await put(client, "sales", "m1")
    async with running(StreamEchoAgent(redis_url, ["sales"])) as agent:
        await until_answered(agent, 1)


async def test_what_an_earlier_run_left_unacknowledged_comes_first(client: redis.Redis, redis_url: str) -> None:
    await put(client, "sales", "left", "left")
    await client.xgroup_create("agent:sales:input", "echo", id="0")
    await client.xreadgroup("echo", "me", {"agent:sales:input": ">"})
    await put(client, "sales", "new", "new")
    async with running(StreamEchoAgent(redis_url, ["sales"])) as agent:
        await until_answered(agent, 2)
    assert [answer["reply_id"] for answer in await answers(client, "sales")] == ["left", "new"]


async def test_a_message_that_comes_again_is_acknowledged_and_not_answered_again(
    client: redis.Redis, redis_url: str
) -> None:
    async with running(StreamEchoAgent(redis_url, ["sales"])) as agent:
        for message_id, session in (("m1", "acme"), ("m1", "acme"), ("m1", "other"), ("m2", "acme")):
            await put(client, "sales", message_id, session=session)
        await until_answered(agent, 3)
        given = [(answer["session"], answer["reply_id"]) for answer in await answers(client, "sales")]
        assert given == [("acme", "m1"), ("other", "m1"), ("acme", "m2")]
        assert agent.heard["sales"] == 4
        assert await pending(client, "sales") == 0


async def test_what_it_cannot_read_is_acknowledged_and_disturbs_nothing(client: redis.Redis, redis_url: str) -> None:
    for field, value in (("payload", "no json"), ("payload", "[]"), ("other", "field")):
        await client.xadd("agent:sales:input", {field: value})
    await put(client, "sales", "m1")
    async with running(StreamEchoAgent(redis_url, ["sales"])) as agent:
        await until_answered(agent, 1)
        assert agent.unreadable == 3
        assert await pending(client, "sales") == 0


async def test_an_entry_that_was_trimmed_before_it_was_acknowledged_is_let_go(
    client: redis.Redis, redis_url: str
) -> None:
    entry = await put(client, "sales", "trimmed")
    await client.xgroup_create("agent:sales:input", "echo", id="0")
    await client.xreadgroup("echo", "me", {"agent:sales:input": ">"})
    await client.xdel("agent:sales:input", entry)
    await put(client, "sales", "m1")
    async with running(StreamEchoAgent(redis_url, ["sales"])) as agent:
        await until_answered(agent, 1)
        assert await pending(client, "sales") == 0


async def test_it_can_say_nothing(client: redis.Redis, redis_url: str) -> None:
    def quiet(text: str) -> str | None:
        return None if text == "hush" else text

    async with running(StreamEchoAgent(redis_url, ["sales"], reply=quiet)) as agent:
        await put(client, "sales", "m1", "hush")
        await put(client, "sales", "m2", "speak")
        await until_answered(agent, 1)
        assert [answer["response"] for answer in await answers(client, "sales")] == ["speak"]
        assert await pending(client, "sales") == 0


async def test_a_connection_that_is_cut_again_and_again_loses_and_doubles_nothing(
    client: redis.Redis, redis_url: str
) -> None:
    async with running(StreamEchoAgent(redis_url, ["sales"])):
        for number in range(100):
            await put(client, "sales", f"m{number}")
            if number % 5 == 0:
                await client.client_kill_filter(_type="normal", skipme=True)
        given = await until_answers(client, "sales", "m99")
    assert [answer["reply_id"] for answer in given] == [f"m{number}" for number in range(100)]


async def test_it_waits_for_a_redis_that_is_away_and_makes_its_group_again() -> None:
    with own_server() as server:
        server.kill()
        async with anyio.create_task_group() as tasks:
            agent = StreamEchoAgent(server.url, ["sales"])
            tasks.start_soon(agent.run)
            for life in (1, 2):  # it keeps nothing on disk: the second life knows of no group
                server.start()
                async with redis.Redis.from_url(server.url) as client:
                    await put(client, "sales", f"m{life}")
                await until_answered(agent, life)
                server.kill()
            tasks.cancel_scope.cancel()


async def test_as_a_program_it_survives_a_kill_without_losing_or_doubling(
    client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    numbers = iter(range(1000))
    for life in range(1, 4):
        async with program("stream_agent", redis_url, ["sales"], log) as process:
            for _ in range(40):
                await put(client, "sales", f"m{next(numbers)}")
            await until_lines(log, life * 40 - 10, kind="answered")
            process.kill()
            await process.wait()
    async with program("stream_agent", redis_url, ["sales"], log) as process:
        await put(client, "sales", "last")
        given = await until_answers(client, "sales", "last")
        process.terminate()
        with anyio.fail_after(PATIENCE):
            assert await process.wait() == 0
    assert [answer["reply_id"] for answer in given] == [*(f"m{number}" for number in range(120)), "last"]


async def test_its_log_tells_what_was_given_again(client: redis.Redis, redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    await put(client, "sales", "left", "n000001")
    await client.xgroup_create("agent:sales:input", "echo", id="0")
    await client.xreadgroup("echo", "me", {"agent:sales:input": ">"})
    await put(client, "sales", "new", "n000002")
    async with program("stream_agent", redis_url, ["sales"], log):
        heard = await until_lines(log, 2, kind="heard")
        await until_lines(log, 2, kind="answered")
    assert [(line["heard"], line["message_id"], line["redelivered"]) for line in heard] == [
        ("n000001", "left", True),
        ("n000002", "new", False),
    ]
    read = [read_line(line) for line in log.read_bytes().splitlines()]
    assert [(line.text, line.is_answer, line.is_redelivered) for line in read if line is not None] == [
        ("n000001", False, True),
        ("echo: n000001", True, True),
        ("n000002", False, False),
        ("echo: n000002", True, False),
    ]
