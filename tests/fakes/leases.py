"""Leases without Redis: one table, on which a test lets several daemons ask.

`FakeLeases()` has a table of its own; `beside` gives another process, of the same or another daemon, on the same table.
Time is anyio's, so a ttl ends in virtual time too. The port's words `hold` and `release` mean something else to a
script, so what a test scripts is `script`, whose methods `ask` and `give_back` stand for them:

    leases.script.fail_next("ask")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.engine.ports import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One lease in the table."""

    process: int
    fence: int
    until: float


@dataclass(slots=True)
class LeaseTable:
    """What all daemons share."""

    kept: dict[IntegrationId, Kept] = field(default_factory=dict)
    """Also those that ran out and that nobody took since."""
    daemons: list[str] = field(default_factory=list)
    """The daemon of each process, by the process's number."""
    ended: set[int] = field(default_factory=set)
    """Processes that are known to live no more."""
    fence: int = 0

    def find(self, name: IntegrationId) -> Kept | None:
        """Give a lease that has not run out."""
        kept = self.kept.get(name)
        return kept if kept is not None and anyio.current_time() < kept.until else None


class FakeLeases:
    """Port `Leases`, as one process of one daemon has it."""

    def __init__(self, daemon: str = "one", table: LeaseTable | None = None) -> None:
        self.table = table or LeaseTable()
        self.script = LeaseScript(self.table, len(self.table.daemons))
        self.table.daemons.append(daemon)

    def beside(self, daemon: str) -> FakeLeases:
        """Give another process on the same table."""
        return FakeLeases(daemon, self.table)

    def end_process(self) -> None:
        """Let everybody know that this process lives no more."""
        self.table.ended.add(self.script.process)

    async def hold(self, ids: Sequence[IntegrationId], ttl: float) -> Mapping[IntegrationId, Lease]:
        """Take, renew, look."""
        return await self.script.ask(ids, ttl)

    async def release(self, ids: Sequence[IntegrationId]) -> None:
        """Give ours back."""
        await self.script.give_back(ids)


class LeaseScript(Scripted):
    """The calls of one process."""

    def __init__(self, table: LeaseTable, process: int) -> None:
        super().__init__()
        self.process = process
        self.asked: list[frozenset[IntegrationId]] = []
        """What was asked for, call by call; failed calls that had no effect are left out."""
        self._table = table

    async def ask(self, ids: Sequence[IntegrationId], ttl: float) -> Mapping[IntegrationId, Lease]:
        """Stand for `hold`."""
        async with self._call("ask"):
            self.asked.append(frozenset(ids))
            until = anyio.current_time() + ttl
            return {name: self._hold(name, until) for name in ids}

    async def give_back(self, ids: Sequence[IntegrationId]) -> None:
        """Stand for `release`."""
        async with self._call("give_back"):
            for name in ids:
                kept = self._table.find(name)
                if kept is None:
                    kept = self._table.kept.get(name)
                if kept is not None and kept.process == self.process:
                    del self._table.kept[name]

    def _hold(self, name: IntegrationId, until: float) -> Lease:
        kept, last = self._table.find(name), self._table.kept.get(name)
        if kept is None and last is not None and last.process == self.process:
            kept = last  # it ran out, and nobody had it since
        if kept is None or self._is_left(kept):
            self._table.fence += 1
            kept = Kept(process=self.process, fence=self._table.fence, until=until)
        elif kept.process == self.process:
            kept = Kept(process=self.process, fence=kept.fence, until=until)
        else:
            return Lease(is_ours=False, holder=self._describe(kept.process), fence=kept.fence)
        self._table.kept[name] = kept
        return Lease(is_ours=True, holder=self._daemon, fence=kept.fence)

    def _is_left(self, kept: Kept) -> bool:
        return kept.process in self._table.ended and self._table.daemons[kept.process] == self._daemon

    def _describe(self, process: int) -> str:
        daemon = self._table.daemons[process]
        return f"{daemon} (another process of that name)" if daemon == self._daemon else daemon

    @property
    def _daemon(self) -> str:
        return self._table.daemons[self.process]
