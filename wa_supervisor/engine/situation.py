"""What the steps of a session's life share: whose it is, where it runs, what proves it alive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from wa_supervisor.domain.errors import (
    GatewayAnswerError,
    GatewayAwayError,
    HungError,
    LeakedCancellationError,
    WaSupervisorError,
)
from wa_supervisor.domain.gateway import SessionAccess, SessionReport, StartOptions
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.observations import Observer, Trouble
from wa_supervisor.domain.status import LoginOffer
from wa_supervisor.engine.gate import Gate
from wa_supervisor.engine.line import Line
from wa_supervisor.engine.policies import SessionPolicy
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.retrying import is_being_cancelled
from wa_supervisor.engine.switch import Bell
from wa_supervisor.engine.vitals import Vitals

DOUBTS = 3
"""Looks in a row that must go wrong before a session counts as failed: a page may be offline for a moment."""


@dataclass(slots=True, kw_only=True)
class Situation:
    """One session at its gateway. `integration` may be replaced by a newer record of the same session."""

    integration: Integration
    record: Record
    gateway: Line
    gate: Gate
    policy: SessionPolicy
    put_login_up: Callable[[LoginOffer | None], Awaitable[None]]
    observe: Observer
    lost_touch: Callable[[str], None] = lambda _: None
    """Told, with a cause, when messages may have been missed before what comes next."""
    bell: Bell = field(default_factory=Bell)
    """Rung when somebody knows that a look at the gateway is worth it now."""
    vitals: Vitals = field(default_factory=Vitals)
    """Its signs of life since it was last connected."""
    login_code: LoginOffer | None = None
    """The pairing code on offer: it comes as an event, no poll gives it."""
    stuck_starts: int = 0
    """Starts in a row that ended stuck."""
    was_connected: bool = False
    """Whether it ever was, so that a login that is asked for now was lost."""
    is_in_doubt: bool = False
    """Whether it is watched closely because something speaks against it."""

    @property
    def access(self) -> SessionAccess:
        """What every call for this session needs."""
        return access_of(self.integration)

    @property
    def start_options(self) -> StartOptions:
        """The full settings, which a start replaces at the gateway."""
        return StartOptions(phone=self.integration.phone, proxy=self.integration.proxy)

    async def poll(self, *, is_urgent: bool = False) -> SessionReport:
        """Ask the gateway about the session, in turn with the other polls of that gateway; an urgent one before others.

        Raises `GatewayAwayError`, and asks nothing, if the gate was closed before the turn came.
        """
        async with self.gate.pacer.turn(is_urgent=is_urgent):
            self._check_gate()
            return await self.ask()

    async def ask(self) -> SessionReport:
        """Ask the gateway about the session, at once, and let the gate know whether it was answered."""
        try:
            report = await self.gateway.report(self.access)
        except (GatewayAnswerError, HungError):
            self.gate.report_look(self.integration.id, was_answered=False)
            raise
        self.gate.report_look(self.integration.id, was_answered=True)
        return report

    async def poll_page(self, *, is_urgent: bool = False) -> bool:
        """Have the gateway look at the session's page, in turn. Raises `GatewayAwayError` too."""
        async with self.gate.pacer.turn(is_urgent=is_urgent):
            self._check_gate()
            return await self.gateway.is_connected(self.access)

    def _check_gate(self) -> None:
        if self.gate.was_refused:
            raise GatewayAwayError(f"gateway {self.gate.name} is away: {self.gate.reason}")

    def prove_alive(self) -> None:
        """Take a message or an ack as proof of life."""
        self.vitals.proof()
        if self.is_in_doubt:
            self.bell.ring()

    def doubt_send(self, sent_at: float) -> None:
        """Take that WhatsApp did not acknowledge a message; one from before it was last connected says nothing now."""
        if sent_at >= self.vitals.since:
            self.vitals.silent_send()
            self.bell.ring()

    @property
    def is_proved_alive(self) -> bool:
        """Whether traffic proved it alive so lately that a poll would tell nothing new."""
        return anyio.current_time() - self.vitals.last_proof < self.policy.alive_evidence

    async def show_login(self, offer: LoginOffer | None) -> None:
        """Show, or with `None` take back, what a person needs to log the session in."""
        await self.in_time("login", "the login cannot be shown", lambda: self.put_login_up(offer))

    async def in_time(self, where: str, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do what is only for people, in Redis: in time or not at all, and told if not."""
        error: BaseException | None = None
        with anyio.move_on_after(self.policy.store_timeout) as limit:
            try:
                await work()
            except WaSupervisorError as failure:
                error = failure
            except anyio.get_cancelled_exc_class() as failure:  # noqa: ASYNC103  # ours is raised as it is
                if is_being_cancelled():
                    raise
                error = LeakedCancellationError("a cancellation that nobody gave")
                error.__cause__ = failure
        if limit.cancelled_caught:
            error = TimeoutError(f"not within {self.policy.store_timeout:g} s")
        if error is not None:
            self.observe(Trouble(where=where, message=f"{what}: {error}", integration=self.integration.id))


def access_of(integration: Integration) -> SessionAccess:
    """Give what every call for the integration's session needs."""
    return SessionAccess(session=integration.session, token=integration.token)
