"""The stream of what could not be delivered, without Redis: a list."""

from __future__ import annotations

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.dead_letters import DeadLetter


class FakeDeadLetters(Scripted):
    """Port `DeadLetters`."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[DeadLetter] = []
        """What was buried, oldest first."""

    async def bury(self, letter: DeadLetter) -> None:
        """Keep the letter."""
        async with self._call("bury"):
            self.letters.append(letter)
