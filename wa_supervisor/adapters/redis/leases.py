"""Port `Leases`: a key with a ttl for each integration that some daemon runs.

The key's text is JSON: the fencing number and the process that holds it (`holder.py`). Taking, renewing and looking is
one script for some hundreds of integrations at once, so that what is free goes to exactly one of two daemons that ask
at the same time. All numbers come from one counter without a ttl: every change of hands has a higher one than the last,
and removed integrations leave nothing behind. One that ran out while Redis was away, and that nobody had since, comes
back to its process under the same number. A server that forgets its data counts from one again.

A lease of ours is known by the random word of this process. One of an earlier process of the same daemon is taken over
at once if that process has certainly ended; all others are left alone until their ttl ends. A process whose id was
given to another program meanwhile looks as if it lived: then the daemon waits for the ttl, at most.

A key that holds something else is that integration's trouble: it is told as somebody else's and never overwritten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import cast

import msgspec

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.holder import Holder, is_left_behind, read_lease, this_process
from wa_supervisor.adapters.redis.keys import Keys, to_text
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.scripts import Script
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.engine.ports import Lease

_Page = Sequence[IntegrationId]

_Answer = int | bytes | None
"""Our number, the text of somebody else's lease, or `None` for a key that holds no text."""


class RedisLeases:
    """The leases of one process. `instance` is a word that no other process has; `process` is for tests."""

    def __init__(
        self, client: RedisClient, keys: Keys, *, daemon_id: str, instance: str, process: Holder | None = None
    ) -> None:
        self._keys = keys
        self._process = process or this_process(daemon_id, instance)
        self._ours = msgspec.json.encode(self._process)[1:]
        self._page = client.policy.batch
        self._hold = Script(client, "hold_leases")
        self._release = Script(client, "release_leases")

    async def hold(self, ids: Sequence[IntegrationId], ttl: float) -> Mapping[IntegrationId, Lease]:
        """Take, renew, look; `ttl` in seconds. Raises `StoreUnavailableError`; it may then be repeated."""
        leases: dict[IntegrationId, Lease] = {}

        async def hold_page(page: _Page) -> None:
            answers = await self._ask(dict.fromkeys(page, b""), ttl)
            left = {name: text for name, text in answers.items() if isinstance(text, bytes) and self._is_left(text)}
            answers.update(await self._ask(left, ttl))
            leases.update({name: self._read(answer) for name, answer in answers.items()})

        await _do_all(self._pages(ids), hold_page)
        return leases

    async def release(self, ids: Sequence[IntegrationId]) -> None:
        """Give ours back. Raises `StoreUnavailableError`; it may then be repeated."""

        async def release_page(page: _Page) -> None:
            # The counter goes first because a refusal names the first key, and an id may be a phone number.
            keys = [self._keys.fence, self._keys.last_leases, *map(self._keys.lease, page)]
            await self._release.call(keys, [self._ours])

        await _do_all(self._pages(ids), release_page)

    async def _ask(self, dead: Mapping[IntegrationId, bytes], ttl: float) -> dict[IntegrationId, _Answer]:
        """Ask for the leases that `dead` names, each with the text of a dead process's lease, or none."""
        if not dead:
            return {}
        keys = [self._keys.fence, self._keys.last_leases, *map(self._keys.lease, dead)]
        milliseconds = b"%d" % max(1, round(ttl * 1000))
        answer = await self._hold.call(keys, [milliseconds, self._ours, *dead.values()])
        return dict(zip(dead, cast("Sequence[_Answer]", answer), strict=True))

    def _is_left(self, text: bytes) -> bool:
        lease = read_lease(text)
        return lease is not None and is_left_behind(lease, self._process)

    def _read(self, answer: _Answer) -> Lease:
        if isinstance(answer, int):
            return Lease(is_ours=True, holder=self._process.daemon, fence=answer)
        kept = None if answer is None else read_lease(answer)
        if kept is None:
            key = to_text(self._keys.lease(IntegrationId("<its id>")))  # an id may be a phone number
            holder = f"nobody known (the key {key} holds no lease; delete it)"
            return Lease(is_ours=False, holder=holder, fence=0)
        is_namesake = kept.daemon == self._process.daemon
        which = f" (another process of that name: {kept.pid} on {kept.host})" if is_namesake else ""
        return Lease(is_ours=False, holder=kept.daemon + which, fence=kept.fence)

    def _pages(self, ids: Sequence[IntegrationId]) -> Iterator[_Page]:
        names = list(dict.fromkeys(ids))
        return (names[start : start + self._page] for start in range(0, len(names), self._page))


async def _do_all(pages: Iterator[_Page], do: Callable[[_Page], Awaitable[None]]) -> None:
    """Do all pages, also when the server refuses one: the leases of the others are to be renewed all the same."""
    refusals: list[RefusalError] = []
    for page in pages:
        try:
            await do(page)
        except RefusalError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
