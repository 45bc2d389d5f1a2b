"""Every key and channel name, in one place.

Names of ours begin with a prefix (`wa`), so that several installations can share a server. Names that agents and the
hub know have none. All names are bytes, as they go over the wire; a text that is no UTF-8 (a lone surrogate from some
gateway's JSON) gets a name all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, IntegrationId, SessionName, StanzaId


def to_bytes(text: str) -> bytes:
    """Encode any text."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """Decode any bytes; what is no UTF-8 becomes the replacement character."""
    return data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The names under one prefix."""

    prefix: str = "wa"

    @property
    def integrations(self) -> bytes:
        """Hash: integration id -> record, the wish."""
        return self._own("integrations")

    @property
    def status(self) -> bytes:
        """Hash: integration id -> status as JSON."""
        return self._own("status")

    @property
    def bell(self) -> bytes:
        """Channel that rings when our command line has written the wish."""
        return self._own("bell")

    @property
    def commands(self) -> bytes:
        """Stream of one-off commands."""
        return self._own("commands")

    @property
    def events(self) -> bytes:
        """Stream of events, the history."""
        return self._own("events")

    @property
    def dead(self) -> bytes:
        """Stream of dead letters."""
        return self._own("dead")

    @property
    def last_leases(self) -> bytes:
        """Hash: key of a lease -> the text that it had last, also after it ran out."""
        return self._own("leases")

    @property
    def fence(self) -> bytes:
        """Counter: the highest fencing number of a lease so far."""
        return self._own("fence")

    @property
    def daemons(self) -> bytes:
        """Set of the ids of daemons that announced themselves, so that nobody has to scan for them."""
        return self._own("daemons")

    @property
    def hub_agents(self) -> bytes:
        """Set of the agents whose hub fields we wrote."""
        return self._own("hub-agents")

    def daemon(self, daemon_id: str) -> bytes:
        """Text with a ttl: a daemon is alive."""
        return self._own("daemon", daemon_id)

    def answer(self, command: str) -> bytes:
        """Text with a ttl: what became of a command, as JSON."""
        return self._own("answer", command)

    def batch(self, run: str) -> bytes:
        """Text with a ttl: number of the last batch of events that one run of a daemon has added."""
        return self._own("batch", run)

    def seen(self, identity: str) -> bytes:
        """Text with a ttl: a message was handed over; the value is its stream entry."""
        return self._own("seen", identity)

    def marks(self, gateway: GatewayName, session: SessionName) -> bytes:
        """Hash: chat -> "time id" of the last message up to which nothing is missing."""
        return self._own("marks", gateway, session)

    def since(self, gateway: GatewayName, session: SessionName) -> bytes:
        """Text: seconds since the epoch from which on a session is ours."""
        return self._own("since", gateway, session)

    @property
    def agents_away(self) -> bytes:
        """Set of the agents for whom messages wait until somebody listens."""
        return self._own("unheard")

    def unheard(self, agent_id: AgentId) -> bytes:
        """Hash: `first` entry that waits until somebody listens, and `count` of them."""
        return self._own("unheard", agent_id)

    def sent(self, gateway: GatewayName, stanza: StanzaId) -> bytes:
        """Hash with a ttl: a message that was sent for a reply: `ack` that was told, `receipt`, `stream`."""
        return self._own("sent", gateway, stanza)

    def owner(self, agent_id: AgentId, chat: ChatId) -> bytes:
        """Text with a ttl: the integration that last received a message from a chat."""
        return self._own("chat", agent_id, chat)

    def typing(self, integration_id: IntegrationId) -> bytes:
        """Set with a ttl: chats in which "typing" may be shown."""
        return self._own("typing", integration_id)

    def lease(self, integration_id: IntegrationId) -> bytes:
        """Text with a ttl: which process runs an integration, as JSON."""
        return self._own("lease", integration_id)

    def login(self, integration_id: IntegrationId) -> bytes:
        """Text with a ttl: the QR or pairing code on offer, as JSON."""
        return self._own("login", integration_id)

    def sending(self, agent_id: AgentId) -> bytes:
        """Hash: entry of the output stream -> JSON: that it was about to be sent, when and by whom."""
        return self._own("sending", agent_id)

    def _own(self, *parts: str) -> bytes:
        return to_bytes(":".join((self.prefix, *parts)))


def agent_input(agent_id: AgentId) -> bytes:
    """Stream and channel: messages to an agent."""
    return to_bytes(f"agent:{agent_id}:input")


def agent_output(agent_id: AgentId) -> bytes:
    """Stream and channel: replies of an agent."""
    return to_bytes(f"agent:{agent_id}:output")


def agent_receipts(agent_id: AgentId) -> bytes:
    """Stream: what became of an agent's replies."""
    return to_bytes(f"agent:{agent_id}:receipts")


def hub_status(agent_id: AgentId) -> bytes:
    """Hash with a ttl: an agent's WhatsApp status in the hub's words."""
    return to_bytes(f"integration_status:{agent_id}:whatsapp")


def keyspace_channel(database: int, key: bytes) -> bytes:
    """Channel on which the server says that a key changed, where it is told to."""
    return b"__keyspace@%d__:%b" % (database, key)
