"""What the engine needs from the outside, as small Protocols.

Each docstring says what a caller may rely on: order, duplicates, errors, and what cancelling does. Adapters turn every
exception of their library into ours (`wa_supervisor.domain.errors`); nothing else leaves a port. Every method may be
cancelled at any await without leaking a connection, and the next call works.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wa_supervisor.domain.chat_history import ChatRow, Found
from wa_supervisor.domain.dead_letters import DeadLetter
from wa_supervisor.domain.gateway import GatewayHealth, SessionAccess, SessionReport, StartOptions
from wa_supervisor.domain.history import Event
from wa_supervisor.domain.marks import Mark
from wa_supervisor.domain.message_ids import Identity
from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, IntegrationId, SessionName, StanzaId
from wa_supervisor.domain.people import Person
from wa_supervisor.domain.receipts import Receipt, SentMessage
from wa_supervisor.domain.replies import IncomingReply
from wa_supervisor.domain.sending import SendOutcome
from wa_supervisor.domain.status import CommandResult, DaemonStatus, LoginOffer, SessionStatus


class Wish(Protocol):
    """The hash of desired integrations."""

    async def read(self) -> Mapping[str, bytes]:
        """Give the whole hash, field -> record, as one snapshot.

        Raises `StoreUnavailableError` when it cannot be read; an empty mapping means that the hash is really empty.
        """

    async def watch(self, ring: Callable[[], None]) -> None:
        """Call `ring` whenever the hash may have changed, until cancelled; ring once when listening begins.

        Notifications may be lost, doubled or not allowed by the server: a ring only means "look again". Raises
        `StoreUnavailableError` when the connection is lost; the caller comes back.
        """


MayLeave = Callable[[], bool]
"""Asked at the last instant before a request leaves; no: it does not, and nothing was sent."""


def always() -> bool:
    """Let it leave."""
    return True


class Gateway(Protocol):
    """Calls to one wppconnect-server, for any of its sessions.

    Raises `GatewayUnreachableError` when the request certainly was not sent, `GatewayAnswerError` when the gateway did
    not answer (in time, readably, below 500), `WrongSecretError` and `TokenRefusedError` (after one fresh token).
    Nothing is repeated inside, except once after a refused token, where nothing had its effect.
    """

    @property
    def name(self) -> GatewayName:
        """The operator's name for it."""

    async def health(self) -> GatewayHealth:
        """Ask `healthz`: costs the gateway nothing, needs no token."""

    async def start(self, access: SessionAccess, options: StartOptions) -> None:
        """Start the session's browser. Answers at once with the state before; does nothing to a stuck session."""

    async def report(self, access: SessionAccess) -> SessionReport:
        """Ask `status-session`: a memory of the last event, not a fact."""

    async def is_connected(self, access: SessionAccess) -> bool:
        """Ask `check-connection-session`: looks at the page; still true over a dead WhatsApp socket."""

    async def close(self, access: SessionAccess) -> None:
        """Close the session's browser and keep its login. The 500 for a stuck session is success: it resets it."""

    async def send_text(
        self,
        access: SessionAccess,
        chat: ChatId,
        text: str,
        *,
        stanza: StanzaId | None = None,
        may_leave: MayLeave = always,
    ) -> SendOutcome:
        """Send one text. Expected refusals are outcomes: `Sent`, `NotSent`, `Unknown`.

        Connect errors and refused tokens come as `NotSent` too (nothing left), time-outs, broken connections and 5xx
        as `Unknown`; only cancellation leaves without an outcome. `stanza` names the message beforehand, so that it can
        be looked for; a gateway that lists the chat under another id answers 500 to that, and nothing was sent. When
        `may_leave` says no, just before the first byte of each try, it is `NotSent` with the reason `Superseded`.
        """

    async def chats(self, access: SessionAccess, *, count: int, start: ChatId | None = None) -> Sequence[ChatRow]:
        """Ask `list-chats` for one page: up to `count` chats of people and groups, the latest active first.

        Pinned chats may come before others. A page begins *with* the chat `start`; an id that the gateway does not know
        any more begins at the first chat. Rows that cannot be read are left out. Clears no unread marks.
        """

    async def messages(
        self, access: SessionAccess, chat: ChatId, *, count: int, after: str | None = None, before: str | None = None
    ) -> Sequence[Found]:
        """Ask `get-messages` for up to `count` messages of a chat, oldest first; clears no unread marks.

        `after` and `before` are serialised ids of messages as this chat's history spells them; without either it is the
        last ones. Every row is given, also those that are not for an agent. Raises `GatewayAnswerError` for a chat or a
        message that is not (any more) known there: the gateway then answers 401 "Error on open list".
        """

    async def number_exists(self, access: SessionAccess, chat: ChatId) -> bool:
        """Ask `check-number-status` about a chat that is a phone number. A no may be a failed look-up of its own."""

    async def set_typing(self, access: SessionAccess, chat: ChatId, on: bool) -> None:
        """Show or hide "typing" in a chat."""


