"""Every command is answered, whatever happens to it, to others, or to Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.engine.harness import Witness, wall
from tests.fakes.commands import FakeCommands
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.observations import CommandAnswered, Trouble
from wa_supervisor.engine.commanding import ANSWERS_KEPT, Commanding
from wa_supervisor.engine.ports import Command

pytestmark = pytest.mark.anyio

A = IntegrationId("a")


class Desk(Witness):
    """Commands on a fake stream: `restart` is accepted, `explode` raises, all others are refused."""

    def __init__(self) -> None:
        super().__init__()
        self.commands = FakeCommands()
        self.done: list[Command] = []
        self.commanding = Commanding(
            self.commands, self._carry_out, wall=wall, observe=self.observe, retry_initial=0.5, retry_max=5.0
        )

    def _carry_out(self, command: Command) -> tuple[bool, str]:
        self.done.append(command)
        if command.verb == "explode":
            raise RuntimeError("boom")
        return command.verb == "restart", "restarting" if command.verb == "restart" else f"no such verb {command.verb}"

    async def until_answered(self, count: int) -> None:
        """Wait until so many commands are answered."""
        await self.commands.until(lambda: len(self.commands.answers) >= count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take commands for the length of the block."""
        with anyio.fail_after(100_000):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.commanding.run)
                await self.commands.until(lambda: self.commands.listening("listen") > 0)
                yield
                tasks.cancel_scope.cancel()


async def test_each_command_is_answered_with_what_became_of_it() -> None:
    desk = Desk()
    async with desk.running():
        good = desk.commands.issue("restart", A, "it hangs", by="anna")
        bad = desk.commands.issue("dance", None)
        await desk.until_answered(2)
    answer = desk.commands.answers[good]
    assert (answer.id, answer.verb, answer.accepted, answer.message) == (good, "restart", True, "restarting")
    assert answer.at <= wall()
    refused = desk.commands.answers[bad]
    assert (refused.verb, refused.accepted, refused.message) == ("dance", False, "no such verb dance")
    assert [command.id for command in desk.done] == [good, bad]


async def test_each_answer_is_told_with_who_gave_the_command() -> None:
    desk = Desk()
    async with desk.running():
        desk.commands.issue("restart", A, by="anna")
        desk.commands.issue("dance", None)
        told = await desk.until_told(CommandAnswered, 2)
    assert told == [
        CommandAnswered(integration=A, verb="restart", by="anna", is_accepted=True, message="restarting"),
        CommandAnswered(integration=None, verb="dance", by="", is_accepted=False, message="no such verb dance"),
    ]


async def test_a_command_whose_carrying_out_fails_is_refused_and_the_next_is_taken() -> None:
    desk = Desk()
    async with desk.running():
        failing = desk.commands.issue("explode", A)
        good = desk.commands.issue("restart", A)
        await desk.until_answered(2)
    refused = desk.commands.answers[failing]
    assert (refused.accepted, refused.message) == (False, "InternalError: RuntimeError: boom")
    assert desk.commands.answers[good].accepted
    (trouble,) = desk.all_told(Trouble)
    assert (trouble.where, trouble.integration, repr(trouble.error)) == ("commands", A, "RuntimeError('boom')")


async def test_a_lost_listening_comes_back_and_misses_no_command() -> None:
    desk = Desk()
    async with desk.running():
        desk.commands.break_off("listen")
        missed = desk.commands.issue("restart", A)
        await desk.until_answered(1)
    assert desk.commands.answers[missed].accepted
    assert [trouble.where for trouble in desk.all_told(Trouble)] == ["commands"]


async def test_while_redis_is_away_commands_are_carried_out_and_answered_later_in_order() -> None:
    desk = Desk()
    async with desk.running():
        desk.commands.fail_next("answer", times=20)
        given = [desk.commands.issue("restart", A) for _ in range(5)]
        await desk.until_told(CommandAnswered, 5)
        assert desk.commands.answers == {}
        await desk.until_answered(5)
    assert list(desk.commands.answers) == given


async def test_an_answer_whose_word_back_was_lost_is_given_again() -> None:
    desk = Desk()
    async with desk.running():
        desk.commands.fail_next("answer", after_effect=True)
        first = desk.commands.issue("restart", A)
        second = desk.commands.issue("restart", A)
        await desk.until_answered(2)
    assert list(desk.commands.answers) == [first, second]
    assert desk.commands.calls["answer"] == 3


async def test_answers_that_wait_have_a_bound_and_the_oldest_go_first() -> None:
    desk = Desk()
    async with desk.running():
        desk.commands.hold("answer")
        given = [desk.commands.issue("restart", A)]
        await desk.commands.until(lambda: desk.commands.calls["answer"] == 1)
        given += [desk.commands.issue("restart", A) for _ in range(ANSWERS_KEPT + 1)]
        await desk.until_told(CommandAnswered, ANSWERS_KEPT + 2)
        desk.commands.release("answer")
        await desk.commands.until(lambda: given[-1] in desk.commands.answers)
    # The first was on its way already when it was given up, and arrived all the same.
    assert list(desk.commands.answers) == [given[0], *given[2:]]


async def test_an_answer_never_holds_a_secret_or_an_endless_text() -> None:
    commands = FakeCommands()
    told: list[object] = []
    commanding = Commanding(
        commands, lambda _: (False, "Bearer abc " * 500), wall=wall, observe=told.append, retry_initial=1, retry_max=2
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commanding.run)
        await commands.until(lambda: commands.listening("listen") > 0)
        command = commands.issue("restart", A)
        await commands.until(lambda: command in commands.answers)
        tasks.cancel_scope.cancel()
    message = commands.answers[command].message
    assert "abc" not in message
    assert len(message) <= 500


def test_it_says_how_much_is_to_be_answered() -> None:
    assert repr(Desk().commanding) == "<Commanding 0 answers to write>"
