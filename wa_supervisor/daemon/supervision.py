"""The supervisor and its rooms, built from settings and stores. Nothing runs here."""

from __future__ import annotations

from collections.abc import Mapping

from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.config import Settings
from wa_supervisor.daemon import policies
from wa_supervisor.daemon.gateways import build_room
from wa_supervisor.daemon.telling import wall
from wa_supervisor.domain.integration import Defaults
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import Observer
from wa_supervisor.engine.dead_letter_office import DeadLetterOffice
from wa_supervisor.engine.people import CachedPeople
from wa_supervisor.engine.ports import People
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.session import Services
from wa_supervisor.engine.supervisor import Supervisor

Rooms = Mapping[GatewayName, GatewayRoom]


def build_rooms(settings: Settings, observe: Observer, *, kept: Rooms | None = None) -> Rooms:
    """Give a room for every gateway of `settings`: the one in `kept` where it has one, else a new one."""
    there = kept or {}
    return {
        GatewayName(name): there.get(GatewayName(name)) or build_room(name, given, observe)
        for name, given in settings.gateways.items()
    }


def build_supervisor(
    settings: Settings, *, store: RedisStore, people: People | None, rooms: Rooms, defaults: Defaults, observe: Observer
) -> Supervisor:
    """Give the supervisor; `settings` are those that only a restart changes."""
    return Supervisor(
        wish=store.wish,
        commands=store.commands,
        outbox=store.outbox,
        services=_services(settings, store, people, observe),
        defaults=defaults,
        rooms=tuple(rooms.values()),
        policy=policies.supervisor_policy(settings),
        observe=observe,
        wall=wall,
    )


def _services(settings: Settings, store: RedisStore, people: People | None, observe: Observer) -> Services:
    return Services(
        inbox=store.inbox,
        outbox=store.outbox,
        office=DeadLetterOffice(letters=store.dead_letters, outbox=store.outbox, wall=wall, observe=observe),
        people=CachedPeople(people, policies.people_policy(settings), observe),
        board=store.board,
        observe=observe,
        sessions=policies.session_policy(settings),
        inbound=policies.inbound_policy(settings),
        outbound=policies.outbound_policy(settings),
        typing=policies.typing_policy(settings),
    )
