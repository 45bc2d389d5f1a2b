"""From an agent's reply to the session that owns the chat.

A reply names its session if the agent repeats the `session` that came with the message. Today's agents do not: an agent
with one session needs no choice, and with several the session that last received a message from the chat has it. A
reply that no session can take becomes a dead letter with its reason, at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from wa_supervisor.domain.names import AgentId, ChatId, IntegrationId
from wa_supervisor.domain.observations import Observer, Trouble
from wa_supervisor.domain.replies import BadReply, IncomingReply, NotOurs, Reply, read_reply
from wa_supervisor.engine.dead_letter_office import DeadLetterOffice, Death
from wa_supervisor.engine.ports import AgentInbox, AgentOutbox
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.session import Session

INTERRUPTED = Death(
    reason="Interrupted", message="a daemon or session ended while sending it: it may have been sent", is_unknown=True
)


class ReplyRouter:
    """Knows which sessions an agent has, and gives each reply to one."""

    def __init__(self, *, inbox: AgentInbox, outbox: AgentOutbox, office: DeadLetterOffice, observe: Observer) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._office = office
        self._observe = observe
        self._sessions: dict[AgentId, dict[IntegrationId, Session]] = {}

    def join(self, session: Session) -> None:
        """Take the agent's replies for `session` from now on."""
        self._sessions.setdefault(session.agent_id, {})[session.id] = session
        self._follow()

    def leave(self, session: Session) -> None:
        """Give `session` nothing more."""
        others = self._sessions.get(session.agent_id, {})
        if others.get(session.id) is session:
            del others[session.id]
            if not others:
                del self._sessions[session.agent_id]
            self._follow()

    async def deliver(self, incoming: IncomingReply) -> None:
        """Take one payload of an agent."""
        if incoming.begun_before:
            await self._office.bury(incoming, INTERRUPTED)
            return
        reply = read_reply(incoming)
        match reply:
            case Reply():
                await self._route(reply)
            case BadReply():
                await self._office.bury(incoming, Death(reason=reply.reason, message=reply.message))
            case NotOurs():
                await self._outbox.settle(incoming)

    async def _route(self, reply: Reply) -> None:
        found = await self._session_for(reply)
        if isinstance(found, Session):
            await found.take_reply(reply)
        else:
            await self._office.bury(reply.source, found, chat=reply.chat)

    async def _session_for(self, reply: Reply) -> Session | Death:
        sessions = self._sessions.get(reply.agent_id, {})
        if not sessions:
            return Death(reason="NoSession", message="the agent has no session that runs or is coming up")
        if reply.session is not None:
            return _named(reply.session, sessions.values())
        if len(sessions) == 1:
            return next(iter(sessions.values()))
        owner = await self._owner(reply.agent_id, reply.chat)
        if owner is None:
            return Death(
                reason="NoOwner", message='the agent has several sessions and none heard from this chat: give "session"'
            )
        return sessions.get(owner) or Death(
            reason="OwnerNotRunning", message=f"the chat belongs to {owner}, which is not running"
        )

    async def _owner(self, agent: AgentId, chat: ChatId) -> IntegrationId | None:
        async for attempt in patient(0.2, 2.0, tell=self._tell):
            with attempt:
                return await self._inbox.owner_of(agent, chat)
        raise AssertionError("patient retries for ever")

    def _follow(self) -> None:
        self._outbox.follow(frozenset(self._sessions))

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        if attempt == 1:
            message = f"a reply waits for Redis to say whose chat it is, next try in {delay:.1f} s: {error}"
            self._observe(Trouble(where="replies", message=message))


def _named(name: str, sessions: Iterable[Session]) -> Session | Death:
    for session in sessions:
        if name in {session.integration.session, session.id}:
            return session
    return Death(reason="NoSuchSession", message=f"the agent has no session {name[:80]!r} that runs or is coming up")
