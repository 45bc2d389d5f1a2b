"""First contacts: a gateway that was never reached is told once.

A gate begins closed, and that it stays so is no change that the engine would tell; with no session declared nobody
would hear of a wrong address. So every gateway's room is looked at until its gate is open, or was refused once. What
happens after that, the gate tells.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import NoReturn

import anyio

from wa_supervisor.domain.observations import GatewayChanged, Observer
from wa_supervisor.engine.room import GatewayRoom

LOOK = 1.0
"""Seconds between two looks: a first connection fails within a second or two, and a person waits for the line."""


class Contacts:
    """Watches the rooms that `rooms` gives, now and after each reload."""

    def __init__(self, rooms: Callable[[], Iterable[GatewayRoom]], observe: Observer) -> None:
        self._rooms = rooms
        self._observe = observe
        self._met: weakref.WeakSet[GatewayRoom] = weakref.WeakSet()

    async def run(self) -> NoReturn:
        """Watch until cancelled."""
        while True:
            for room in list(self._rooms()):
                if room not in self._met:
                    self._look(room)
            await anyio.sleep(LOOK)

    def _look(self, room: GatewayRoom) -> None:
        if room.gate.is_open:
            self._met.add(room)
        elif room.gate.was_refused:
            self._met.add(room)
            self._observe(
                GatewayChanged(gateway=room.name, what="gate_closed", message=room.gate.reason, why=room.gate.why)
            )
