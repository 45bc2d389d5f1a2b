"""Port `People` on the hub's tables `users` and `agent_user_authorizations`.

An unknown person costs one round trip, a known one too; who asks often keeps a cache before it. The rules are the
hub's:

- A new person whose id ends in `@c.us` is authorised for the agent at once: WhatsApp itself vouches for the number.
  A lid is not, even where WhatsApp told its number, which is stored: the hub takes numbers from such ids only.
- A person who is known but has no answer for this agent is not authorised, and no row is written: the hub writes
  none, and "nobody decided" stays different from "somebody refused".
- Names are those of the first message that had one. A later name does not replace a stored one: the hub never renames
  anybody, and somebody may have put the name right. `username` is the first name, as the hub's own bot has it, since
  WhatsApp has none.
- The phone number goes to whoever had it first, on whatever platform; the other one is stored without.

An agent that the hub does not know cannot be granted anything: its new people are stored and not authenticated, with a
warning once. A name that this database cannot hold costs that person the row, never anybody else theirs.

Deliberately not here: caching, and when a database that is away is asked again (`wa_supervisor.engine.people`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

import anyio
import psycopg
from psycopg.errors import DeadlockDetected, ForeignKeyViolation, SerializationFailure
from psycopg.rows import TupleRow

from wa_supervisor.adapters.postgres.connections import Connections
from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.adapters.postgres.schema import create_tables
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.people import Person, split_name, unknown_person

_logger = logging.getLogger(__name__)

_ATTEMPTS = 5
"""How often a statement that lost against another one is tried; losing twice in a row takes three writers already."""

_DEFAULT = PostgresPolicy()

_LONGEST_NAME = 255
"""Characters: the hub has an index on names, and PostgreSQL refuses entries beyond about 2,700 bytes."""

_MOST_WARNINGS = 1000
"""Agents that are remembered as warned about."""


class PostgresPeople:
    """Users and their authorisations in PostgreSQL; use it inside `async with`, on asyncio.

    Raises `ConfigurationError` when `url` cannot be read. Opening does not wait for the server: a database that is away
    shows in the calls, as `StoreUnavailableError`, and they work again as soon as it is back.
    """

    def __init__(self, url: str, policy: PostgresPolicy = _DEFAULT) -> None:
        self._policy = policy
        self._connections = Connections(url, policy)
        self._warned: set[AgentId] = set()

    async def __aenter__(self) -> Self:
        await self._connections.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        with anyio.move_on_after(self._policy.cleanup, shield=True):
            await self._connections.close()

    async def ensure_schema(self) -> None:
        """Create the tables if there are none; never touch those that are there.

        Raises `StoreUnavailableError` that names everything missing: tables, columns, privileges. Any number of daemons
        may do this at once, and a role that may create nothing passes when the tables are there.
        """
        await self._connections.guarded(lambda: create_tables(self._connections))

    async def get_or_create(self, agent_id: AgentId, sender: Sender) -> Person:
        """Find the person or make them known, with the stored authorisation for this agent.

        Names and phone are those of the row. Raises `StoreUnavailableError`, also when time is up.
        """
        return await self._connections.guarded(lambda: self._find(agent_id, sender))

    async def _find(self, agent_id: AgentId, sender: Sender) -> Person:
        values = _values(agent_id, sender)
        try:
            return _person(sender, await self._store(values))
        except ForeignKeyViolation as error:
            self._warn(agent_id, error)
            return _person(sender, await self._store({**values, "grants": False}))
        except psycopg.DataError as error:
            _logger.warning(
                "The database cannot hold a person's name or id; is its encoding UTF8?",
                extra={"agent": agent_id, "error": error.diag.message_primary},
            )
            return unknown_person(sender)

    async def _store(self, values: Mapping[str, object]) -> TupleRow:
        for _ in range(_ATTEMPTS):
            with suppress(SerializationFailure, DeadlockDetected):
                if rows := await self._connections.fetch("get_or_create", values):
                    return rows[0]
        raise StoreUnavailableError(
            f"PostgreSQL neither found nor stored a person in {_ATTEMPTS} tries; see that no trigger keeps rows out of "
            "users, and that the sequence of users.id is not behind the table (setval moves it)"
        )

    def _warn(self, agent_id: AgentId, error: ForeignKeyViolation) -> None:
        if agent_id in self._warned:
            return
        if len(self._warned) >= _MOST_WARNINGS:
            self._warned.clear()
        self._warned.add(agent_id)
        _logger.warning(
            "The hub does not know this agent, so its new people are not authorised; add it to agent_configs",
            extra={"agent": agent_id, "error": error.diag.message_primary},
        )


def _values(agent_id: AgentId, sender: Sender) -> dict[str, object]:
    first, last = split_name(sender.name.replace("\x00", "").encode("utf-8", "replace").decode())
    return {
        "agent_id": _id_text(agent_id),
        "platform_user_id": _id_text(sender.id),
        "phone": sender.phone,
        "first_name": first[:_LONGEST_NAME] or None,
        "last_name": last[:_LONGEST_NAME] if last else None,
        "grants": sender.phone is not None and sender.id.endswith("@c.us"),
    }


def _id_text(text: str) -> str:
    # What PostgreSQL cannot hold becomes something no real id has: dropped, it could turn one id into another.
    return "".join("\ufffd" if char == "\x00" or "\ud800" <= char <= "\udfff" else char for char in text)


def _person(sender: Sender, row: TupleRow) -> Person:
    user_id, first_name, last_name, username, phone_number, is_authorized = row
    return Person(
        platform_user_id=sender.id,
        user_id=user_id,
        first_name=first_name or "",
        last_name=last_name or None,
        username=username,
        phone_number=phone_number or None,
        is_authenticated=is_authorized,
    )
