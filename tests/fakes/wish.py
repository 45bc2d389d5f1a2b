"""A wish without Redis: a dictionary that rings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fakes.scripted import Scripted


class FakeWish(Scripted):
    """Port `Wish`. Write into `records`, then `ring()`; or use `put` and `remove`, which ring."""

    def __init__(self, records: Mapping[str, bytes] | None = None) -> None:
        super().__init__()
        self.records: dict[str, bytes] = dict(records or {})
        self._bells: list[Callable[[], None]] = []

    def ring(self) -> None:
        """Notify everybody who watches."""
        for bell in tuple(self._bells):
            bell()

    def put(self, field: str, record: bytes) -> None:
        """Write one record, as an operator does."""
        self.records[field] = record
        self.ring()

    def remove(self, field: str) -> None:
        """Delete one record, as an operator does."""
        del self.records[field]
        self.ring()

    async def read(self) -> Mapping[str, bytes]:
        """Give a snapshot of `records`."""
        async with self._call("read"):
            return dict(self.records)

    async def watch(self, ring: Callable[[], None]) -> None:
        """Ring once, then with every `ring()`, until cancelled or `break_off("watch")`."""
        async with self._line("watch") as line:
            self._bells.append(ring)
            try:
                ring()
                while True:
                    await self._next_change(line)
            finally:
                self._bells.remove(ring)
