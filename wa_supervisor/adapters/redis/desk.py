"""The operator's side: what the command line reads and writes, synchronously.

It reads what daemons show, writes the wish so that nobody's change is lost, gives one-off commands, and clears dead
letters away. It knows no event loop and not redis-py, which alone takes longer to load than `status` may take in all
(see `direct.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar, cast

import msgspec

from wa_supervisor.adapters.redis.address import read_address
from wa_supervisor.adapters.redis.direct import DirectLine
from wa_supervisor.adapters.redis.entries import Entry, read_entries, read_streams
from wa_supervisor.adapters.redis.keys import Keys, agent_output, to_bytes, to_text
from wa_supervisor.adapters.redis.lua import read_script
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.domain.dead_letters import Replay
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.status import CommandResult, DaemonStatus, LoginOffer, SessionStatus

_log = logging.getLogger(__name__)

_TRIES = 100
"""How often a change is tried while somebody else keeps changing the same record."""

Change = Callable[[bytes | None], bytes | None]
"""From a record as it is to the record as it shall be; `None` stands for no record."""

T = TypeVar("T")

_PAGE = b"500"
"""Events read at once: a few milliseconds of the server's time."""

_LETTERS = b"50"
"""Dead letters read at once: each may have 65,536 characters, of several bytes."""

_WATCH_SHARE = 0.5
"""Share of `command_timeout` for which a watch blocks before it asks again and so sees that the server is there."""


