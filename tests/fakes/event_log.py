"""The stream of events, without Redis: a list that remembers which batch it got last."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.history import Event


class FakeEventLog(Scripted):
    """Port `EventLog`, for one run of a daemon."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        """What was added, oldest first."""
        self.batches: list[int] = []
        """The number of each batch that was given, repetitions included."""
        self._last = 0

    async def append(self, batch: int, events: Sequence[Event]) -> None:
        """Add the events, unless this batch was added before."""
        async with self._call("append"):
            self.batches.append(batch)
            if batch > self._last:
                self._last = batch
                self.events += events
