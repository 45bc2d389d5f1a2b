"""Calls to the server: one connection that writes at once what has gathered.

Callers wait for answers; one task (`run`) owns the connection, takes everything that is waiting, writes it in one go
and hands the answers out. Two hundred callers on a pool make 14,000 calls a second, on this 60,000 and more.

A caller that is cancelled disturbs nobody: what it asked for is left out if it was not written yet, or its answer is
thrown away. When the connection fails, everybody who waits for an answer gets `StoreUnavailableError`, and nobody knows
whether their command had its effect: nothing is repeated here. The next call connects again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from wa_supervisor.adapters.redis.address import RedisAddress
from wa_supervisor.adapters.redis.keys import to_text
from wa_supervisor.adapters.redis.packing import Command
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.wire import Wire, as_refusal
from wa_supervisor.domain.errors import StoreUnavailableError

_log = logging.getLogger(__name__)

_CLOSED = "the connection to Redis is closed, because the daemon is stopping; start it again"


@dataclass(slots=True)
class _Request:
    commands: Sequence[Command]
    answer: asyncio.Future[list[object] | StoreUnavailableError]
    """An error comes as a value: an exception that a cancelled caller never looks at would be reported by asyncio."""

    def give(self, answer: list[object] | StoreUnavailableError) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class RedisClient:
    """Give it commands while `run` runs; what is given before waits for it, what is given after it fails."""

    def __init__(self, address: RedisAddress, policy: RedisPolicy, wire: Wire | None = None) -> None:
        self.address = address
        self.policy = policy
        self._wire = wire or Wire(address, policy)
        self._waiting: deque[_Request] = deque()
        self._under_way: list[_Request] = []
        self._has_work = anyio.Event()
        self._is_closed = False
        self._server: str | None = None
        """The `run_id` of the server that was spoken to last."""
        self.on_other_server: Callable[[], None] = lambda: None
        """Called when the server began anew, or is another one: it may have forgotten the last that it was told."""

    async def run(self) -> None:
        """Carry commands and answers until cancelled. Connects when the first command comes."""
        try:
            while True:
                await self._has_work.wait()
                self._has_work = anyio.Event()
                while self._waiting:
                    await self._carry(self._take_batch())
        finally:
            self._is_closed = True
            self._fail_all(StoreUnavailableError(_CLOSED))
            with anyio.move_on_after(self.policy.close_timeout, shield=True):
                await self._wire.close()

    async def call(self, *command: bytes) -> object:
        """Carry out one command and give its answer. Raises `StoreUnavailableError`, for error replies too."""
        (answer,) = await self.call_all([command])
        return as_refusal(answer)

    async def call_all(self, commands: Sequence[Command]) -> list[object]:
        """Carry out commands one after the other, nothing of others between two of them on this connection.

        Gives their answers; an error reply is a `RefusalError` among them and stops nothing. Raises
        `StoreUnavailableError` when the connection fails.
        """
        if not commands:
            return []
        if self._is_closed:
            raise StoreUnavailableError(_CLOSED)
        request = _Request(commands, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._has_work.set()
        answer = await request.answer
        if isinstance(answer, StoreUnavailableError):
            raise _own(answer) from answer
        return answer

    def _take_batch(self) -> list[_Request]:
        batch: list[_Request] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0].commands) <= self.policy.batch):
            request = self._waiting.popleft()
            if not request.answer.done():  # a caller that was cancelled meanwhile
                batch.append(request)
                size += len(request.commands)
        return batch

    async def _carry(self, batch: list[_Request]) -> None:
        self._under_way = batch
        try:
            await self._exchange(batch)
        except StoreUnavailableError as error:
            await self._give_up(error)
        except Exception as error:  # noqa: BLE001 - the border of all calls, see below
            # Everybody's calls go through here: a surprise in the library must not end more than this connection.
            _log.exception("the connection to Redis failed in a way that nobody expected")
            await self._give_up(self._wire.server.unreachable(repr(error), "carrying commands"))
        self._under_way = []

    async def _exchange(self, batch: list[_Request]) -> None:
        if not batch:  # all were cancelled meanwhile
            return
        if not self._wire.is_open:
            await self._wire.open()
            if not await self._is_the_same_server():
                return
        answers = await self._wire.exchange([command for request in batch for command in request.commands])
        start = 0
        for request in batch:
            end = start + len(request.commands)
            request.give(answers[start:end])
            start = end

    async def _is_the_same_server(self) -> bool:
        """Whether the server still has what it was told; if not, whoever waits is let decide anew what to tell it."""
        (answer,) = await self._wire.exchange([(b"INFO", b"server")])
        before, self._server = self._server, run_id_of(answer)
        if before is None or (before == self._server and self._server != UNKNOWN):
            return True
        self.on_other_server()
        self._fail_all(StoreUnavailableError(f"{self._wire.server.label} began anew: what it forgot is looked for"))
        return False

    async def _give_up(self, error: StoreUnavailableError) -> None:
        self._fail_all(error)
        await self._wire.close()

    def _fail_all(self, error: StoreUnavailableError) -> None:
        requests = [*self._under_way, *self._waiting]
        self._waiting.clear()
        self._under_way = []
        for request in requests:
            request.give(error)


UNKNOWN = ""
"""The run of a server that does not say."""


def run_id_of(answer: object) -> str:
    """Read what `INFO server` says of the run; `UNKNOWN` if it does not."""
    lines = to_text(answer).splitlines() if isinstance(answer, bytes) else []
    return next((line.partition(":")[2] for line in lines if line.startswith("run_id:")), UNKNOWN)


def _own(error: StoreUnavailableError) -> StoreUnavailableError:
    """Give a caller an exception of its own: one that several raise would gather all their tracebacks."""
    if isinstance(error, RefusalError):
        return RefusalError(str(error), code=error.code)
    return StoreUnavailableError(str(error))
