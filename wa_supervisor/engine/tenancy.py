"""Which of the wanted integrations this daemon may run: its leases, kept as long as it lives.

`Tenancy` lives as long as the daemon. It is told the whole set of what is wanted, asks for what is new at once, and
renews everything three times within the leases' ttl. What it learns it keeps until it learns otherwise: while Redis is
away our leases stay ours, and are confirmed or found lost on return. If it is away for all, nobody else can take them;
if for us alone, another daemon may, and what we run meanwhile cannot hand a message over. A daemon that stood still for
longer than the ttl finds out at its next renewal, which is then overdue.

A lease that was lost is told and not fought over: it comes back when its holder gives it back or falls silent. One that
ran out and that nobody had since is ours as before; under a higher number it was somebody else's in between, which is
told too.

It deliberately does not start, stop or know any session.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import NoReturn

import anyio

from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.observations import LeasesChanged, Observer, Trouble
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.ports import Lease, Leases
from wa_supervisor.engine.retrying import insist, keep_doing
from wa_supervisor.engine.switch import Bell

RENEWALS = 3
"""Renewals within a ttl: one may fail and the next still comes in time."""


class Tenancy:
    """The leases of one daemon."""

    def __init__(self, leases: Leases, *, policy: SupervisorPolicy, observe: Observer) -> None:
        self.on_change: Callable[[IntegrationId], None] = _tell_nobody
        """Called when a lease that is followed became ours, was lost, or changed hands in any other way."""
        self._leases = leases
        self._policy = policy
        self._observe = observe
        self._followed: frozenset[IntegrationId] = frozenset()
        self._known: dict[IntegrationId, Lease] = {}
        self._sure_until: dict[IntegrationId, float] = {}
        """By the engine's clock, until when nobody else can have taken what is ours."""
        self._leaving: set[IntegrationId] = set()
        """No longer followed, and not yet given back."""
        self._bell = Bell()
        self._turn = anyio.Lock()
        """One call at a time: what is given back must not be taken by a call that began before."""
        self._renew_at = -math.inf
        self._failing: type[BaseException] | None = None
        self._counted = LeasesChanged(held=0, elsewhere=0)

    def __repr__(self) -> str:
        now = self._count()
        unknown = len(self._followed) - len(self._known)
        return f"<Tenancy {now.held} held, {now.elsewhere} elsewhere, {unknown} not known yet>"

    def follow(self, ids: frozenset[IntegrationId]) -> None:
        """Want the leases of exactly these from now on. Level, not edge: give the whole set at each change."""
        if ids != self._followed:
            self._drop(self._followed - ids)
            self._leaving -= ids
            self._followed = ids
            self._bell.ring()

    def lease(self, name: IntegrationId) -> Lease | None:
        """Give the lease as last seen; `None` while nothing is known, or when it is not followed."""
        return self._known.get(name)

    @property
    def has_neighbours(self) -> bool:
        """Whether other daemons run some of what is followed."""
        return self._counted.elsewhere > 0

    def is_surely_ours(self, name: IntegrationId) -> bool:
        """Whether nobody else can have it now: a process that was stopped, or cut off from Redis, cannot know."""
        lease = self._known.get(name)
        return lease is not None and lease.is_ours and anyio.current_time() < self._sure_until.get(name, -math.inf)

    async def run(self) -> NoReturn:
        """Take, renew and give back until cancelled."""
        await keep_doing(
            self._look_for_ever, initial=self._policy.retry_initial, longest=self._policy.retry_max, tell=self._failed
        )

    async def give_back(self, ids: Collection[IntegrationId] | None) -> None:
        """Give these back, or all (`None`); they are not asked for again until `follow` names them again.

        Takes at most `SupervisorPolicy.cancel_timeout` seconds, also while everything is being cancelled; raises
        nothing. What could not be given back is told, and ends with its ttl.
        """
        names = self._followed if ids is None else frozenset(ids)
        self._drop(names)
        errors: list[BaseException] = []
        limit = self._policy.cancel_timeout
        with anyio.move_on_after(limit, shield=True):
            await insist(self._let_go_in_turn, limit=limit, tell=lambda error, _delay, _attempt: errors.append(error))
        if left := names & self._leaving:
            self._tell_left(len(left), errors[-1] if errors else None)

    async def _look_for_ever(self) -> NoReturn:
        while True:
            async with self._turn:
                await self._look()
                await self._let_go()
            self._succeeded()
            await self._bell.wait_for(self._renew_at - anyio.current_time())

    async def _look(self) -> None:
        """Ask for everything if that is due, else for what is new."""
        began = anyio.current_time()
        is_due = began >= self._renew_at
        asked = self._followed if is_due else self._followed - self._known.keys()
        if asked:
            leases = await self._leases.hold(sorted(asked), self._policy.lease_ttl)
            self._sure_until.update(dict.fromkeys(leases, began + self._policy.lease_ttl))
            self._learn(leases)
        if is_due:
            self._renew_at = began + self._policy.lease_ttl / RENEWALS

    def _learn(self, leases: Mapping[IntegrationId, Lease]) -> None:
        for name, lease in leases.items():
            before = self._known.get(name)
            if name in self._followed and lease != before:  # meanwhile it may no longer be wanted
                self._known[name] = lease
                if before is not None and before.is_ours:
                    self._tell_loss(name, lease)
                self.on_change(name)
        self._tell_counts()

    async def _let_go_in_turn(self) -> None:
        async with self._turn:
            await self._let_go()

    async def _let_go(self) -> None:
        if leaving := frozenset(self._leaving):
            await self._leases.release(sorted(leaving))
            self._leaving -= leaving

    def _drop(self, names: frozenset[IntegrationId]) -> None:
        self._followed -= names
        self._leaving |= names
        for name in names:
            self._known.pop(name, None)
            self._sure_until.pop(name, None)
        self._tell_counts()

    def _failed(self, error: BaseException, delay: float, attempt: int) -> None:
        del delay, attempt
        self._renew_at = -math.inf  # nothing is known any more until everything was asked for again
        if self._failing is not type(error):
            self._failing = type(error)
            message = (
                f"Leases cannot be renewed: {error}. What runs here goes on; another daemon may take over what is not "
                f"renewed for {self._policy.lease_ttl:g} s."
            )
            self._observe(Trouble(where="leases_away", message=message, error=error))

    def _succeeded(self) -> None:
        if self._failing is not None:
            self._failing = None
            self._observe(Trouble(where="leases_back", message="Leases are renewed again."))

    def _tell_loss(self, name: IntegrationId, lease: Lease) -> None:
        where, message = "lease_lapsed", "Its lease ran out and was taken again; another daemon had it in between."
        if not lease.is_ours:
            why = f"as happens when a daemon does not renew it for {self._policy.lease_ttl:g} s"
            where, message = "lease_lost", f"Its lease was lost, {why}. Who has it now: {lease.holder}."
        self._observe(Trouble(where=where, message=message, integration=name))

    def _tell_left(self, count: int, error: BaseException | None) -> None:
        why = "Redis did not answer in time" if error is None else str(error)
        message = f"{count} leases could not be given back ({why}); they end within {self._policy.lease_ttl:g} s."
        self._observe(Trouble(where="leases_left", message=message, error=error))

    def _tell_counts(self) -> None:
        before, self._counted = self._counted, self._count()
        if self._counted != before:
            self._observe(self._counted)

    def _count(self) -> LeasesChanged:
        held = sum(lease.is_ours for lease in self._known.values())
        return LeasesChanged(held=held, elsewhere=len(self._known) - held)


def _tell_nobody(name: IntegrationId) -> None:
    """Stand in until somebody wants to know."""
