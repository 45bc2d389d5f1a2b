"""The echo agent against a real Valkey: Pub/Sub in, Pub/Sub out, nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest
from redis import asyncio as redis
from redis.asyncio.client import PubSub

from tests.adapters.redis_server import OwnServer, own_server
from tests.simulator.agent_rooms import program, until_lines
from tests.simulator.harness import PATIENCE
from wa_supervisor.simulator.agent import EchoAgent

pytestmark = pytest.mark.anyio

MESSAGE = {
    "text": "hello",
    "chat_id": "5511900000077@c.us",
    "platform_user_id": "5511900000077@c.us",
    "user_data": {"first_name": "Anna", "is_authenticated": True},
    "channel": "whatsapp",
    "session": "acme",
}


class Hub:
    """The other side: publishes inputs and hears outputs."""

    def __init__(self, client: redis.Redis, pubsub: PubSub) -> None:
        self.client = client
        self._pubsub = pubsub

    async def publish(self, agent_id: str, message: object) -> int:
        """Publish an input; how many heard it."""
        payload = message if isinstance(message, bytes) else msgspec.json.encode(message)
        heard: int = await self.client.publish(f"agent:{agent_id}:input", payload)
        return heard

    async def next(self) -> tuple[str, dict[str, object]]:
        """The next output: channel and payload."""
        with anyio.fail_after(PATIENCE):
            while True:
                message = await self._pubsub.get_message(timeout=None)
                if message is not None and message["type"] == "pmessage":
                    return message["channel"].decode(), msgspec.json.decode(message["data"])


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    """Hear everything that agents answer."""
    async with redis.Redis.from_url(redis_url, socket_timeout=None) as client:
        pubsub = client.pubsub()
        await pubsub.psubscribe("agent:*:output")
        yield Hub(client, pubsub)
        await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py has no annotations there


@asynccontextmanager
async def _running(agent: EchoAgent) -> AsyncIterator[EchoAgent]:
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(PATIENCE):
            await tasks.start(lambda *, task_status: agent.run(task_status=task_status))
        yield agent
        tasks.cancel_scope.cancel()


async def test_it_answers_on_the_output_channel_in_the_hubs_words(hub: Hub, redis_url: str) -> None:
    async with _running(EchoAgent(redis_url, ["sales"])):
        assert await hub.publish("sales", MESSAGE) == 1
        assert await hub.next() == (
            "agent:sales:output",
            {"chat_id": "5511900000077@c.us", "response": "echo: hello", "channel": "whatsapp"},
        )


async def test_one_agent_serves_many_ids(hub: Hub, redis_url: str) -> None:
    ids = [f"agent-{number}" for number in range(200)]
    async with _running(EchoAgent(redis_url, ids)) as agent:
        for agent_id in ids:
            assert await hub.publish(agent_id, MESSAGE) == 1
        channels = {(await hub.next())[0] for _ in ids}
        assert channels == {f"agent:{agent_id}:output" for agent_id in ids}
        await agent.until(lambda agent: sum(agent.answered.values()) == 200)
        assert agent.heard == agent.answered


async def test_answers_keep_the_order_of_the_messages(hub: Hub, redis_url: str) -> None:
    async with _running(EchoAgent(redis_url, ["sales"], reply=str.upper)):
        for number in range(300):
            await hub.publish("sales", MESSAGE | {"text": f"no {number}"})
        answers = [(await hub.next())[1]["response"] for _ in range(300)]
        assert answers == [f"NO {number}" for number in range(300)]


async def test_what_it_cannot_read_is_counted_and_disturbs_nothing(hub: Hub, redis_url: str) -> None:
    async with _running(EchoAgent(redis_url, ["sales"])) as agent:
        for unreadable in (b"no json", b"[]", b'{"text": "no chat"}'):
            await hub.publish("sales", unreadable)
        await hub.publish("sales", MESSAGE | {"text": ""})
        assert (await hub.next())[1]["response"] == "echo: "
        assert agent.unreadable == 3


async def test_it_can_say_nothing(hub: Hub, redis_url: str) -> None:
    def quiet(text: str) -> str | None:
        return None if text == "hush" else text

    async with _running(EchoAgent(redis_url, ["sales"], reply=quiet)) as agent:
        await hub.publish("sales", MESSAGE | {"text": "hush"})
        await hub.publish("sales", MESSAGE | {"text": "speak"})
        assert (await hub.next())[1]["response"] == "speak"
        with anyio.fail_after(PATIENCE):
            await agent.until(lambda agent: agent.answered["sales"] == 1)
        assert agent.heard["sales"] == 2


async def test_nobody_listens_before_it_runs_and_after_it_ended(hub: Hub, redis_url: str) -> None:
    agent = EchoAgent(redis_url, ["sales"])
    assert await hub.publish("sales", MESSAGE) == 0
    async with _running(agent):
        assert agent.is_subscribed
        assert await hub.publish("sales", MESSAGE) == 1
        await hub.next()
    assert not agent.is_subscribed
    with anyio.fail_after(PATIENCE):
        while await hub.publish("sales", MESSAGE):
            pass


async def test_it_subscribes_again_after_its_connection_was_killed(hub: Hub, redis_url: str) -> None:
    async with _running(EchoAgent(redis_url, ["sales"])) as agent:
        for client in await hub.client.client_list("pubsub"):
            if client["sub"] == "1":
                await hub.client.client_kill_filter(_id=client["id"])
        with anyio.fail_after(PATIENCE):
            await agent.until(lambda agent: not agent.is_subscribed)
            await agent.until(lambda agent: agent.is_subscribed)
        await hub.publish("sales", MESSAGE)
        assert (await hub.next())[1]["response"] == "echo: hello"


async def test_a_redis_that_is_not_there_in_the_beginning_is_an_error() -> None:
    agent = EchoAgent("redis://127.0.0.1:1", ["sales"])
    with pytest.raises(redis.ConnectionError):
        await agent.run()


async def test_a_patient_one_waits_for_a_redis_that_is_not_there_in_the_beginning() -> None:
    with own_server() as server:
        server.kill()
        async with anyio.create_task_group() as tasks:
            agent = EchoAgent(server.url, ["sales"], is_patient=True)
            tasks.start_soon(agent.run)
            await anyio.wait_all_tasks_blocked()
            server.start()
            with anyio.fail_after(PATIENCE):
                await agent.until(lambda agent: agent.is_subscribed)
            await _hears(server, agent, 1)
            server.kill()
            with anyio.fail_after(PATIENCE):
                await agent.until(lambda agent: not agent.is_subscribed)
                server.start()
                await agent.until(lambda agent: agent.is_subscribed)
            await _hears(server, agent, 2)
            tasks.cancel_scope.cancel()


async def _hears(server: OwnServer, agent: EchoAgent, count: int) -> None:
    async with redis.Redis.from_url(server.url) as client:
        await client.publish("agent:sales:input", msgspec.json.encode(MESSAGE))
    with anyio.fail_after(PATIENCE):
        await agent.until(lambda agent: agent.answered["sales"] == count)


async def test_as_a_program_it_writes_down_what_it_hears_and_answers(hub: Hub, redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with program("agent", redis_url, ["sales", "support"], log) as process:
        with anyio.fail_after(20):
            while not await hub.publish("support", MESSAGE | {"message_id": "m1"}):  # noqa: ASYNC110  # another process
                await anyio.sleep(0.02)
        (heard,) = await until_lines(log, 1, kind="heard")
        (answered,) = await until_lines(log, 1, kind="answered")
        process.terminate()
        with anyio.fail_after(PATIENCE):
            assert await process.wait() == 0
    same = {"agent": "support", "session": "acme", "message_id": "m1", "redelivered": False}
    assert heard.pop("at")
    assert answered.pop("at")
    assert heard == {"heard": "hello", "text": "hello", **same}
    assert answered == {"answered": "echo: hello", "response": "echo: hello", **same}
