"""The supervisor, its rooms, and who writes what it tells, built from settings and stores. Nothing runs here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from wa_supervisor.adapters.redis.keys import Keys
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.config import Settings
from wa_supervisor.daemon import policies
from wa_supervisor.daemon.gateways import build_room
from wa_supervisor.daemon.neighbours import SharedBoard
from wa_supervisor.daemon.telling import Telling, wall
from wa_supervisor.domain.integration import Defaults
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import Observer
from wa_supervisor.domain.status import SessionStatus
from wa_supervisor.engine.backlog import Backlog
from wa_supervisor.engine.chronicle import Chronicle
from wa_supervisor.engine.dead_letter_office import DeadLetterOffice
from wa_supervisor.engine.people import CachedPeople
from wa_supervisor.engine.ports import People
from wa_supervisor.engine.reporter import Reporter
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.session import Services
from wa_supervisor.engine.supervisor import Supervisor
from wa_supervisor.engine.tenancy import Tenancy

Rooms = Mapping[GatewayName, GatewayRoom]


def build_rooms(
    settings: Settings, store: RedisStore, backlog: Backlog, observe: Observer, *, kept: Rooms | None = None
) -> Rooms:
    """Give a room for every gateway of `settings`: the one in `kept` where it has one, else a new one."""
    there = kept or {}
    return {
        GatewayName(name): there.get(GatewayName(name))
        or build_room(name, given, observe, receipts=store.receipts, backlog=backlog)
        for name, given in settings.gateways.items()
    }


def build_supervisor(
    settings: Settings,
    *,
    store: RedisStore,
    people: People | None,
    rooms: Rooms,
    backlog: Backlog,
    defaults: Defaults,
    observe: Observer,
) -> Supervisor:
    """Give the supervisor; `settings` are those that only a restart changes."""
    policy = policies.supervisor_policy(settings)
    supervisor = Supervisor(
        wish=store.wish,
        commands=store.commands,
        outbox=store.outbox,
        services=_services(settings, store, people, backlog, observe),
        defaults=defaults,
        rooms=tuple(rooms.values()),
        policy=policy,
        observe=observe,
        wall=wall,
        tenancy=Tenancy(store.leases, policy=policy, observe=observe),
    )
    store.client.on_other_server = supervisor.store_restarted
    return supervisor


def build_reporter(
    settings: Settings, store: RedisStore, telling: Telling, statuses: Callable[[], Sequence[SessionStatus]]
) -> Reporter:
    """Give who keeps the status board true, beside other daemons."""
    board = SharedBoard(
        store.board, store.client, Keys(prefix=settings.redis.prefix), wall=wall, tell_rival=telling.note_rival
    )
    return Reporter(
        board=board,
        statuses=statuses,
        describe=telling.daemon_status,
        daemon=settings.daemon.id,
        pid=telling.pid,
        policy=policies.supervisor_policy(settings),
        observe=telling.observe,
    )


def build_chronicle(settings: Settings, store: RedisStore, telling: Telling) -> Chronicle:
    """Give who writes the history; it listens from now on."""
    policy = policies.supervisor_policy(settings)
    chronicle = Chronicle(
        store.events,
        daemon=settings.daemon.id,
        wall=wall,
        kept=policy.events_kept,
        retry_initial=policy.retry_initial,
        retry_max=policy.retry_max,
        observe=telling.observe,
    )
    telling.subscribe(chronicle.note)
    return chronicle


def _services(
    settings: Settings, store: RedisStore, people: People | None, backlog: Backlog, observe: Observer
) -> Services:
    office = DeadLetterOffice(
        letters=store.dead_letters, outbox=store.outbox, receipts=store.receipts, wall=wall, observe=observe
    )
    return Services(
        inbox=store.inbox,
        outbox=store.outbox,
        receipts=store.receipts,
        backlog=backlog,
        office=office,
        people=CachedPeople(people, policies.people_policy(settings), observe),
        board=store.board,
        observe=observe,
        sessions=policies.session_policy(settings),
        inbound=policies.inbound_policy(settings),
        outbound=policies.outbound_policy(settings),
        typing=policies.typing_policy(settings),
    )
