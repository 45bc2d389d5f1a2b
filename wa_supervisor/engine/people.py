"""Who wrote: people from the port, remembered, and never a reason for a message to wait for long or to fail.

`CachedPeople` lives as long as the daemon and is shared by all its sessions. It has no task of its own: the first who
asks for a person does the query, whoever asks for the same person meanwhile waits for it, and if the first one is
cancelled the next takes over. While the database is away, people are served as last known, or with what their message
says of them; one query at a time, not sooner than `PeoplePolicy.pause` after the last failure, finds out whether it is
back.

It deliberately does not store anything, does not repeat a query, and does not know what a database is.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace

import anyio

from wa_supervisor.domain.errors import TemporaryError, WaSupervisorError
from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import AgentId, ChatId
from wa_supervisor.domain.observations import Observer, Trouble
from wa_supervisor.domain.people import Person, PersonSource, unknown_person
from wa_supervisor.engine.ports import People

_Key = tuple[AgentId, ChatId]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeoplePolicy:
    """How long people are remembered, and how a database that is away is spared."""

    remember: float = 3600.0
    """Seconds for which a person is not looked up again: how late a withdrawn authorisation is noticed at most."""
    remember_unauthenticated: float = 60.0
    """Seconds, at most `remember`, for somebody who is not authenticated: being let in must not take an hour."""
    size: int = 100_000
    """Most people remembered, about half a kilobyte each; the one not seen for longest is forgotten first."""
    pause: float = 10.0
    """Seconds without a query after a failed one: a dead database may cost its time-out once in a while, not for every
    message. Longer if the database says when to come back."""


@dataclass(frozen=True, slots=True)
class _Kept:
    person: Person
    until: float


class CachedPeople:
    """Persons for messages: from memory, from the port, or from the message alone; `person` never fails."""

    def __init__(self, people: People | None, policy: PeoplePolicy, observe: Observer) -> None:
        self._people = people
        self._policy = policy
        self._observe = observe
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._asking: dict[_Key, anyio.Event] = {}
        self._is_away = False
        self._try_again_at = 0.0

    def __repr__(self) -> str:
        how = "no database" if self._people is None else "away" if self._is_away else "available"
        return f"<CachedPeople {how}, {len(self._kept)} remembered, {len(self._asking)} being asked for>"

    async def person(self, agent_id: AgentId, sender: Sender) -> Person:
        """Give who `sender` is to this agent. Raises nothing; cancelling it does not disturb others who wait."""
        if self._people is None:
            return unknown_person(sender)
        key = agent_id, sender.id
        while True:
            if (known := self._remembered(key)) is not None:
                return _as_last_known(known) if self._is_away else known
            if self._is_away and anyio.current_time() < self._try_again_at:
                return self._last_known(key, sender)
            if (asked := self._asking.get(key)) is None:
                return await self._ask(self._people, key, sender)
            await asked.wait()

    def _remembered(self, key: _Key) -> Person | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return kept.person if anyio.current_time() < kept.until else None

    def _last_known(self, key: _Key, sender: Sender) -> Person:
        kept = self._kept.get(key)
        return _as_last_known(kept.person) if kept is not None else unknown_person(sender)

    async def _ask(self, people: People, key: _Key, sender: Sender) -> Person:
        answered = self._asking[key] = anyio.Event()
        is_probe = self._is_away
        if is_probe:
            self._try_again_at = math.inf  # one query is enough to find out; the others go on without an answer
        try:
            person = await people.get_or_create(key[0], sender)
        except WaSupervisorError as error:
            self._lost(error)
        except Exception as error:  # noqa: BLE001  # supervision border: a mistake in a look-up must not cost the message
            self._failed(error)
        else:
            self._found()
            self._keep(key, person)
            return person
        finally:
            if is_probe and self._try_again_at == math.inf:
                self._try_again_at = anyio.current_time()  # cancelled: nothing was learned, so the next finds out
            del self._asking[key]
            answered.set()
        return self._last_known(key, sender)

    def _keep(self, key: _Key, person: Person) -> None:
        if person.user_id is None:  # the row could not be stored: the next message is a new chance
            return
        policy = self._policy
        seconds = policy.remember
        if not person.is_authenticated:
            seconds = min(seconds, policy.remember_unauthenticated)
        self._kept[key] = _Kept(person, anyio.current_time() + seconds)
        self._kept.move_to_end(key)
        while len(self._kept) > policy.size:
            self._kept.popitem(last=False)

    def _found(self) -> None:
        if self._is_away:
            self._is_away = False
            self._observe(Trouble(where="people_back", message="People can be looked up again."))

    def _lost(self, error: WaSupervisorError) -> None:
        pause = self._policy.pause
        if isinstance(error, TemporaryError) and error.retry_after is not None:
            pause = max(pause, error.retry_after)
        self._try_again_at = anyio.current_time() + pause
        if not self._is_away:
            self._is_away = True
            message = (
                f"People cannot be looked up: {error}. Agents get those who are not remembered as not authenticated, "
                f"until the database answers; it is tried every {pause:g} s."
            )
            self._observe(Trouble(where="people_away", message=message, error=error))

    def _failed(self, error: Exception) -> None:
        if self._is_away:
            self._try_again_at = anyio.current_time() + self._policy.pause
        message = "Looking a person up failed in a way that nobody foresaw; the message goes on without it."
        self._observe(Trouble(where="people", message=message, error=error))


def _as_last_known(person: Person) -> Person:
    return replace(person, source=PersonSource.MEMORY)