class EventSink(Protocol):
    """Where a gateway's events go."""

    def connected(self) -> None:
        """Say that the connection stands: from now on nothing that the gateway reports is missed."""

    async def deliver(self, name: str, payload: object) -> None:
        """Take one event, decoded from JSON. Called one at a time, in order; waiting here is back-pressure."""


class GatewayEvents(Protocol):
    """The one Socket.IO connection of one gateway."""

    async def listen(self, sink: EventSink, names: frozenset[str]) -> None:
        """Connect, then deliver every event whose name is in `names` until the connection ends.

        Never returns normally: raises `FeedLostError` when the connection cannot be made or ends. Never reconnects by
        itself. Cancelling closes the connection.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """One message on its way to an agent."""

    agent_id: AgentId
    integration_id: IntegrationId
    identity: Identity
    chat: ChatId
    payload: bytes = field(repr=False)
    marks_typing: bool
    """Remember, in the same step, that "typing" is about to be shown in the chat."""
    mark: Mark | None = None
    """Up to where the chat is handled once this is done, to be remembered in the same step; `None`: as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """It is in the agent's stream."""

    entry: str
    listeners: int
    """How many heard it on the channel at once."""
    is_waiting: bool = False
    """Nobody listened, or older ones wait for that still: it is published, in order, when somebody does."""
    dropped: int = 0
    """Older messages of the agent that nobody had read, and that went because the stream is bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenBefore:
    """It had been handed over before; nothing was done but to remember its mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of the messages that wait for somebody to listen to one agent's channel."""

    agent_id: AgentId
    published: int
    """Published now, oldest first."""
    waiting: int
    """Still waiting."""
    too_old: int
    """Given up because they waited too long; they stay in the stream."""
    lost: int
    """Gone from the stream, which is bounded, before anybody listened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Up to where a session's chats were handled."""

    since: float
    """Seconds since the epoch from which on the session is ours; what is older was never for us."""
    by_chat: Mapping[ChatId, Mark]


class AgentInbox(Protocol):
    """The way to the agents."""

    async def hand_over(self, handover: HandOver) -> HandedOver | SeenBefore:
        """Seen-check, stream, channel, mark, and "this integration owns the chat", as one atomic step.

        May be repeated after a `StoreUnavailableError`: if the first try had its effect, the answer is `SeenBefore`.
        Published at once if somebody listens and nothing older waits; else it waits for `publish_waiting`, unless the
        agent reads the stream by a consumer group of its own.
        """

    async def publish_waiting(self) -> Sequence[Published]:
        """Publish what waits, in order, for those agents to whom somebody listens now; give what became of it.

        Only agents for whom something waited are given. Several daemons may do this at once: nothing is published twice
        by that. Raises `StoreUnavailableError`.
        """

    async def marks(self, gateway: GatewayName, session: SessionName, now: float) -> Marks:
        """Give the session's marks; if it was never seen before, it is ours from `now` (epoch) on.

        Raises `StoreUnavailableError`.
        """

    async def advance(self, gateway: GatewayName, session: SessionName, mark: Mark) -> None:
        """Remember a mark without handing anything over. Never goes back. Raises `StoreUnavailableError`."""

    async def forget_marks(self, gateway: GatewayName, session: SessionName, marks: Sequence[Mark]) -> None:
        """Forget these marks where they have not moved since. Raises `StoreUnavailableError`."""

    async def owner_of(self, agent_id: AgentId, chat: ChatId) -> IntegrationId | None:
        """Give the integration that last received a message from `chat` for this agent."""

    async def typing_left_on(self, integration_id: IntegrationId) -> Sequence[ChatId]:
        """Give the chats in which "typing" may still be shown, also by a daemon that died."""

    async def typing_ended(self, integration_id: IntegrationId, chat: ChatId) -> None:
        """Forget that "typing" may be shown in `chat`."""


class AgentOutbox(Protocol):
    """What the agents answer."""

    def follow(self, agents: frozenset[AgentId]) -> None:
        """Listen to exactly these agents from now on. Level, not edge: give the whole set at each change."""

    async def listen(self, deliver: Callable[[IncomingReply], Awaitable[None]]) -> None:
        """Deliver what the followed agents say on channel and stream, in each agent's order, until cancelled.

        Channel payloads come once and are kept by nobody. Stream entries come at least once until `settle`; one that
        was begun and never settled, by whichever daemon, comes with `begun`. Raises `StoreUnavailableError` when the
        connection is lost; the caller comes back.
        """

    async def begin(self, reply: IncomingReply, *, is_named: bool) -> MayLeave | None:
        """Record that a stream entry is about to be sent, so that a crash does not send it twice.

        Gives what to ask before it leaves: whether it certainly still is ours. `None`: it is not, another daemon took
        it over, and it must not be sent or settled here. `is_named`: whether the message is named beforehand. A reply
        from the channel may always leave. May be repeated, and then holds for as long again.
        """

    async def undo(self, reply: IncomingReply) -> None:
        """Take `begin` back: it certainly was not sent. No-op for channel payloads."""

    async def settle(self, reply: IncomingReply) -> None:
        """Say that the fate of a stream entry is known: sent or a dead letter. No-op for channel payloads."""

    async def pass_on(self, reply: IncomingReply, daemon: str) -> None:
        """Give a stream entry to another daemon, which finds it at its next look. No-op for channel payloads.

        Raises `StoreUnavailableError`; the entry then stays ours and comes again.
        """

    def give_back(self, reply: IncomingReply) -> None:
        """Return a stream entry whose fate will not be known here: it is delivered again while its agent is followed.

        One that was begun then comes with `begun`. No-op for channel payloads.
        """


