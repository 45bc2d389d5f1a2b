"""How long things take in the simulated gateway, and which of the real one's manners it shows.

Two frozen values: `Timings` has every number of seconds, `Manners` everything else that can be set. They are read all
the time and never changed; a test that wants another number passes `dataclasses.replace(FAST, qr_give_up=0.1)`. What
changes while the gateway runs (a session stuck, an answer that fails) is scripted on sessions and faults, not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_BODY = 50 * 1024 * 1024
"""Bytes of the largest JSON body the real server takes (`limit: '50mb'`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds, each with the real server's value as default."""

    browser_start: float = 6.0
    """From start-session to the page being there: Chromium, then WhatsApp Web."""
    login: float = 2.0
    """From a scanned QR or an entered code to CONNECTED."""
    listeners_late_by: float = 0.3
    """After CONNECTED until the server listens to messages. What arrives in between it never emits."""
    chats_late_by: float = 3.0
    """After CONNECTED until what arrived while the session was away shows up in list-chats and get-messages."""
    qr_renewal: float = 20.0
    """A shown QR is replaced by another after this long."""
    qr_give_up: float = 60.0
    """A QR or pairing code that nobody used is given up after this long; the session is CLOSED, without an event."""
    ack_sent: float = 0.2
    """From the send to `onack` 1."""
    ack_delivered: float = 0.6
    """From the send to `onack` 2."""
    ack_read: float = 2.0
    """From the send to `onack` 3."""
    decrypt: float = 1.0
    """From a message's `ciphertext` form to its readable one."""
    auth: float = 0.05
    """One token check: bcrypt, on one of `Manners.auth_cores`."""
    logout: float = 0.5
    """The pause the server makes in logout-session before it answers."""
    page_timeout: float = 180.0
    """After this long a call into a hung page is answered with 500."""
    ping_interval: float = 25.0
    """Engine.IO ping."""
    ping_timeout: float = 20.0
    """Engine.IO ping time-out."""


REALISTIC = Timings()
"""What a user of the real server sees."""

FAST = Timings(
    browser_start=0.02,
    login=0.02,
    listeners_late_by=0.0,
    chats_late_by=0.0,
    qr_renewal=2.0,
    qr_give_up=6.0,
    ack_sent=0.002,
    ack_delivered=0.01,
    ack_read=0.02,
    decrypt=0.01,
    auth=0.0,
    logout=0.0,
    page_timeout=2.0,
)
"""For tests, the demo and benchmarks: the same order of events, nothing to wait for, no cost of authentication."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What the real server's administrator can set, and how much is remembered here."""

    socketio_path: str = "/socket.io/"
    """Where Socket.IO is served; another one when the server stands behind a proxy."""
    auth_cores: int = 2
    """How many token checks run side by side."""
    silent_with_content_type: frozenset[str] = field(default=frozenset({"check-connection-session", "healthz"}))
    """GET routes that never answer when the request carries a Content-Type."""
    wids_as_objects: bool = True
    """HTTP answers give `chatId` and `sender.id` as `{server, user, _serialized}`, where events give strings."""
    inline_media: bool = True
    """The server downloads media by itself and puts the whole file into `body` (`webhook.autoDownload`)."""
    start_stored_at_boot: bool = True
    """At its own boot the server starts every session that has a stored login, all at once."""
    version: str = "2.10.4"
    """What status-session reports."""
    ledger_limit: int = 500_000
    """Entries kept in each list of the ledger; older ones fall out, the counters keep counting."""
    unknown_anchor_is_empty: bool = False
    """get-messages before or after a message that is not in the chat: an empty list, not 401."""
    strict_anchors: bool = True
    """get-messages knows its `id` only as its own answers spell it; otherwise by the stanza alone."""
    refuses_names_of_listed: bool = False
    """A send with `options.messageId` ends in 500, with nothing sent, in chats that are listed under another id."""
    history_limit: int = 2_000
    """Messages kept for each chat."""
    chats_limit: int = 20_000
    """Chats kept for each session; the one that was silent longest falls out."""
