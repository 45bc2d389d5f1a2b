"""The operator's side: what the command line reads and writes, synchronously.

It reads what daemons show, writes the wish so that nobody's change is lost, and gives one-off commands. It knows no
event loop and not redis-py, which alone takes longer to load than `status` may take in all (see `direct.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar, cast

import msgspec

from wa_supervisor.adapters.redis.address import read_address
from wa_supervisor.adapters.redis.direct import DirectLine
from wa_supervisor.adapters.redis.keys import Keys, to_bytes, to_text
from wa_supervisor.adapters.redis.lua import read_script
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.status import DaemonStatus, LoginOffer, SessionStatus

_log = logging.getLogger(__name__)

_TRIES = 100
"""How often a change is tried while somebody else keeps changing the same record."""

Change = Callable[[bytes | None], bytes | None]
"""From a record as it is to the record as it shall be; `None` stands for no record."""

T = TypeVar("T")


class OperatorDesk:
    """One operator at one server. Every method raises `StoreUnavailableError`, which says what to do.

    Use it in a `with` block, or `close` it.
    """

    def __init__(
        self, url: str, password: str | None = None, prefix: str = "wa", *, policy: RedisPolicy | None = None
    ) -> None:
        """Raises `ConfigurationError` for a URL that is none. Nothing is connected yet."""
        self._policy = policy or RedisPolicy()
        self._keys = Keys(prefix=prefix)
        self._line = DirectLine(read_address(url, password), self._policy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def statuses(self) -> dict[str, SessionStatus]:
        """Give the status of every integration; one that cannot be read is left out with a warning."""
        read = {name: _decode(data, SessionStatus, name) for name, data in self._hash(self._keys.status).items()}
        return {name: status for name, status in read.items() if status is not None}

    def daemons(self) -> list[DaemonStatus]:
        """Give the daemons that are alive, in the order of their ids."""
        ids = sorted(map(to_text, cast("Sequence[bytes]", self._line.call(b"SMEMBERS", self._keys.daemons))))
        if not ids:
            return []
        answer = cast("Sequence[bytes | None]", self._line.call(b"MGET", *map(self._keys.daemon, ids)))
        read = (_decode(data, DaemonStatus, name) for name, data in zip(ids, answer, strict=True) if data is not None)
        return [daemon for daemon in read if daemon is not None]

    def wishes(self) -> dict[str, bytes]:
        """Give every record of the wish."""
        return self._hash(self._keys.integrations)

    def write(self, integration_id: str, change: Change) -> bytes | None:
        """Change one record of the wish, and give it as it is then.

        `change` is called again with the newer record when somebody else changed it meanwhile: no change is lost. What
        it raises comes out, and nothing is written. Daemons are told at once.
        """
        name = to_bytes(integration_id)
        for _ in range(_TRIES):
            old = cast("bytes | None", self._line.call(b"HGET", self._keys.integrations, name))
            new = change(old)
            if new == old or self._replace(name, old, new):
                return new
        raise StoreUnavailableError(
            f"the record of {integration_id!r} changes faster than it can be written; see who else writes it"
        )

    def command(self, verb: str, ids: Sequence[str], reason: str = "", *, by: str = "") -> list[str]:
        """Give a one-off command for each integration; give the commands' ids, to find their answers in the status."""
        bound = (b"MAXLEN", b"~", b"%d" % self._policy.commands_maxlen, b"*")
        about = (b"verb", to_bytes(verb), b"reason", to_bytes(reason), b"by", to_bytes(by))
        head = (b"XADD", self._keys.commands, *bound, *about, b"integration_id")
        if not ids:
            return []
        answers = self._line.call_all([(*head, to_bytes(name)) for name in ids])
        return [to_text(entry) for entry in cast("Sequence[bytes]", answers)]

    def login_offer(self, integration_id: str) -> LoginOffer | None:
        """Give what a person needs to log the session in, if that is on offer."""
        answer = cast("bytes | None", self._line.call(b"GET", self._keys.login(IntegrationId(integration_id))))
        return None if answer is None else _decode(answer, LoginOffer, integration_id)

    def _hash(self, key: bytes) -> dict[str, bytes]:
        flat = cast("Sequence[bytes]", self._line.call(b"HGETALL", key))
        return {to_text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}

    def _replace(self, name: bytes, old: bytes | None, new: bytes | None) -> bool:
        expected = (b"0" if old is None else b"1", old or b"")
        wanted = (b"0" if new is None else b"1", new or b"")
        key, bell = self._keys.integrations, self._keys.bell
        script = read_script("compare_and_set")
        return bool(self._line.call(b"EVAL", script, b"1", key, name, *expected, *wanted, bell))


def _decode(data: bytes, kind: type[T], name: str) -> T | None:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        extra = {"what": kind.__name__, "about": name, "why": str(error)}
        _log.warning("left out what cannot be read; is another version at work?", extra=extra)
        return None