Recorded = tuple[str, bytes]
"""An event or a dead letter as it stands in its stream: its id there, which is the order, and its JSON."""


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
        return _read_statuses(self._hash(self._keys.status))

    def statuses_of(self, ids: Sequence[str]) -> dict[str, SessionStatus]:
        """Give the statuses of these integrations, where there are any."""
        return _read_statuses(self._fields(self._keys.status, ids))

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

    def wishes_of(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Give the records of these integrations, where there are any."""
        return self._fields(self._keys.integrations, ids)

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
        """Give a one-off command for each integration; give the commands' ids, by which `answers` finds the answers."""
        head = self._command(verb, reason, by)
        if not ids:
            return []
        answers = self._line.call_all([(*head, b"integration_id", to_bytes(name)) for name in ids])
        return [to_text(entry) for entry in cast("Sequence[bytes]", answers)]

    def command_daemons(self, verb: str, reason: str = "", *, by: str = "") -> str:
        """Give a one-off command that is for no integration but for the daemons; give its id."""
        return to_text(cast("bytes", self._line.call(*self._command(verb, reason, by))))

    def answers(self, commands: Sequence[str]) -> dict[str, CommandResult]:
        """Give what became of these commands, by their ids, where a daemon has answered and it is not long ago."""
        if not commands:
            return {}
        found = cast("Sequence[bytes | None]", self._line.call(b"MGET", *map(self._keys.answer, commands)))
        pairs = zip(commands, found, strict=True)
        read = {command: _decode(data, CommandResult, command) for command, data in pairs if data is not None}
        return {command: result for command, result in read.items() if result is not None}

    def newest_entry(self) -> str:
        """Give the id of the last event in the stream, from which on `events_after` watches."""
        return self._newest(self._keys.events)

    def events(self, until: str) -> Iterator[Recorded]:
        """Give the events up to the entry `until`, newest first, as many as are asked for."""
        end = to_bytes(until)
        while rows := read_entries(self._line.call(b"XREVRANGE", self._keys.events, end, b"-", b"COUNT", _PAGE)):
            yield from _recorded(rows, b"event")
            end = b"(" + to_bytes(rows[-1].id)

    def events_after(self, entry: str) -> tuple[str, list[Recorded]]:
        """Wait a moment for events after this entry; give the last entry's id and the events, oldest first."""
        milliseconds = b"%d" % max(1, round(self._policy.command_timeout * _WATCH_SHARE * 1000))
        read = (b"XREAD", b"BLOCK", milliseconds, b"COUNT", _PAGE, b"STREAMS", self._keys.events)
        rows = read_streams(self._line.call(*read, to_bytes(entry))).get(self._keys.events, [])
        return (rows[-1].id if rows else entry), list(_recorded(rows, b"event"))

    def login_offer(self, integration_id: str) -> LoginOffer | None:
        """Give what a person needs to log the session in, if that is on offer."""
        answer = cast("bytes | None", self._line.call(b"GET", self._keys.login(IntegrationId(integration_id))))
        return None if answer is None else _decode(answer, LoginOffer, integration_id)

    def dead_letters(self) -> Iterator[Recorded]:
        """Give the dead letters, newest first, as many as are asked for."""
        end = b"+"
        while rows := read_entries(self._line.call(b"XREVRANGE", self._keys.dead, end, b"-", b"COUNT", _LETTERS)):
            yield from _recorded(rows, b"letter")
            end = b"(" + to_bytes(rows[-1].id)

    def dead_letters_so_far(self) -> Iterator[Recorded]:
        """Give the dead letters that are there now, oldest first; not those that die meanwhile, perhaps once more."""
        start, end = b"-", to_bytes(self._newest(self._keys.dead))
        while rows := read_entries(self._line.call(b"XRANGE", self._keys.dead, start, end, b"COUNT", _LETTERS)):
            yield from _recorded(rows, b"letter")
            start = b"(" + to_bytes(rows[-1].id)

    def dead_letter(self, entry: str) -> Recorded | None:
        """Give one dead letter by its whole entry id (`1700000000000-0`), if it is there."""
        name = to_bytes(entry)
        rows = read_entries(self._line.call(b"XRANGE", self._keys.dead, name, name))
        return next(_recorded(rows, b"letter"), None)

    def replay(self, entry: str, replay: Replay) -> str | None:
        """Move one dead letter into its agent's output stream, and give the reply's entry there.

        `None`: the letter is gone, because somebody else replayed or dropped it; nothing was added. However many replay
        it at once, one of them does it. Raises `RefusalError` when the agent's stream does not take it.
        """
        output = agent_output(replay.agent_id)
        script = read_script("replay_letter")
        added = self._line.call(b"EVAL", script, b"2", self._keys.dead, output, to_bytes(entry), replay.payload)
        return None if added is None else to_text(cast("bytes", added))

    def drop(self, entry: str) -> bool:
        """Take out one dead letter; whether it was there."""
        return bool(self._line.call(b"XDEL", self._keys.dead, to_bytes(entry)))

    def facts(self) -> dict[str, str]:
        """Give what the server says of itself (`INFO`): version, role, memory, persistence."""
        told = to_text(cast("bytes", self._line.call(b"INFO")))
        return dict(line.split(":", 1) for line in told.splitlines() if ":" in line)

    def configured(self, names: Sequence[str]) -> dict[str, str]:
        """Give these of the server's settings, where it lets us look at them."""
        found: dict[str, str] = {}
        for name in names:
            try:
                answer = cast("Sequence[bytes]", self._line.call(b"CONFIG", b"GET", to_bytes(name)))
            except RefusalError:  # not permitted, or taken away, as where servers are for rent
                continue
            if len(answer) == 2:
                found[name] = to_text(answer[1])
        return found

    def time(self) -> float:
        """Give the server's clock, seconds since the epoch."""
        seconds, microseconds = cast("Sequence[bytes]", self._line.call(b"TIME"))
        return int(seconds) + int(microseconds) / 1_000_000

    def _newest(self, key: bytes) -> str:
        entries = read_entries(self._line.call(b"XREVRANGE", key, b"+", b"-", b"COUNT", b"1"))
        return entries[0].id if entries else "0-0"

    def _hash(self, key: bytes) -> dict[str, bytes]:
        flat = cast("Sequence[bytes]", self._line.call(b"HGETALL", key))
        return {to_text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}

    def _fields(self, key: bytes, names: Sequence[str]) -> dict[str, bytes]:
        if not names:
            return {}
        found = cast("Sequence[bytes | None]", self._line.call(b"HMGET", key, *map(to_bytes, names)))
        return {name: value for name, value in zip(names, found, strict=True) if value is not None}

    def _command(self, verb: str, reason: str, by: str) -> tuple[bytes, ...]:
        bound = (b"MAXLEN", b"~", b"%d" % self._policy.commands_maxlen, b"*")
        about = (b"verb", to_bytes(verb), b"reason", to_bytes(reason), b"by", to_bytes(by))
        return (b"XADD", self._keys.commands, *bound, *about)

    def _replace(self, name: bytes, old: bytes | None, new: bytes | None) -> bool:
        expected = (b"0" if old is None else b"1", old or b"")
        wanted = (b"0" if new is None else b"1", new or b"")
        key, bell = self._keys.integrations, self._keys.bell
        script = read_script("compare_and_set")
        return bool(self._line.call(b"EVAL", script, b"1", key, name, *expected, *wanted, bell))


def _read_statuses(found: dict[str, bytes]) -> dict[str, SessionStatus]:
    read = {name: _decode(data, SessionStatus, name) for name, data in found.items()}
    return {name: status for name, status in read.items() if status is not None}


def _recorded(rows: Sequence[Entry], field: bytes) -> Iterator[Recorded]:
    return ((row.id, (row.fields or {}).get(field, b"")) for row in rows)


def _decode(data: bytes, kind: type[T], name: str) -> T | None:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        extra = {"what": kind.__name__, "about": name, "why": str(error)}
        _log.warning("left out what cannot be read; is another version at work?", extra=extra)
        return None
