"""Every number of the conversation with PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresPolicy:
    """How many connections, and how long anything may take."""

    connections: int = 4
    """Most connections: people come from a cache nearly always, and four answer thousands of look-ups a second."""
    prepares: bool = True
    """Whether statements are prepared: a look-up then costs the server a third. Given up by itself where it fails, so
    `False` is only for a PgBouncer before 1.21 in transaction mode that other programs with psycopg share."""
    timeout: float = 5.0
    """Seconds for a whole call, waiting for a connection and repetitions included: a message waits for it."""
    silence: float = 30.0
    """Seconds without traffic after which the kernel asks whether the server is still there, so that a connection cut
    without a word is found before a message needs it."""
    cleanup: float = 2.0
    """Seconds that giving a connection back or closing the pool may take when everything else is being cancelled."""
