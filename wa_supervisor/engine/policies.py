"""Every number of the engine, in values whose fields say unit and reason.

The daemon fills them from the configuration, tests as they need; nothing in the engine has a number of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """How a session is brought up, watched and brought back."""

    poll_starting: float = 2.0
    """Seconds between status polls while it starts: the gateway has no event for most of what can go wrong."""
    poll_connected: float = 45.0
    """Seconds between polls of a connected session: each costs the gateway about 50 ms of bcrypt."""
    alive_evidence: float = 60.0
    """Seconds for which a message or an ack proves it alive, so that no poll is needed."""
    start_timeout: float = 90.0
    """Seconds that a browser may take to start before it counts as stuck."""
    login_rounds: int = 10
    """How often a login is offered (about a minute each) before only the operator can start it again."""
    healthy_after: float = 300.0
    """Seconds of running after which earlier failures are forgiven."""
    backoff_initial: float = 1.0
    """Seconds: upper bound of the first, fully jittered, delay."""
    backoff_max: float = 300.0
    """Seconds: cap of the delay. A passing cause is retried for ever."""
    budget: float = 5.0
    """Failures, each halved after every half-life, beyond which a session that fails for unknown causes is
    quarantined."""
    budget_half_life: float = 600.0
    """Seconds after which a failure weighs half."""
    quarantine_probe: float = 1800.0
    """Seconds, jittered by a fifth, between tries of a session that is quarantined for unknown causes."""
    suspect_at: float = 0.5
    """Sureness (0 to 1) that a session is a zombie from which on nothing is sent through it."""
    certain_at: float = 0.9
    """Sureness from which on it is closed and started anew."""
    silent_send: float = 30.0
    """Seconds without WhatsApp's ack after which a taken message speaks against its session."""
    call_timeout: float = 200.0
    """Seconds after which a call to the gateway that should have ended itself counts as hung: longer than any limit
    of the gateway or the transport."""
    store_timeout: float = 30.0
    """Seconds that a session's life waits for Redis before it goes on without: what it writes there is for people."""
    close_timeout: float = 30.0
    """Seconds that closing a session at its gateway may take when it is removed; a hung page answers after 180."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """How a gateway is spared."""

    starts_at_once: int = 2
    """Browsers that may start at the same time: each takes a core for seconds."""
    start_interval: float = 0.5
    """Seconds between two starts."""
    probe_interval: float = 5.1
    """Seconds, jittered by a hundredth, between probes of a gateway that is down: one for all its sessions."""
    admissions: float = 20.0
    """Sessions a second that come back when the gateway does, those first that waited longest."""
    failing_share: float = 0.5
    """Share of the gateway's sessions that must fail within the window to blame the gateway and not them."""
    failing_least: int = 3
    """Sessions that must fail for that at least."""
    failing_window: float = 30.0
    """Seconds in which they must fail."""
    hold_initial: float = 10.0
    """Seconds for which the gate stays closed when the gateway, though it answers, fails its sessions, or flaps."""
    hold_max: float = 300.0
    """Seconds: cap of that, which doubles each time."""
    flapping_half_life: float = 600.0
    """Seconds after which a closure of the gate counts half."""
    poll_share: float = 0.25
    """Share of the gateway's time that polls may take: they slow down as its answers do."""
    catch_up_share: float = 0.5
    """Share of the gateway's time that fetching what was missed may take: people wait for it."""
    catch_ups_at_once: int = 6
    """Sessions that fetch what they missed at the same time: better some are done soon than all late."""
    reconnect_initial: float = 1.0
    """Seconds: upper bound of the first, fully jittered, delay before the event connection is made again."""
    reconnect_max: float = 30.0
    """Seconds: cap of that delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPolicy:
    """How messages go to the agents."""

    queue_per_session: int = 1000
    """Messages of one session that may wait for hand-over; what comes beyond is left to catching up."""
    queue_total: int = 20_000
    """Messages of all sessions that may wait; when as many do, the gateways' event connections are let go, and made
    again when half of them are handed over."""
    retry_initial: float = 0.2
    """Seconds: upper bound of the first delay before a hand-over is tried again."""
    retry_max: float = 5.0
    """Seconds: cap of that delay. A hand-over is tried until it succeeds."""
    horizon: float = 86_400.0
    """Seconds: how old a missed message may be that is still fetched, and how long one may wait in memory. Less than
    what was handed over is remembered for, so that nothing is handed over twice."""
    settle: float = 5.0
    """Seconds after a connection at which is looked a second time: chats may take seconds to load."""
    routine: float = 900.0
    """Seconds, jittered by a fifth, between looks for missed messages without any cause: a gateway may lose one by
    itself."""
    page: int = 50
    """Chats or messages asked for at once."""
    undecrypted: float = 3600.0
    """Seconds for which a message that could not be decrypted yet keeps its chat's mark before it."""
    publish_every: float = 1.0
    """Seconds between looks whether somebody listens to agents for whom messages wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundPolicy:
    """How replies go to the people."""

    in_flight_per_session: int = 4
    """Sends of one session at the same time; one chat never has two."""
    queue_per_session: int = 1000
    """Replies of one session that may wait; what comes beyond becomes a dead letter."""
    ack_timeout: float = 30.0
    """Seconds to wait for WhatsApp's ack when the gateway's answer has none."""
    attempts: int = 5
    """Tries of a send that certainly had no effect."""
    backoff_initial: float = 0.5
    """Seconds: upper bound of the first delay between tries."""
    backoff_max: float = 30.0
    """Seconds: cap of that delay."""
    hold_longest: float = 3600.0
    """Seconds that a reply waits for its session to be connected before it becomes a dead letter."""
    min_gap: float = 0.25
    """Seconds at least between two sends of one session: people who send like machines are banned."""
    jitter: float = 0.25
    """Seconds, drawn anew each time, by which that is longer at most."""
    per_minute: int = 60
    """Sends of one session within a minute."""
    checks_numbers: bool = True
    """Whether a number that never wrote is looked up before the first message to it."""
    typing_speed: float = 0.0
    """Characters a second at which "typing" is shown before a reply is sent; 0: it is sent at once."""
    typing_longest: float = 8.0
    """Seconds of that at most."""
    names_messages: bool = True
    """Whether messages are named beforehand, so that one whose outcome is unknown can be found exactly."""
    settle_quiet: float = 200.0
    """Seconds after a send without an answer until it certainly will not have its effect any more: a hung page of the
    gateway ends after 180."""
    settle_failed: float = 3.0
    """Seconds after an answer that says it failed until it is looked whether it did: the chat may show it late."""
    settle_longest: float = 1800.0
    """Seconds after which a send that cannot be settled becomes a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingPolicy:
    """How "typing" is shown until the reply."""

    enabled: bool = True
    refresh: float = 10.0
    """Seconds between refreshes: WhatsApp drops the indicator after about 25, and each costs the gateway 50 ms."""
    longest: float = 60.0
    """Seconds after which it ends without a reply."""
    off_timeout: float = 2.0
    """Seconds that switching it off may take when everything else is being cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorPolicy:
    """How often the whole is looked at."""

    resync: float = 30.0
    """Seconds, jittered by a fifth, between comparisons of the whole wish without a notification."""
    debounce: float = 0.05
    """Seconds to gather a burst of notifications into one comparison."""
    status_refresh: float = 15.0
    """Seconds between confirmations of every status; at most a third of `status_ttl`."""
    status_ttl: float = 60.0
    """Seconds after which an unconfirmed status is shown as Unknown."""
    retry_initial: float = 0.5
    """Seconds: upper bound of the first delay before a lost store is tried again."""
    retry_max: float = 5.0
    """Seconds: cap of that delay."""
    shrink_share: float = 0.25
    """Share of the running sessions that a wish may stop without the operator's word when it shrinks at once."""
    shrink_least: int = 3
    """Sessions that it may always stop."""
    shrink_look: float = 2.0
    """Seconds after which a wish that shrank beyond the share is read again before anything is stopped."""
    lease_ttl: float = 15.0
    """Seconds after which another daemon may take over what a silent one ran; renewed three times as often."""
    events_kept: int = 10_000
    """Events that wait for Redis while it is away; the oldest go first."""
    drain_timeout: float = 20.0
    """Seconds that what is in flight has to finish before it is cancelled."""
    close_tries: int = 5
    """Failed tries to close the browser of a removed session before it is said that it may still be open."""
    close_look: float = 5.0
    """Seconds between looks whether a gateway that is away is back, so that a removed session can be closed."""
    cancel_timeout: float = 5.0
    """Seconds that cancelled work has to clean up before it is named and abandoned."""
