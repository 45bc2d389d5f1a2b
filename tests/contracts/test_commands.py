"""Port `Commands`: an operator's one-off wishes, from now on and in order, for the fake and for Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import KINDS, SOON, clients, eventually, hang_up, real_store
from tests.fakes.commands import FakeCommands
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.status import CommandResult
from wa_supervisor.engine.ports import Command, Commands

pytestmark = pytest.mark.anyio

ONE, TWO = IntegrationId("one"), IntegrationId("two")


class Side(Protocol):
    """What the tests do behind the port's back."""

    @property
    def commands(self) -> Commands: ...

    async def issue(self, verb: str, integration: IntegrationId | None, reason: str = "") -> str: ...

    async def answers(self, *commands: str) -> Mapping[str, CommandResult]: ...

    async def until_listening(self) -> None: ...

    async def hang_up(self) -> None: ...


class FakeSide:
    def __init__(self) -> None:
        self.commands = FakeCommands()

    async def issue(self, verb: str, integration: IntegrationId | None, reason: str = "") -> str:
        await checkpoint()
        return self.commands.issue(verb, integration, reason, by="tests")

    async def answers(self, *commands: str) -> Mapping[str, CommandResult]:
        await checkpoint()
        return {command: result for command, result in self.commands.answers.items() if command in commands}

    async def until_listening(self) -> None:
        await self.commands.until(lambda: self.commands.listening("listen") > 0)

    async def hang_up(self) -> None:
        await checkpoint()
        self.commands.break_off("listen")


class RedisSide:
    def __init__(self, url: str, store: RedisStore) -> None:
        self._url = url
        self._client = store.client
        self.commands: Commands = store.commands

    async def issue(self, verb: str, integration: IntegrationId | None, reason: str = "") -> str:
        return await anyio.to_thread.run_sync(self._issue, verb, integration, reason)

    async def answers(self, *commands: str) -> Mapping[str, CommandResult]:
        return await anyio.to_thread.run_sync(self._answers, commands)

    async def until_listening(self) -> None:
        async def somebody_reads() -> bool:
            return len(await clients(self._client, "cmd=xread")) > 0

        await eventually(somebody_reads)

    async def hang_up(self) -> None:
        await hang_up(self._client, "cmd=xread")

    def _answers(self, commands: Sequence[str]) -> Mapping[str, CommandResult]:
        with OperatorDesk(self._url) as desk:
            return desk.answers(commands)

    def _issue(self, verb: str, integration: IntegrationId | None, reason: str) -> str:
        with OperatorDesk(self._url) as desk:
            if integration is None:
                return desk.command_daemons(verb, reason, by="tests")
            (issued,) = desk.command(verb, [integration], reason, by="tests")
            return issued


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def anyio_backend(kind: tuple[str, str]) -> str:
    return kind[1]


@pytest.fixture
def url(kind: tuple[str, str], request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url")) if kind[0] == "redis" else ""


@pytest.fixture
async def side(url: str) -> AsyncIterator[Side]:
    if not url:
        yield FakeSide()
        return
    async with real_store(url) as store:
        yield RedisSide(url, store)


class Taken:
    """Keeps what was taken."""

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


@asynccontextmanager
async def listening(side: Side) -> AsyncIterator[Taken]:
    """Listen until the end of the block, with a limit on how long that may take."""
    taken = Taken()
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(side.commands.listen, taken)
            await side.until_listening()
            yield taken
            group.cancel_scope.cancel()


async def test_commands_come_in_order_with_all_that_was_said(side: Side) -> None:
    async with listening(side) as taken:
        first = await side.issue("restart", ONE, "because it hangs ç")
        second = await side.issue("release", TWO)
        await taken.until(2)
    assert taken.commands == [
        Command(id=first, verb="restart", integration_id=ONE, reason="because it hangs ç", by="tests"),
        Command(id=second, verb="release", integration_id=TWO, reason="", by="tests"),
    ]


async def test_a_command_may_be_for_the_daemon_itself(side: Side) -> None:
    async with listening(side) as taken:
        issued = await side.issue("confirm", None, "they are meant to go")
        await taken.until(1)
    assert taken.commands == [
        Command(id=issued, verb="confirm", integration_id=None, reason="they are meant to go", by="tests")
    ]


async def test_what_was_commanded_before_the_first_listening_is_not_repeated(side: Side) -> None:
    await side.issue("restart", ONE, "old")
    async with listening(side) as taken:
        await side.issue("restart", ONE, "new")
        await taken.until(1)
    assert [command.reason for command in taken.commands] == ["new"]


async def test_what_is_commanded_between_two_listenings_is_not_missed(side: Side) -> None:
    async with listening(side) as taken:
        await side.issue("restart", ONE, "first")
        await taken.until(1)
    await side.issue("restart", ONE, "meanwhile")
    async with listening(side) as taken:
        await taken.until(1)
    assert [command.reason for command in taken.commands] == ["meanwhile"]


async def test_a_lost_connection_ends_listening_with_an_error_and_the_next_listening_works(side: Side) -> None:
    async def listen_until_it_ends() -> None:
        async with listening(side):
            await side.hang_up()
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as ended:
        await listen_until_it_ends()
    assert ended.group_contains(StoreUnavailableError)
    async with listening(side) as taken:
        await side.issue("restart", ONE)
        await taken.until(1)


# Answers


def result(command: str, message: str, *, accepted: bool = True) -> CommandResult:
    return CommandResult(id=command, verb="restart", at=1000.5, accepted=accepted, message=message)


async def test_whoever_gave_a_command_finds_its_answer(side: Side) -> None:
    await side.commands.answer(result("1-0", "restarting ç"))
    await side.commands.answer(result("2-0", "it is paused", accepted=False))
    assert await side.answers("1-0", "2-0", "3-0") == {
        "1-0": result("1-0", "restarting ç"),
        "2-0": result("2-0", "it is paused", accepted=False),
    }
    assert await side.answers() == {}


@pytest.mark.parametrize("accepted", [True, False])
async def test_an_answer_that_is_given_twice_is_one(side: Side, *, accepted: bool) -> None:
    for _ in range(2):
        await side.commands.answer(result("1-0", "m", accepted=accepted))
    assert await side.answers("1-0") == {"1-0": result("1-0", "m", accepted=accepted)}


async def test_what_one_daemon_has_accepted_the_refusals_of_others_do_not_hide(side: Side) -> None:
    await side.commands.answer(result("1-0", "not mine", accepted=False))
    await side.commands.answer(result("1-0", "restarting"))
    await side.commands.answer(result("1-0", "not mine either", accepted=False))
    assert await side.answers("1-0") == {"1-0": result("1-0", "restarting")}
