"""The supervisor: the whole wish, compared with what is there, again and again.

A notification only wakes the loop; the whole hash is read and compared every time, and a jittered resync makes a lost
notification harmless. One round is `reconcile_once`, a function that can be tested. When the wish cannot be read, what
runs goes on with the last known one; when it lost much at once, it is read again, and only a part of it is followed.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import anyio
from anyio.abc import TaskGroup, TaskStatus

from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.integration import Defaults, Integration
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.observations import Observer, Reconciled, Trouble
from wa_supervisor.domain.plan import Plan, Wanted, make_plan
from wa_supervisor.domain.status import SessionStatus
from wa_supervisor.domain.wish import Claim, read_wish
from wa_supervisor.engine.claims import Claims
from wa_supervisor.engine.commanding import Commanding
from wa_supervisor.engine.crash import cause_of, crashing
from wa_supervisor.engine.guarding import Guarding, Look
from wa_supervisor.engine.keeper import Keeper
from wa_supervisor.engine.orders import Orders
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.ports import AgentOutbox, Commands, Lease, Wish
from wa_supervisor.engine.publishing import Publishing
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.reply_router import ReplyRouter
from wa_supervisor.engine.retrying import keep_doing, patient
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.session import Services
from wa_supervisor.engine.switch import Bell
from wa_supervisor.engine.tenancy import Tenancy
from wa_supervisor.engine.yard import Yard

NOT_LEASED = Lease(is_ours=True, holder="", fence=0)
"""The lease of everything where there is only one daemon."""


class Supervisor:
    """Keeps what the operator wants."""

    def __init__(
        self,
        *,
        wish: Wish,
        commands: Commands,
        outbox: AgentOutbox,
        services: Services,
        defaults: Defaults,
        rooms: Sequence[GatewayRoom],
        policy: SupervisorPolicy,
        observe: Observer,
        wall: Callable[[], float],
        tenancy: Tenancy | None = None,
    ) -> None:
        self.changed: Callable[[IntegrationId], None] = lambda _: None
        """Called with an id whenever its status may have changed."""
        self._wish = wish
        self._outbox = outbox
        self._services = services
        self._defaults = defaults
        self._rooms = {room.name: room for room in rooms}
        self._policy = policy
        self._observe = observe
        self._wall = wall
        self._tenancy = tenancy
        if tenancy is not None:
            tenancy.on_change = self._lease_changed
        self._bell = Bell()
        self._claims = Claims()
        self._yard = Yard()
        self._guarding = Guarding(policy, observe)
        self._router = self._make_router()
        self._publishing = Publishing(services.inbox, services.inbound, observe)
        self._keepers: dict[IntegrationId, Keeper] = {}
        orders = Orders(keepers=self._keepers, guarding=self._guarding, reconcile_soon=self._bell.ring, wall=wall)
        self._commanding = Commanding(
            commands,
            orders.carry_out,
            wall=wall,
            observe=observe,
            retry_initial=policy.retry_initial,
            retry_max=policy.retry_max,
        )
        self._keeping: TaskGroup | None = None
        self._emptied = anyio.Event()
        self._is_draining = False
        self._hearing = anyio.CancelScope()
        self._last: dict[IntegrationId, SessionStatus] = {}

    def __repr__(self) -> str:
        return f"<Supervisor {len(self._keepers)} integrations, {len(self._rooms)} gateways>"

    def statuses(self) -> list[SessionStatus]:
        """Give the status of every integration, in the order of their ids."""
        current = {name: keeper.record.status() for name, keeper in self._keepers.items()}
        return [status for _, status in sorted((self._last | current).items())]

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> NoReturn:
        """Keep until cancelled. Started when the first plan is made."""
        async with anyio.create_task_group() as tasks:
            self._keeping = tasks
            await tasks.start(self._yard.run)
            for room in self._rooms.values():
                tasks.start_soon(room.run)
            if self._tenancy is not None:
                tasks.start_soon(self._tenancy.run)
            tasks.start_soon(self._keep, "wish", lambda: self._wish.watch(self._bell.ring))
            await tasks.start(self._reconcile_for_ever)
            tasks.start_soon(self._commanding.run)
            tasks.start_soon(self._hear_agents)
            tasks.start_soon(self._publishing.run)
            task_status.started()
        raise AssertionError("the supervisor ends by cancellation only")  # pragma: no cover  # for the type checker

    async def reconcile_once(self) -> Plan:
        """Read the whole wish and do what it takes. Raises `StoreUnavailableError` when it cannot be read."""
        began = anyio.current_time()
        look = await self._look()
        if self._guarding.doubts(look):
            await anyio.sleep(self._policy.shrink_look)
            look = await self._look()
        plan = self._guarding.weigh(look)
        self._carry_out(plan)
        self._observe(
            Reconciled(
                seconds=anyio.current_time() - began,
                wanted=len(look.wish.integrations),
                invalid=len(look.wish.invalid),
                changed=plan.size,
                error=None,
            )
        )
        return plan

    async def drain(self, deadline: float) -> tuple[str, ...]:
        """Stop everything within about `deadline` seconds; sessions stay logged in at their gateways.

        Gives the names of what has not stopped: it is cut off, and only the end of the process ends it.
        """
        began = anyio.current_time()
        self._is_draining = True
        self._hearing.cancel()  # what an agent says now stays in its stream for the next daemon
        for room in self._rooms.values():
            room.stop_listening()
        for keeper in self._keepers.values():
            keeper.leave()
        policy = self._policy
        await self._wait_emptied(deadline * policy.drain_timeout / (policy.drain_timeout + policy.cancel_timeout))
        for keeper in self._keepers.values():
            keeper.hurry()
        await self._wait_emptied(began + deadline - anyio.current_time())
        left = [part for keeper in self._keepers.values() for part in keeper.give_up()]
        return (*left, *self._yard.unfinished())

    def store_restarted(self) -> None:
        """Take that the store is another one than before, or began anew: it may have forgotten the last it was told."""
        for keeper in self._keepers.values():
            keeper.store_restarted()

    async def give_leases_back(self) -> None:
        """Let other daemons have what this one ran: it has drained, and told the last of it."""
        if self._tenancy is not None:
            await self._tenancy.give_back(None)

    def replace_gateways(self, rooms: Sequence[GatewayRoom], defaults: Defaults) -> None:
        """Use these gateways from now on: only sessions of gateways that changed are begun anew."""
        assert self._keeping is not None, "the supervisor runs"  # noqa: S101  # an order that callers keep
        new = {room.name: room for room in rooms}
        gone = [room for name, room in self._rooms.items() if new.get(name) is not room]
        for name, room in new.items():
            if self._rooms.get(name) is not room:
                self._keeping.start_soon(room.run)
        self._defaults = defaults
        self._rooms.clear()
        self._rooms.update(new)
        for keeper in self._keepers.values():
            keeper.gateways_changed()
        for room in gone:
            self._keeping.start_soon(self._close_room_when_left, room)
        self._bell.ring()

    async def _wait_emptied(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._keepers:
                await self._emptied.wait()

    async def _look(self) -> Look:
        records = await self._wish.read()
        wish = read_wish(records, self._defaults, self._holders())
        present: dict[IntegrationId, Wanted] = {
            name: keeper.wanted for name, keeper in self._keepers.items() if keeper.wanted is not None
        }
        return Look(
            wish=wish,
            plan=make_plan(wish, present),
            present=present,
            gateways=self._defaults.gateways,
            at=self._wall(),
        )

    def _carry_out(self, plan: Plan) -> None:
        if self._is_draining:
            return
        for name in plan.remove:
            self._keepers[name].follow(None)
        for wanted in (*plan.change, *plan.add):
            keeper = self._keepers.get(wanted.id)
            if keeper is not None:
                keeper.follow(wanted)
            else:
                self._add(wanted)
        for name, keeper in self._keepers.items():
            keeper.record.notice(self._guarding.notices.get(name, ""))
        self._follow_leases()

    def _add(self, wanted: Wanted) -> None:
        assert self._keeping is not None, "the supervisor runs"  # noqa: S101  # an order that callers keep
        record = Record(wanted, wall=self._wall, observe=self._observe, changed=self._tell_changed)
        keeper = self._keepers[wanted.id] = Keeper(
            wanted,
            record=record,
            rooms=self._rooms,
            claims=self._claims,
            lease=self._lease,
            is_surely_ours=self._is_surely_ours,
            yard=self._yard,
            router=self._router,
            services=self._services,
            policy=self._policy,
        )
        self._keeping.start_soon(self._run_keeper, keeper)

    async def _run_keeper(self, keeper: Keeper) -> None:
        policy = self._policy
        try:
            async for attempt in patient(policy.retry_initial, policy.retry_max, tell=keeper.failed):
                with attempt:
                    await crashing(keeper.run)
        finally:
            del self._keepers[keeper.id]
            if self._is_draining:
                self._last[keeper.id] = keeper.record.status()
            self._tell_changed(keeper.id)
            self._follow_leases()
            self._emptied.set()
            self._emptied = anyio.Event()

    async def _close_room_when_left(self, room: GatewayRoom) -> None:
        with anyio.move_on_after(self._policy.drain_timeout + self._services.sessions.close_timeout):
            await room.wait_unused()
        room.stop_listening()
        await room.wait_unused()
        room.close()

    def _holders(self) -> dict[Claim, IntegrationId]:
        return {
            keeper.wanted.claim: name
            for name, keeper in self._keepers.items()
            if isinstance(keeper.wanted, Integration)
        }

    def _lease(self, name: IntegrationId) -> Lease | None:
        return NOT_LEASED if self._tenancy is None else self._tenancy.lease(name)

    def _elsewhere(self, agent: AgentId) -> dict[IntegrationId, str]:
        """Give the agent's integrations that other daemons run, each with the name of its daemon."""
        if self._tenancy is None or not self._tenancy.has_neighbours:
            return {}
        leases = {
            name: self._tenancy.lease(name)
            for name, keeper in self._keepers.items()
            if isinstance(keeper.wanted, Integration) and keeper.wanted.agent_id == agent and not keeper.wanted.paused
        }
        return {name: lease.holder for name, lease in leases.items() if lease is not None and not lease.is_ours}

    def _make_router(self) -> ReplyRouter:
        services = self._services
        return ReplyRouter(
            inbox=services.inbox,
            outbox=self._outbox,
            office=services.office,
            observe=self._observe,
            elsewhere=self._elsewhere,
        )

    def _is_surely_ours(self, name: IntegrationId) -> bool:
        return self._tenancy is None or self._tenancy.is_surely_ours(name)

    def _lease_changed(self, name: IntegrationId) -> None:
        keeper = self._keepers.get(name)
        if keeper is not None:
            keeper.look_up()

    def _follow_leases(self) -> None:
        if self._tenancy is not None and not self._is_draining:
            self._tenancy.follow(frozenset(name for name, keeper in self._keepers.items() if keeper.needs_lease))

    def _tell_changed(self, name: IntegrationId) -> None:
        self.changed(name)

    async def _reconcile_for_ever(self, *, task_status: TaskStatus[None]) -> NoReturn:
        await self._reconcile()
        task_status.started()
        while True:
            await self._bell.wait_for(self._policy.resync * random.uniform(0.8, 1.2))  # noqa: S311  # jitter
            await anyio.sleep(self._policy.debounce)
            await self._reconcile()

    async def _reconcile(self) -> None:
        """Make one round, tried again until it succeeds; what runs goes on with the last known wish meanwhile."""
        policy = self._policy
        async for attempt in patient(policy.retry_initial, policy.retry_max, tell=self._round_failed):
            with attempt:
                await crashing(self.reconcile_once)

    def _round_failed(self, error: BaseException, delay: float, attempt: int) -> None:
        error = cause_of(error)
        if not isinstance(error, StoreUnavailableError):
            message = f"a round failed {attempt} times, next try in {delay:.1f} s"
            self._observe(Trouble(where="reconcile", message=message, error=error))
        self._observe(Reconciled(seconds=0.0, wanted=0, invalid=0, changed=0, error=str(error)))

    async def _hear_agents(self) -> None:
        with self._hearing:
            await self._keep("replies", lambda: self._outbox.listen(self._router.deliver))

    async def _keep(self, where: str, work: Callable[[], Awaitable[None]]) -> NoReturn:
        def tell(error: BaseException, delay: float, attempt: int) -> None:
            error = cause_of(error)
            message = f"listening failed, try {attempt}, next in {delay:.1f} s: {error}"
            self._observe(Trouble(where=where, message=message, error=error))

        await keep_doing(
            lambda: crashing(work), initial=self._policy.retry_initial, longest=self._policy.retry_max, tell=tell
        )
