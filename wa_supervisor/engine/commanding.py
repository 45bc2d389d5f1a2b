"""Commanding: every command that an operator gives is carried out or refused, and answered.

Commands are taken one at a time, in order; whoever carries them out decides at once. The answers go their own way, so
that the next command does not wait for Redis: while it is away they are kept, bounded, and written later in order. A
command whose carrying out fails is refused like any other, and the next one is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import NoReturn

import anyio

from wa_supervisor.domain.history import fit
from wa_supervisor.domain.observations import CommandAnswered, Observer, Trouble
from wa_supervisor.domain.status import CommandResult
from wa_supervisor.engine.ports import Command, Commands
from wa_supervisor.engine.retrying import keep_doing
from wa_supervisor.engine.switch import Bell

ANSWERS_KEPT = 1_000
"""Answers that wait for Redis: as many as the stream keeps commands. The oldest go first; nobody waits for those."""

CarryOut = Callable[[Command], tuple[bool, str]]
"""Carries a command out, or begins to: whether it is accepted, and a sentence that says what happens or why not."""


class Commanding:
    """Takes commands and answers each."""

    def __init__(
        self,
        commands: Commands,
        carry_out: CarryOut,
        *,
        wall: Callable[[], float],
        observe: Observer,
        retry_initial: float,
        retry_max: float,
    ) -> None:
        self._commands = commands
        self._carry_out = carry_out
        self._wall = wall
        self._observe = observe
        self._retry_initial = retry_initial
        self._retry_max = retry_max
        self._answers: deque[CommandResult] = deque()
        self._bell = Bell()

    def __repr__(self) -> str:
        return f"<Commanding {len(self._answers)} answers to write>"

    async def run(self) -> None:
        """Take and answer until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep, "answering", self._answer_for_ever)
            tasks.start_soon(self._keep, "listening", lambda: self._commands.listen(self._take))

    def _take(self, command: Command) -> None:
        is_accepted, message = self._decide(command)
        self._answers.append(
            CommandResult(id=command.id, verb=command.verb, at=self._wall(), accepted=is_accepted, message=fit(message))
        )
        if len(self._answers) > ANSWERS_KEPT:
            self._answers.popleft()
        self._bell.ring()
        self._observe(
            CommandAnswered(
                integration=command.integration_id,
                verb=command.verb,
                by=command.by,
                is_accepted=is_accepted,
                message=message,
            )
        )

    def _decide(self, command: Command) -> tuple[bool, str]:
        try:
            return self._carry_out(command)
        except Exception as error:  # noqa: BLE001  # supervision border: one command's trouble is not the next one's
            words = f"InternalError: {type(error).__name__}: {error}"
            told = f"{command.verb} could not be carried out"
            self._observe(Trouble(where="commands", message=told, error=error, integration=command.integration_id))
            return False, words

    async def _answer_for_ever(self) -> NoReturn:
        while True:
            while self._answers:
                answer = self._answers[0]
                await self._commands.answer(answer)
                if self._answers and self._answers[0] is answer:  # else it went meanwhile, as too old
                    self._answers.popleft()
            await self._bell.wait()

    async def _keep(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        def tell(error: BaseException, delay: float, attempt: int) -> None:
            message = f"{what} failed {attempt} times, next try in {delay:.1f} s: {error}"
            self._observe(Trouble(where="commands", message=message, error=error))

        await keep_doing(work, initial=self._retry_initial, longest=self._retry_max, tell=tell)
