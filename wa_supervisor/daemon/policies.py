"""From settings to the engine's policies: the engine has no numbers of its own, and does not know the configuration."""

from __future__ import annotations

from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.config import GatewaySettings, Settings
from wa_supervisor.domain.integration import Defaults
from wa_supervisor.domain.names import GatewayName, SessionName
from wa_supervisor.embedded import EmbeddedPolicy
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
        budget=given.budget,
        budget_half_life=given.budget_half_life,
        quarantine_probe=given.quarantine_probe,
        suspect_at=given.suspect_at,
        certain_at=given.certain_at,
        silent_send=settings.outbound.ack_timeout,
    )


def gate_policy(gateway: GatewaySettings) -> GatePolicy:
    """How one gateway is spared."""
    return GatePolicy(
        starts_at_once=gateway.starts_at_once,
        start_interval=gateway.start_interval,
        probe_interval=gateway.probe_interval,
        reconnect_initial=gateway.reconnect_initial,
        reconnect_max=gateway.reconnect_max,
        admissions=gateway.admissions,
        failing_share=gateway.failing_share,
        failing_window=gateway.failing_window,
        hold_initial=gateway.hold_initial,
        hold_max=gateway.hold_max,
        flapping_half_life=gateway.flapping_half_life,
        poll_share=gateway.poll_share,
    )


def inbound_policy(settings: Settings) -> InboundPolicy:
    """How messages go to the agents."""
    given = settings.inbound
    return InboundPolicy(
        queue_per_session=given.queue_per_session,
        queue_total=given.queue_total,
        horizon=given.catch_up_horizon,
        settle=given.catch_up_settle,
        routine=given.catch_up_routine,
    )


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
        min_gap=given.min_gap,
        jitter=given.jitter,
        per_minute=given.per_minute,
        checks_numbers=given.check_numbers,
        typing_speed=given.typing_speed,
        names_messages=given.name_messages,
        settle_quiet=given.settle_quiet,
        settle_longest=given.settle_longest,
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
        shrink_share=settings.wish.shrink_share,
        shrink_least=settings.wish.shrink_least,
        lease_ttl=settings.daemon.lease_ttl,
        events_kept=settings.events.buffer,
        drain_timeout=deadline * FINISHING,
        cancel_timeout=deadline * CLEANING_UP,
    )


def redis_policy(settings: Settings) -> RedisPolicy:
    """How Redis is spoken to, and how much is kept there for how long."""
    return RedisPolicy(
        connect_timeout=settings.redis.connect_timeout,
        command_timeout=settings.redis.command_timeout,
        seen_ttl=settings.inbound.seen_ttl,
        owner_ttl=settings.inbound.owner_ttl,
        hub_ttl=settings.status.ttl,
        unheard_longest=settings.inbound.unheard_longest,
        stream_maxlen=settings.inbound.stream_maxlen,
        receipts_maxlen=settings.outbound.receipts_maxlen,
        dead_maxlen=settings.dead_letters.maxlen,
        events_maxlen=settings.events.maxlen,
        sweep=settings.outbound.sweep,
        claim_after=settings.outbound.claim_after,
    )


def postgres_policy(settings: Settings) -> PostgresPolicy:
    """How PostgreSQL is spoken to."""
    return PostgresPolicy(connections=settings.postgres.pool_size, timeout=settings.postgres.timeout)


def defaults_of(settings: Settings) -> Defaults:
    """What an integration's record may leave out."""
    return Defaults(
        gateways=frozenset(GatewayName(name) for name in settings.gateways),
        gateway=settings.default_gateway,
        session=SessionName(settings.wish.default_session) if settings.wish.default_session else None,
    )


FINISHING, CLEANING_UP, LAST_WORDS = 0.7, 0.2, 0.1
"""Shares of `daemon.shutdown_timeout`: for what is in flight, for what is cancelled then, and for the last words, which
are statuses in the first half of that and events in the second."""

LISTENING = 5.0
"""Seconds for the admin server to begin to listen on a loopback address, which takes no waiting at all."""

CLOSING = 10.0
"""Seconds for closing connections after that: gateways have 3, PostgreSQL and the admin server 2, Redis 1."""

LEAVING = 5.0
"""Seconds that the last resort takes after that to say what kept the process: the service manager must not be first."""


def last_words(settings: Settings) -> float:
    """Give the seconds in which a daemon that stops must write its last statuses and events."""
    return settings.daemon.shutdown_timeout * LAST_WORDS


def longest_end(settings: Settings) -> float:
    """Give the seconds in which a daemon that was told to stop has ended."""
    private = EmbeddedPolicy()
    servers = private.stop_seconds + 2 * private.kill_seconds if settings.embedded.enabled else 0.0
    giving_back = settings.daemon.shutdown_timeout * CLEANING_UP  # leases, at a Redis that does not answer
    return settings.daemon.shutdown_timeout + giving_back + CLOSING + servers


def longest_hurry(settings: Settings) -> float:
    """Give the seconds in which a daemon that was told twice to stop has ended: it cleans up and finishes nothing."""
    return longest_end(settings) - settings.daemon.shutdown_timeout


def longest_embedded_start() -> float:
    """Give the seconds that private servers may take to answer, a new cluster included."""
    private = EmbeddedPolicy()
    return private.tool_seconds + private.start_seconds


def longest_round(settings: Settings) -> float:
    """Give the seconds without any end of a round, good or bad, after which the reconcile loop is stuck.

    Twice what a round may take with a Redis that answers nobody: the wait for it, jittered by a fifth, the commands
    before it on the same connection, its own, and the pause after a failure.
    """
    policy = supervisor_policy(settings)
    asking = settings.redis.connect_timeout + settings.redis.command_timeout
    return 2 * (1.2 * policy.resync + policy.debounce + 2 * asking + policy.retry_max)
