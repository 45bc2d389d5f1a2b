"""The echo agent on streams alone: each message is answered once, whatever becomes of the agent or of Redis.

It reads `agent:{agent_id}:input` as a consumer group, first what an earlier run left unacknowledged, then what is new.
Adding the answer to `agent:{agent_id}:output` and acknowledging the message are one transaction: a death or a lost
connection leaves both or neither. A message that comes again under another entry is known by its `message_id`.

`run` lives until cancelled, says by `task_status.started()` that its groups are there, and never gives up on a Redis
that is away. What it remembers grows for ever: it is for tests.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NoReturn, cast

import anyio
import msgspec
import redis
from anyio.abc import TaskStatus
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from wa_supervisor.simulator.agent import Reply, echo
from wa_supervisor.simulator.agent_program import AgentLog, Heard, run_program
from wa_supervisor.simulator.bell import Bell

_log = logging.getLogger(__name__)

_AT_ONCE = 50
"""Entries of each agent read in one round trip at most."""

_BLOCK_MS = 500
"""Milliseconds that Redis waits for something new before it answers that there is nothing."""

_COME_AGAIN = 0.05
"""Seconds before the next try after a lost connection."""

_LONGEST_GOODBYE = 2.0
"""Seconds given to closing the connections; it takes milliseconds unless the server is gone."""

_Entries = list[tuple[str, dict[str, str] | None]]


class _Input(msgspec.Struct):
    chat_id: str
    text: str = ""
    session: str | None = None
    message_id: str | None = None


class _Output(msgspec.Struct):
    chat_id: str
    response: str
    session: str | None
    reply_id: str | None
    channel: str = "whatsapp"


_decode = msgspec.json.Decoder(_Input).decode
_encode = msgspec.json.Encoder().encode


class StreamEchoAgent:
    """One agent process that serves several agent ids."""

    def __init__(
        self,
        url: str,
        agent_ids: Iterable[str],
        *,
        reply: Reply = echo,
        group: str = "echo",
        log: AgentLog | None = None,
    ) -> None:
        """`url` of the Redis; `reply` is asked once for each entry, also for one that is read again."""
        # Without a time-out: what was sent to a Redis that is only stopped would still be done when it goes on, after
        # the same was asked on another connection.
        self._client = aioredis.Redis.from_url(
            url, decode_responses=True, socket_timeout=None, retry=Retry(NoBackoff(), 0)
        )
        self._inputs = {f"agent:{agent_id}:input": agent_id for agent_id in agent_ids}
        self._reply = reply
        self._group = group
        self._record = log or AgentLog()
        self._bell = Bell()
        self._decided: dict[tuple[str, str], str | None] = {}
        self._answered: set[tuple[str, str | None, str]] = set()
        self.heard: Counter[str] = Counter()
        """Entries per agent id; one that was read again counts again."""
        self.answered: Counter[str] = Counter()
        """Answers per agent id."""
        self.unreadable = 0
        """Entries that were no JSON of the protocol; they are acknowledged."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> NoReturn:
        """Answer until cancelled; started once the groups are there."""
        try:
            while True:
                try:
                    await self._make_groups()
                    task_status.started()
                    task_status = anyio.TASK_STATUS_IGNORED
                    await self._answer_for_ever()
                except redis.RedisError as error:
                    _log.debug("agent lost its connection", extra={"error": str(error)})
                await anyio.sleep(_COME_AGAIN)
        finally:
            with anyio.move_on_after(_LONGEST_GOODBYE, shield=True):
                await self._client.aclose()

    async def until(self, holds: Callable[[StreamEchoAgent], object]) -> None:
        """Return as soon as `holds(agent)` is true. Bring a time limit (`anyio.fail_after`)."""
        await self._bell.until(lambda: holds(self))

    async def _make_groups(self) -> None:
        for key in self._inputs:
            try:
                await self._client.xgroup_create(key, self._group, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def _answer_for_ever(self) -> NoReturn:
        while await self._answer_some("0"):  # what was read and not acknowledged
            pass
        while True:
            await self._answer_some(">")

    async def _answer_some(self, start: str) -> int:
        found = await self._client.xreadgroup(
            self._group, "me", dict.fromkeys(self._inputs, start), count=_AT_ONCE, block=_BLOCK_MS
        )
        streams = cast("dict[str, list[_Entries]] | list[tuple[str, _Entries]]", found or [])
        answered = 0
        for key, entries in _by_key(streams):
            for entry, fields in entries:
                await self._take(key, entry, fields or {}, is_redelivered=start == "0")
                answered += 1
        return answered

    async def _take(self, key: str, entry: str, fields: dict[str, str], *, is_redelivered: bool) -> None:
        try:
            message = _decode(fields.get("payload", ""))
        except msgspec.DecodeError:
            self.unreadable += 1
            await self._client.xack(key, self._group, entry)
            return
        of = Heard(
            agent=self._inputs[key],
            session=message.session,
            message_id=message.message_id,
            redelivered=is_redelivered,
        )
        self.heard[of.agent] += 1
        self._record.heard(message.text, of)
        self._bell.ring()
        await self._answer(key, entry, message, of)

    async def _answer(self, key: str, entry: str, message: _Input, of: Heard) -> None:
        if (key, entry) not in self._decided:
            self._decided[key, entry] = self._reply(message.text)
        response = self._decided[key, entry]
        name = of.agent, message.session, message.message_id or entry
        if response is None or name in self._answered:
            await self._client.xack(key, self._group, entry)
            return
        await self._add(key, entry, _Output(message.chat_id, response, message.session, message.message_id))
        self._answered.add(name)
        self.answered[of.agent] += 1
        self._record.answered(response, of)
        self._bell.ring()
        await self._client.publish(f"agent:{of.agent}:output", "")

    async def _add(self, key: str, entry: str, answer: _Output) -> None:
        output = f"agent:{self._inputs[key]}:output"
        async with self._client.pipeline(transaction=True) as both:
            both.xadd(output, {"payload": _encode(answer)})
            both.xack(key, self._group, entry)
            await both.execute()


def _by_key(found: dict[str, list[_Entries]] | list[tuple[str, _Entries]]) -> Iterable[tuple[str, _Entries]]:
    """Even out the two shapes in which redis-py answers, by protocol version."""
    if isinstance(found, dict):
        return [(key, entries) for key, batches in found.items() for entries in batches]
    return found


if __name__ == "__main__":
    run_program(lambda url, agent_ids, log: StreamEchoAgent(url, agent_ids, log=log))