class Receipts(Protocol):
    """The streams `agent:{id}:receipts`, and the messages that acks may still come for; bounded."""

    async def sent(self, message: SentMessage, receipt: Receipt, ack: int) -> None:
        """Remember a sent message by its stanza with the ack that it has, and tell the agent.

        Raises `StoreUnavailableError`; repeating tells nothing twice.
        """

    async def acked(self, gateway: GatewayName, stanza: StanzaId, ack: int, at: float) -> bool:
        """Tell the agent whose message this is, if it is remembered and the ack is news; say whether it is remembered.

        Several daemons may hear the same ack: it is told once. Raises `StoreUnavailableError`.
        """

    async def receipt_of(self, gateway: GatewayName, stanza: StanzaId) -> Receipt | None:
        """Give what was told first of a message that is remembered as sent for some reply.

        Raises `StoreUnavailableError`.
        """

    async def tell(self, receipt: Receipt) -> None:
        """Tell the agent something of a reply that was not sent. Raises `StoreUnavailableError`; may repeat it then."""


class DeadLetters(Protocol):
    """The stream of what could not be delivered; bounded."""

    async def bury(self, letter: DeadLetter) -> None:
        """Keep one letter. Raises `StoreUnavailableError`; repeating may keep it twice."""


class People(Protocol):
    """Users and their authorisations."""

    async def get_or_create(self, agent_id: AgentId, sender: Sender) -> Person:
        """Find the person or make them known, with the stored authorisation for this agent.

        A new person with a phone number is authorised at once; an existing one keeps the stored answer. Raises
        `StoreUnavailableError` when users cannot be looked up.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An operator's one-off wish."""

    id: str
    verb: str
    integration_id: IntegrationId | None
    """Whom it is for; `None` for a command to the daemon, such as `confirm`."""
    reason: str
    by: str = ""
    """Who gave it, if they said."""


class Commands(Protocol):
    """The stream of one-off commands, and what became of each."""

    async def answer(self, result: CommandResult) -> None:
        """Keep the answer where whoever gave the command looks for it, for some minutes. Idempotent.

        Raises `StoreUnavailableError`.
        """

    async def listen(self, take: Callable[[Command], None]) -> None:
        """Give every command from now on to `take`, in order, until cancelled. Raises `StoreUnavailableError`."""


class EventLog(Protocol):
    """The stream of events; bounded."""

    async def append(self, batch: int, events: Sequence[Event]) -> None:
        """Add events, in order, all or none. Raises `StoreUnavailableError`.

        `batch` grows by one with each batch of one run of the daemon: repeating a batch after an error adds nothing
        twice.
        """


class Leases(Protocol):
    """Which daemon runs which integration: one at a time, each change of hands with a higher fencing number."""

    async def hold(self, ids: Sequence[IntegrationId], ttl: float) -> Mapping[IntegrationId, Lease]:
        """Take the free ones and those whose daemon is known to be dead, renew ours; all for `ttl` seconds from now.

        Gives, for every id, the lease as it is then: ours, or somebody else's. Raises `StoreUnavailableError`, after
        which nothing is known. Idempotent.
        """

    async def release(self, ids: Sequence[IntegrationId]) -> None:
        """Give ours back; those of others stay. Raises `StoreUnavailableError`. Idempotent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who has an integration."""

    is_ours: bool
    holder: str
    """The daemon's name, for a person."""
    fence: int
    """Number that grows with every change of hands."""


class StatusBoard(Protocol):
    """Where operators, the hub and the next daemon read how things are."""

    async def publish(self, statuses: Sequence[SessionStatus], hub: Mapping[AgentId, Mapping[str, str]]) -> None:
        """Write these statuses and these agents' hub fields; others stay. Idempotent."""

    async def keep_only(self, ids: frozenset[IntegrationId], agents: frozenset[AgentId]) -> None:
        """Remove the statuses of integrations, and the hub fields written by us of agents, that are not given."""

    async def announce(self, daemon: DaemonStatus, ttl: float) -> None:
        """Say that this daemon is alive, for `ttl` seconds."""

    async def farewell(self, daemon_id: str) -> None:
        """Take the announcement back."""

    async def offer_login(self, integration_id: IntegrationId, offer: LoginOffer | None) -> None:
        """Show, or with `None` take back, what a person needs to log the session in; expires by itself."""
