"""What `doctor` finds at Redis: that it answers, what it is, what it may forget, its clock, and who runs there.

Looks only: nothing is written, nothing switched on. What the server does not let us look at is a warning, because then
nobody here can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wa_supervisor import __version__
from wa_supervisor.adapters.redis.persistence import Persistence, read_persistence
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.wish import lacking_flags
from wa_supervisor.cli.findings import Finding, doubtful, fine, parted, wrong
from wa_supervisor.cli.reaching import now
from wa_supervisor.cli.sessions import overview, troubles
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.status import DaemonStatus

if TYPE_CHECKING:
    from wa_supervisor.adapters.redis.desk import OperatorDesk

OLDEST = (7, 0)
"""The oldest version whose scripts and streams do what ours rely on; Valkey says 7.2 of itself."""

CLOCKS_APART = 2.0
"""Seconds that clocks may differ: pauses end and messages are dated by the wall clock, nothing finer than that."""

_MEMORY = ("maxmemory", "maxmemory-policy")
_SETTINGS = ("appendonly", "appendfsync", "save", *_MEMORY)
_NOTIFICATIONS = "notify-keyspace-events"


def redis_findings(desk: OperatorDesk, *, may_configure: bool) -> Iterator[Finding]:
    """Look at the server behind the desk; `may_configure` is `redis.notifications`."""
    try:
        facts = desk.facts()
    except RefusalError as error:
        if error.code != "NOPERM":
            yield wrong("redis", *parted(str(error)))
            return
        yield doubtful("redis", "answers, but does not say what it is", "give the user INFO: ACL SETUSER ... +info")
        facts = {}
    except StoreUnavailableError as error:
        yield wrong("redis", *parted(str(error)))
        return
    if facts:
        yield server(facts)
    yield from _each(
        ("redis.persistence", lambda: memory(facts, desk.configured(_SETTINGS))),
        ("redis.notifications", lambda: [notifications(desk.configured([_NOTIFICATIONS]), may_configure)]),
        ("redis.clock", lambda: [_clock(desk)]),
        ("daemons", lambda: daemons(desk.daemons(), now())),
    )


def _each(*looks: tuple[str, Callable[[], Sequence[Finding]]]) -> Iterator[Finding]:
    for check, look in looks:
        try:
            yield from look()
        except RefusalError as error:
            yield doubtful(check, *parted(str(error)))
        except StoreUnavailableError as error:  # gone meanwhile
            yield wrong(check, *parted(str(error)))


def server(facts: Mapping[str, str]) -> Finding:
    """Judge what the server is."""
    name = "Valkey" if facts.get("server_name") == "valkey" else "Redis"
    version = facts.get("redis_version", "")
    told = f"{name} {facts.get('valkey_version', version)}"
    if facts.get("redis_mode") == "cluster":
        return wrong("redis", f"{told} is a node of a cluster", "give a single server in redis.url")
    if facts.get("role") == "slave":
        return wrong("redis", f"{told} is a read-only replica", "give the address of the primary in redis.url")
    numbers = [int(part) if part.isdecimal() else -1 for part in version.split(".")[:2]]
    if len(numbers) < 2 or min(numbers) < 0:
        return doubtful("redis", f"{told}: not a version that is known here", "use Redis 7.0 or newer, or Valkey")
    if tuple(numbers) < OLDEST:
        return wrong("redis", f"{told} is too old", "use Redis 7.0 or newer, or Valkey")
    return fine("redis", told)


def memory(facts: Mapping[str, str], config: Mapping[str, str]) -> list[Finding]:
    """Judge what the server may forget when it dies, and when it is full."""
    told = {key: facts[fact] for key in _MEMORY if (fact := key.replace("-", "_")) in facts}
    info = "".join(f"{key}:{value}\r\n" for key, value in facts.items())
    found = read_persistence({**told, **config}, info)
    return [_persistence(found), _eviction(found)]


def _persistence(found: Persistence) -> Finding:
    check, unknown = "redis.persistence", "the server does not say what it keeps on disk"
    if weaknesses := replace(found, maxmemory=None).weaknesses():
        return doubtful(check, *parted(weaknesses[0]))
    if found.appendonly is None or (found.appendonly and found.appendfsync is None):
        return doubtful(check, unknown, "give the user CONFIG GET (ACL SETUSER ... +config|get), or see its provider")
    return fine(check, f"everything is on disk (appendfsync {found.appendfsync})")


def _eviction(found: Persistence) -> Finding:
    check, unknown = "redis.eviction", "the server does not say what it does when it is full"
    if weaknesses := replace(found, appendonly=None).weaknesses():
        return wrong(check, *parted(weaknesses[0]))
    if found.maxmemory is None:
        return doubtful(check, unknown, "give the user CONFIG GET (ACL SETUSER ... +config|get), or see its provider")
    return fine(check, "nothing is removed when it is full" if found.maxmemory else "maxmemory is not limited")


def notifications(config: Mapping[str, str], may_configure: bool) -> Finding:
    """Judge whether changes of the wish are told at once."""
    check, flags = "redis.notifications", config.get(_NOTIFICATIONS)
    late = "changes of the wish by others than this command line are seen at the next resync only"
    if flags is None:
        mend = "give the user CONFIG GET and SET, or set it in the server's own configuration to Kh"
        return doubtful(check, f"the server does not say whether it notifies; if not, {late}", mend)
    lacking = lacking_flags(flags)
    if not lacking:
        return fine(check, f"on ({flags})")
    if may_configure:
        return fine(check, "off; a daemon switches them on when it starts")
    return doubtful(check, f"off, so {late}", f"CONFIG SET {_NOTIFICATIONS} {flags}{lacking}")


def _clock(desk: OperatorDesk) -> Finding:
    before = now()
    theirs = desk.time()
    return clock(theirs - before, asked_for=now() - before)


def clock(ahead: float, *, asked_for: float) -> Finding:
    """Judge how far the server's clock was ahead of ours when we asked, where asking took so many seconds."""
    apart = max(ahead - asked_for, -ahead)  # it looked at its clock at some moment of ours between
    if apart <= CLOCKS_APART:
        return fine("redis.clock", "agrees with the clock here")
    which = "ahead of" if ahead > 0 else "behind"
    return doubtful(
        "redis.clock",
        f"{apart:.0f} s {which} the clock here: pauses end and times are shown as much too early or too late",
        "set both machines' clocks by NTP: timedatectl set-ntp true",
    )


def daemons(alive: Sequence[DaemonStatus], at: float) -> list[Finding]:
    """Judge who announced themselves."""
    if not alive:
        return [doubtful("daemons", *parted(troubles(overview({}, {}, (), at))[0], ". "))]
    return [finding for daemon in alive for finding in _daemon(daemon, at)]


def _daemon(daemon: DaemonStatus, at: float) -> list[Finding]:
    check = f"daemons.{daemon.id}"
    found = [
        doubtful(check, *parted(sentence.removeprefix(f"daemon {daemon.id}: ")))
        for sentence in troubles(overview({}, {}, (daemon,), at))
        if daemon.ready
    ]
    if not daemon.ready:
        found.append(
            doubtful(check, "is not ready: coming up or stopping", "wait, or see: journalctl -u wa-supervisor")
        )
    if daemon.version != __version__:
        told = f"is version {daemon.version}, and this is {__version__}"
        found.append(doubtful(check, told, "restart it: systemctl restart wa-supervisor"))
    return found or [fine(check, f"alive on {daemon.host}, with {daemon.sessions} sessions")]
