"""What the engine tells its observers: frozen values, nothing else.

Status, metrics and logs are subscribers. Adding one never touches the engine; an observer must not block and must not
raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.status import Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMoved:
    """A session's life took a step."""

    integration: IntegrationId
    session: SessionName | None
    gateway: GatewayName | None
    transition: Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageHandedOver:
    """A message is in its agent's stream; `listeners` agents heard it on the channel."""

    integration: IntegrationId
    gateway: GatewayName
    listeners: int
    latency: float
    """Seconds from the event's arrival to the hand-over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateDropped:
    """A message that was handed over before came again."""

    integration: IntegrationId
    gateway: GatewayName


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLeftOut:
    """A payload was not for the agent."""

    gateway: GatewayName
    reason: str
    detail: str
    integration: IntegrationId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplySent:
    """The gateway took a reply."""

    integration: IntegrationId
    gateway: GatewayName
    latency: float
    """Seconds from the reply's arrival to the gateway's answer."""
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyDead:
    """A reply became a dead letter."""

    agent: AgentId
    integration: IntegrationId | None
    gateway: GatewayName | None
    reason: str
    is_unknown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventUnattributed:
    """A gateway event that names no session and no message of ours."""

    gateway: GatewayName
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayChanged:
    """A gateway's gate opened or closed, or its event connection came or went."""

    gateway: GatewayName
    what: str
    """`gate_opened`, `gate_closed`, `feed_connected`, `feed_lost`, or `feed_let_go` when too much waits for Redis."""
    message: str
    why: str = ""
    """Of a gate that closed, for a label: `unreachable`, `feed` or `sessions_failed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """One round of comparing the wish with what is there."""

    seconds: float
    wanted: int
    invalid: int
    changed: int
    error: str | None
    """Why the round could not be made, if it could not; what runs goes on with the last known wish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """A session's chats were compared with what was handled, and what was missed is handed over."""

    integration: IntegrationId
    gateway: GatewayName
    cause: str
    """Why it was behind: `connected` (adopted), `started` (its page is new), `reconnected` (the events), `doubt`,
    `overflow`, `failure` (of a hand-over), `store` (it began anew); `routine` if it was not."""
    seconds: float
    chats: int
    """Chats that were looked into."""
    recovered: int
    """Messages that were handed over by it."""
    too_old: int
    """Messages that were missed and are older than what is fetched again; they are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBehind:
    """Messages of a session may be missing from now on, until it has caught up."""

    integration: IntegrationId
    gateway: GatewayName
    cause: str
    """As of `CaughtUp`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesDropped:
    """Messages to an agent that nobody had heard or read, and that will not be published any more."""

    agent: AgentId
    count: int
    reason: str
    """`length`: the stream is bounded; `age`: they waited too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentWaiting:
    """How many messages wait for somebody to listen to an agent's channel; 0 when that is over."""

    agent: AgentId
    waiting: int
    published: int
    """Published now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeSettled:
    """A send of which nobody knew whether it had its effect, and what was found out."""

    integration: IntegrationId
    gateway: GatewayName
    found: str
    """`sent`, `not_sent` or `unknown`."""
    by: str
    """What told: `event`, `ack`, `history`, or `nothing`."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AckTold:
    """WhatsApp's ack for a message of ours, as it was told to its agent."""

    gateway: GatewayName
    fate: str
    """A `wa_supervisor.domain.receipts.Fate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something went wrong that no state shows. `where` is a constant; `message` is for a person."""

    where: str
    message: str
    error: BaseException | None = None
    integration: IntegrationId | None = None
    gateway: GatewayName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """Work that did not end within the deadline of a stop, by name."""

    integration: IntegrationId
    what: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswered:
    """An operator's command was accepted or refused."""

    integration: IntegrationId | None
    verb: str
    by: str
    is_accepted: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WishGuarded:
    """The wish lost so much at once that not all of it is followed; `held_back` is 0 when that is over."""

    stops_wanted: int
    held_back: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAnswered:
    """A gateway answered a poll or a probe."""

    gateway: GatewayName
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsDropped:
    """Events that could not be kept until Redis took them; the oldest went."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasesChanged:
    """How many of the wanted integrations this daemon holds the lease of."""

    held: int
    elsewhere: int


Observation = (
    SessionMoved
    | MessageHandedOver
    | DuplicateDropped
    | MessageLeftOut
    | ReplySent
    | ReplyDead
    | EventUnattributed
    | GatewayChanged
    | Reconciled
    | Trouble
    | Abandoned
    | CommandAnswered
    | WishGuarded
    | GatewayAnswered
    | EventsDropped
    | LeasesChanged
    | CaughtUp
    | FellBehind
    | MessagesDropped
    | AgentWaiting
    | OutcomeSettled
    | AckTold
)

Observer = Callable[[Observation], None]
