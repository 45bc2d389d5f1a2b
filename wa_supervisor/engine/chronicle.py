"""The chronicle: writes what happened into the stream of events, in order.

It listens to the engine as an observer and gathers for a moment what belongs together, and for longer what happens for
each message (`wa_supervisor.domain.gathering`). While Redis is away it keeps a bounded number of events and repeats the
same batch for ever; the batch has a number, so that one that was written while its answer was lost is not written
twice. Where events had to go, an event of kind `events_dropped` stands in the stream. It deliberately reads nothing:
whoever asks reads the stream.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

import anyio

from wa_supervisor.domain.gathering import Gathering
from wa_supervisor.domain.history import Event, dropped_events, event_of
from wa_supervisor.domain.observations import EventsDropped, Observation, Observer, Trouble
from wa_supervisor.engine.ports import EventLog
from wa_supervisor.engine.retrying import keep_doing, patient
from wa_supervisor.engine.switch import Bell

GATHER = 0.2
"""Seconds in which events are gathered into one batch: a person does not see the difference, Redis does."""

BATCH = 200
"""Most events written at once: some 80 KB, a few milliseconds of the server's time."""


class Chronicle:
    """Writes the history of one run of the daemon."""

    def __init__(
        self,
        log: EventLog,
        *,
        daemon: str,
        wall: Callable[[], float],
        kept: int,
        retry_initial: float,
        retry_max: float,
        observe: Observer,
    ) -> None:
        """`kept` events wait for Redis at most, beside the batch that is being written; the oldest go first."""
        self._log = log
        self._daemon = daemon
        self._wall = wall
        self._kept = kept
        self._retry_initial = retry_initial
        self._retry_max = retry_max
        self._observe = observe
        self._gathering = Gathering()
        self._waiting: deque[Event] = deque()
        self._batch: Sequence[Event] = ()
        self._number = 0
        self._dropped = 0
        self._bell = Bell()
        self._writing = anyio.Lock()

    def __repr__(self) -> str:
        return f"<Chronicle {self._number} batches, {len(self._batch) + len(self._waiting)} events to write>"

    def note(self, observation: Observation) -> None:
        """Remember what is an event. An observer: does not wait and does not raise."""
        try:
            times = self._gathering.take(observation, anyio.current_time())
            self._tell_of(observation, times)
        except Exception as error:  # noqa: BLE001  # supervision border: what tells must not suffer from who listens
            self._observe(Trouble(where="events", message="what happened could not be put into words", error=error))

    async def run(self) -> NoReturn:
        """Write until cancelled; what is not written by then is left for `flush`."""
        await keep_doing(self._write_for_ever, initial=self._retry_initial, longest=self._retry_max, tell=self._tell)

    async def flush(self, within: float) -> None:
        """Write what is left, for at most `within` seconds, also while everything is being cancelled.

        What could not be written then is told as dropped.
        """
        self._tell_gathered(math.inf)
        with anyio.move_on_after(within, shield=True):
            async for attempt in patient(self._retry_initial, self._retry_max, tell=self._tell):
                with attempt:
                    await self._write()
        self._dropped += len(self._batch) + len(self._waiting)
        self._batch = ()
        self._waiting.clear()
        if self._dropped:
            self._observe(EventsDropped(count=self._dropped))
            self._dropped = 0

    def _tell_of(self, observation: Observation, times: int) -> None:
        event = event_of(observation, at=self._wall(), daemon=self._daemon, times=times) if times else None
        if event is not None:
            self._keep(event)

    def _tell_gathered(self, now: float) -> None:
        for observation, times in self._gathering.due(now):
            self._tell_of(observation, times)

    def _keep(self, event: Event) -> None:
        self._waiting.append(event)
        if len(self._waiting) > self._kept:
            self._waiting.popleft()
            self._dropped += 1
        self._bell.ring()

    async def _write_for_ever(self) -> NoReturn:
        while True:
            with anyio.CancelScope(deadline=self._gathering.due_at):
                await self._bell.wait()
            self._tell_gathered(anyio.current_time())
            await anyio.sleep(GATHER)
            await self._write()

    async def _write(self) -> None:
        """Write what there is. What could not be written stays, a batch with its number."""
        async with self._writing:
            while self._batch or self._take():
                await self._log.append(self._number, self._batch)
                self._batch = ()
                self._tell_dropped()

    def _take(self) -> bool:
        self._batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        self._number += bool(self._batch)
        return bool(self._batch)

    def _tell_dropped(self) -> None:
        """Redis is back: say how many events are missing, and where they are."""
        if self._dropped:
            self._observe(EventsDropped(count=self._dropped))
            self._waiting.appendleft(dropped_events(self._dropped, at=self._wall(), daemon=self._daemon))
            self._dropped = 0

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        self._bell.ring()  # what could not be written is still to be written
        message = f"events cannot be written ({attempt} tries, next in {delay:.1f} s): {error}"
        self._observe(Trouble(where="events", message=message, error=error))
