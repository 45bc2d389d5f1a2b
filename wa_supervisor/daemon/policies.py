"""From settings to the engine's policies: the engine has no numbers of its own, and does not know the configuration."""

from __future__ import annotations

from wa_supervisor.config import GatewaySettings, Settings
from wa_supervisor.domain.integration import Defaults
from wa_supervisor.domain.names import GatewayName, SessionName
from wa_supervisor.engine.people import PeoplePolicy
from wa_supervisor.engine.policies import (
    GatePolicy,
    InboundPolicy,
    OutboundPolicy,
    SessionPolicy,
    SupervisorPolicy,
    TypingPolicy,
)


def session_policy(settings: Settings) -> SessionPolicy:
    """How sessions are brought up and watched."""
    given = settings.sessions
    return SessionPolicy(
        poll_starting=given.poll_starting,
        poll_connected=given.poll_connected,
        alive_evidence=given.alive_evidence,
        start_timeout=given.start_timeout,
        login_rounds=given.login_rounds,
        healthy_after=given.healthy_after,
        backoff_initial=given.backoff_initial,
        backoff_max=given.backoff_max,
    )


def gate_policy(gateway: GatewaySettings) -> GatePolicy:
    """How one gateway is spared."""
    return GatePolicy(
        starts_at_once=gateway.starts_at_once,
        start_interval=gateway.start_interval,
        probe_interval=gateway.probe_interval,
        reconnect_initial=gateway.reconnect_initial,
        reconnect_max=gateway.reconnect_max,
    )


def inbound_policy(settings: Settings) -> InboundPolicy:
    """How messages go to the agents."""
    return InboundPolicy(queue_per_session=settings.inbound.queue_per_session)


def outbound_policy(settings: Settings) -> OutboundPolicy:
    """How replies go to the people."""
    given = settings.outbound
    return OutboundPolicy(
        in_flight_per_session=given.in_flight_per_session,
        queue_per_session=given.queue_per_session,
        ack_timeout=given.ack_timeout,
        attempts=given.attempts,
        backoff_initial=given.backoff_initial,
        backoff_max=given.backoff_max,
        hold_longest=given.hold_longest,
    )


def typing_policy(settings: Settings) -> TypingPolicy:
    """How "typing" is shown."""
    given = settings.typing
    return TypingPolicy(enabled=given.enabled, refresh=given.refresh, longest=given.longest)


def people_policy(settings: Settings) -> PeoplePolicy:
    """How people are remembered."""
    return PeoplePolicy(remember=settings.people.cache_ttl, size=settings.people.cache_size)


def supervisor_policy(settings: Settings) -> SupervisorPolicy:
    """How often the whole is looked at, and how it ends."""
    deadline = settings.daemon.shutdown_timeout
    return SupervisorPolicy(
        resync=settings.wish.resync,
        debounce=settings.wish.debounce,
        status_refresh=settings.status.refresh,
        status_ttl=settings.status.ttl,
        drain_timeout=deadline * 0.7,  # the rest is for cancelled work to clean up, and for the last status
    )


def defaults_of(settings: Settings) -> Defaults:
    """What an integration's record may leave out."""
    return Defaults(
        gateways=frozenset(GatewayName(name) for name in settings.gateways),
        gateway=settings.default_gateway,
        session=SessionName(settings.wish.default_session) if settings.wish.default_session else None,
    )


LAST_WORDS = 3.0
"""Seconds for writing the last statuses of a daemon that stops."""
