"""The echo agent: it speaks exactly as a PlatformAI-HUB agent does, over Redis Pub/Sub and nothing else.

It subscribes `agent:{agent_id}:input`, takes each JSON message `{"text", "chat_id", ...}` and publishes
`{"chat_id", "response", "channel": "whatsapp"}` on `agent:{agent_id}:output`. One object serves many agent ids over two
connections, one that listens and one that publishes what has gathered. Like its model it remembers nothing: what is
published while it is away never reaches it.

`run` lives until cancelled, says by `task_status.started()` that it is subscribed for the first time, and subscribes
again after a lost connection. As a program (`agent_program`) it also waits for a Redis that is away when it starts.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskStatus
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from wa_supervisor.simulator.agent_program import AgentLog, Heard, run_program
from wa_supervisor.simulator.bell import Bell

Reply = Callable[[str], str | None]
"""From a message's text to the answer; None says nothing."""

_log = logging.getLogger(__name__)

_BATCH = 500
"""Answers published in one round trip at most."""

_COME_AGAIN = 0.1
"""Seconds before subscribing again after a lost connection."""

_LONGEST_GOODBYE = 2.0
"""Seconds given to closing the connections; it takes milliseconds unless the server is gone."""


class _Input(msgspec.Struct):
    chat_id: str
    text: str = ""
    session: object = None
    message_id: object = None


class _Output(msgspec.Struct):
    chat_id: str
    response: str
    channel: str = "whatsapp"


class _Answer(msgspec.Struct):
    agent_id: str
    output: _Output
    of: Heard


_decode = msgspec.json.Decoder(_Input).decode
_encode = msgspec.json.Encoder().encode


def echo(text: str) -> str:
    """The default answer."""
    return f"echo: {text}"


class EchoAgent:
    """One agent process that serves several agent ids."""

    def __init__(
        self,
        url: str,
        agent_ids: Iterable[str],
        *,
        reply: Reply = echo,
        think: float = 0.0,
        is_patient: bool = False,
        log: AgentLog | None = None,
    ) -> None:
        """`url` of the Redis; the agent takes `think` seconds before it publishes what has gathered.

        One that `is_patient` waits for a Redis that is away in the beginning.
        """
        self._url = url
        self._agents = {f"agent:{agent_id}:input".encode(): agent_id for agent_id in agent_ids}
        self._reply = reply
        self._think = think
        self._is_patient = is_patient
        self._record = log or AgentLog()
        self._bell = Bell()
        self._answers: list[_Answer] = []
        self.is_subscribed = False
        self.heard: Counter[str] = Counter()
        """Messages per agent id."""
        self.answered: Counter[str] = Counter()
        """Published answers per agent id."""
        self.unreadable = 0
        """Messages that were no JSON of the hub's contract."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen and answer until cancelled; started once every channel is subscribed.

        Raises redis-py's `ConnectionError` if Redis cannot be reached in the beginning, unless it is patient.
        """
        client = redis.Redis.from_url(self._url, socket_timeout=None, retry=Retry(NoBackoff(), 0))
        try:
            if not self._is_patient:
                await client.ping()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_listening, client)
                tasks.start_soon(self._keep_publishing, client)
                await self._bell.until(lambda: self.is_subscribed)
                task_status.started()
        finally:
            with anyio.move_on_after(_LONGEST_GOODBYE, shield=True):
                await client.aclose()

    async def until(self, holds: Callable[[EchoAgent], object]) -> None:
        """Return as soon as `holds(agent)` is true. Bring a time limit (`anyio.fail_after`)."""
        await self._bell.until(lambda: holds(self))

    async def _keep_listening(self, client: redis.Redis) -> None:
        while True:
            try:
                await self._listen(client)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                _log.debug("agent lost its connection", extra={"error": str(error)})
            await anyio.sleep(_COME_AGAIN)

    async def _listen(self, client: redis.Redis) -> None:
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(*self._agents)
            subscribed = 0
            while True:
                message = await pubsub.get_message(timeout=None)
                if message is not None and message["type"] == "message":
                    self._take(message)
                elif message is not None and message["type"] == "subscribe":
                    subscribed += 1
                    self._note_subscribed(subscribed)
        finally:
            self.is_subscribed = False
            self._bell.ring()
            with anyio.move_on_after(_LONGEST_GOODBYE, shield=True):
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py has no annotations there

    def _note_subscribed(self, channels: int) -> None:
        if channels == len(self._agents):
            self.is_subscribed = True
            self._bell.ring()

    def _take(self, message: dict[str, Any]) -> None:
        agent_id = self._agents[message["channel"]]
        self.heard[agent_id] += 1
        try:
            given = _decode(message["data"])
        except msgspec.DecodeError:
            self.unreadable += 1
        else:
            of = Heard(agent=agent_id, session=given.session, message_id=given.message_id)
            self._record.heard(given.text, of)
            response = self._reply(given.text)
            if response is not None:
                self._answers.append(_Answer(agent_id, _Output(given.chat_id, response), of))
        self._bell.ring()

    async def _keep_publishing(self, client: redis.Redis) -> None:
        while True:
            await self._bell.until(lambda: self._answers)
            await anyio.sleep(self._think)
            batch = self._answers[:_BATCH]
            try:
                await self._publish(client, batch)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                _log.info("agent lost answers", extra={"answers": len(batch), "error": str(error)})
            else:
                self._note_answered(batch)
            del self._answers[: len(batch)]
            self._bell.ring()

    def _note_answered(self, batch: list[_Answer]) -> None:
        for answer in batch:
            self.answered[answer.agent_id] += 1
            self._record.answered(answer.output.response, answer.of)

    @staticmethod
    async def _publish(client: redis.Redis, batch: list[_Answer]) -> None:
        pipeline = client.pipeline(transaction=False)
        for answer in batch:
            pipeline.publish(f"agent:{answer.agent_id}:output", _encode(answer.output))
        await pipeline.execute()


if __name__ == "__main__":
    run_program(lambda url, agent_ids, log: EchoAgent(url, agent_ids, is_patient=True, log=log))
