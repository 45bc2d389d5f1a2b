"""Every number of this package, in one value whose fields say unit and reason.

The daemon fills it from the configuration, tests as they need; the modules have no numbers of their own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPolicy:
    """How the server is spoken to, and how much is kept there for how long."""

    connect_timeout: float = 5.0
    """Seconds to wait for a connection, with its login: outlasts one lost packet and its repetition."""
    command_timeout: float = 5.0
    """Seconds to wait for the answer to a command, beyond the time that it blocks on purpose."""
    close_timeout: float = 1.0
    """Seconds that closing a connection may take, also while everything is being cancelled."""
    ping_interval: float = 10.0
    """Seconds between pings on a connection that listens: a dead one is noticed within two of them."""
    block: float = 5.0
    """Seconds that a reading of commands blocks before it asks again, which also shows that the server is there."""
    batch: int = 500
    """Most commands written at once, and most keys in one: a few milliseconds of the server's time."""

    seen_ttl: float = 259_200.0
    """Seconds for which a handed-over message is remembered: longer than an outage after which it is fetched again."""
    owner_ttl: float = 2_592_000.0
    """Seconds for which it is remembered which integration a chat wrote to last: agents take up old conversations."""
    typing_ttl: float = 86_400.0
    """Seconds for which marks of "typing" are kept; WhatsApp itself drops the sign after half a minute."""
    sent_ttl: float = 259_200.0
    """Seconds for which a sent message is remembered, so that its acks find the agent: people read within days."""
    unheard_longest: float = 86_400.0
    """Seconds that a message waits for somebody to listen to its agent's channel; it stays in the stream."""
    login_ttl: float = 60.0
    """Seconds for which a QR or pairing code is shown: WhatsApp renews a QR sooner, and it must not lie about."""
    hub_ttl: float = 60.0
    """Seconds after which the hub's fields vanish when nobody confirms them: its daemon is gone."""

    answer_ttl: float = 600.0
    """Seconds for which the answer to a command is kept: whoever gave it looks at once, or a few minutes later."""
    batch_ttl: float = 86_400.0
    """Seconds for which it is remembered which events were added: longer than a batch is repeated in vain."""

    stream_maxlen: int = 10_000
    """About how many messages an agent's input stream keeps: 10 MB at 1 KB a message."""
    replies_maxlen: int = 10_000
    """How many replies an agent's output stream keeps before those whose fate is known are trimmed."""
    receipts_maxlen: int = 10_000
    """About how many receipts of one agent are kept: some thousand replies'."""
    dead_maxlen: int = 10_000
    """About how many dead letters are kept: more than anybody reads one by one."""
    events_maxlen: int = 10_000
    """About how many events are kept: days of a quiet installation."""
    commands_maxlen: int = 1_000
    """About how many one-off commands are kept: more than a hand gives in a day."""

    sweep: float = 1.0
    """Seconds between looks at all output streams, for agents that add to the stream without ringing the channel."""
    tidy: float = 15.0
    """Seconds between looks for replies that a dead daemon left, and for streams that are too long."""
    claim_after: float = 60.0
    """Seconds that a reply of a daemon that is no longer announced must have been idle before it is taken over."""
