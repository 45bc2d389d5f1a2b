"""An echo agent on streams alone: what it was given it answers once, whatever becomes of Redis meanwhile.

It reads every input stream as one consumer group. Adding the answer and acknowledging the message are one transaction,
so a connection that is lost in between leaves either both or none, and what is still pending is read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NoReturn, cast

import anyio
import redis
from anyio.abc import TaskStatus
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from wa_supervisor.simulator.agent import Reply, echo

GROUP = "acceptance"

_COME_AGAIN = 0.05
"""Seconds before the next try after a lost connection."""

_Entries = list[tuple[str, dict[str, str]]]


class StreamAgent:
    """One process of many agents."""

    def __init__(self, url: str, agent_ids: Iterable[str], *, reply: Reply = echo) -> None:
        self._client = aioredis.Redis.from_url(
            url, decode_responses=True, socket_timeout=None, retry=Retry(NoBackoff(), 0)
        )
        self._inputs = [f"agent:{agent_id}:input" for agent_id in agent_ids]
        self._reply = reply
        self._decided: dict[tuple[str, str], str | None] = {}
        """What to answer to an entry that was read: one that is read again is not asked about again."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> NoReturn:
        """Answer until cancelled; started once the groups are made."""
        try:
            for key in self._inputs:
                await self._client.xgroup_create(key, GROUP, id="0", mkstream=True)
            task_status.started()
            await self._answer_for_ever()
        finally:
            with anyio.move_on_after(1, shield=True):
                await self._client.aclose()

    async def _answer_for_ever(self) -> NoReturn:
        start = "0"  # first what was read and not acknowledged
        while True:
            try:
                start = ">" if not await self._answer_some(start) else start
            except (redis.ConnectionError, redis.TimeoutError):
                start = "0"
                await anyio.sleep(_COME_AGAIN)

    async def _answer_some(self, start: str) -> int:
        found = await self._client.xreadgroup(GROUP, "me", dict.fromkeys(self._inputs, start), count=50, block=500)
        streams = cast("dict[str, list[_Entries]] | list[tuple[str, _Entries]]", found or [])
        answered = 0
        for key, entries in _by_key(streams):
            for entry, fields in entries:
                await self._answer(key, entry, json.loads(fields["payload"]))
                answered += 1
        return answered

    async def _answer(self, key: str, entry: str, message: dict[str, str]) -> None:
        output = key.replace(":input", ":output")
        if (key, entry) not in self._decided:
            self._decided[key, entry] = self._reply(message["text"])
        response = self._decided[key, entry]
        answer = {"chat_id": message["chat_id"], "response": response, "channel": "whatsapp"}
        async with self._client.pipeline(transaction=True) as both:
            both.xadd(output, {"payload": json.dumps(answer | {"session": message["session"]})})
            both.xack(key, GROUP, entry)
            both.publish(output, "")
            await both.execute()


def _by_key(found: dict[str, list[_Entries]] | list[tuple[str, _Entries]]) -> Iterable[tuple[str, _Entries]]:
    """Even out the two shapes in which redis-py answers, by protocol version."""
    if isinstance(found, dict):
        return [(key, entries) for key, batches in found.items() for entries in batches]
    return found
