"""The stream of one-off commands without Redis: a test issues them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.status import CommandResult
from wa_supervisor.engine.ports import Command


class FakeCommands(Scripted):
    """Port `Commands`. As with the real thing, nothing from before the first listening is given, and nothing is missed
    between a listening that broke off and the next.
    """

    def __init__(self) -> None:
        super().__init__()
        self.issued: list[Command] = []
        """Every command, heard or not."""
        self.answers: dict[str, CommandResult] = {}
        """What became of each command, by its id."""
        self._waiting: deque[Command] = deque()
        self._has_listened = False

    def issue(self, verb: str, integration_id: IntegrationId | None, reason: str = "", by: str = "") -> str:
        """Speak as an operator, to the daemon itself where there is no integration; give the command's id."""
        command = Command(
            id=f"{len(self.issued) + 1}-0", verb=verb, integration_id=integration_id, reason=reason, by=by
        )
        self.issued.append(command)
        if self._has_listened:
            self._waiting.append(command)
        self._touch()
        return command.id

    async def answer(self, result: CommandResult) -> None:
        """Keep the answer; a refusal does not replace what another daemon has accepted."""
        async with self._call("answer"):
            if result.accepted:
                self.answers[result.id] = result
            else:
                self.answers.setdefault(result.id, result)

    async def listen(self, take: Callable[[Command], None]) -> None:
        """Give commands to `take` until cancelled or `break_off("listen")`."""
        async with self._line("listen") as line:
            self._has_listened = True
            while True:
                line.check()
                while self._waiting:
                    take(self._waiting.popleft())
                await self._next_change(line)
