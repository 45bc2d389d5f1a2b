"""From an agent's reply to the session that owns the chat.

A reply names its session if the agent repeats the `session` that came with the message. Today's agents do not: an agent
with one session needs no choice, and with several the session that last received a message from the chat has it. A
reply that no session can take becomes a dead letter with its reason, at once.

With several daemons an agent's sessions may run at different ones, and every daemon hears what the agent says on the
channel. Then the chat's owner decides which daemon acts: the others leave a channel reply alone, and pass a stream
entry on.

What it does not do: keep anything. A stream reply that is cut off on its way comes again; one from the channel, which
nobody else keeps, becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import anyio

from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.observations import Observer, Trouble
from wa_supervisor.domain.replies import BadReply, IncomingReply, Reply, read_reply
from wa_supervisor.engine.dead_letter_office import RECORD_TIMEOUT, DeadLetterOffice, Death
from wa_supervisor.engine.ports import AgentInbox, AgentOutbox
from wa_supervisor.engine.retrying import patient

ASK_INITIAL = 0.2
"""Seconds: upper bound of the first delay before Redis is asked again whose chat it is."""

ASK_LONGEST = 2.0
"""Seconds: cap of that delay; the replies of all agents wait meanwhile."""

ASK_FOR = 10.0
"""Seconds after which a reply whose chat's owner cannot be learned becomes a dead letter: one key that Redis refuses
must not hold up every agent."""

MAY_BE = "a daemon or session ended while sending it, so it may have been sent"

INTERRUPTED = Death(reason="Interrupted", message=MAY_BE, is_unknown=True)
STOPPED = Death(reason="Stopped", message="the daemon stopped, or lost Redis, before it was known whose chat it is")
NO_SESSION = Death(reason="NoSession", message="the agent has no session that runs or is coming up")
NO_OWNER = Death(
    reason="NoOwner",
    message='the agent has several sessions and none heard from this chat: give an integration\'s id as "session"',
)
OWNER_NOT_TOLD = Death(reason="OwnerUnknown", message="Redis did not say which of the agent's sessions has the chat")


class Taker(Protocol):
    """A session, as the router sees it."""

    @property
    def id(self) -> IntegrationId:
        """Its integration."""

    @property
    def agent_id(self) -> AgentId:
        """Whose replies it takes."""

    @property
    def integration(self) -> Integration:
        """The record that it follows now."""

    async def take_reply(self, reply: Reply) -> None:
        """Take a reply. Its fate is the session's business as soon as this is called."""


Elsewhere = Callable[[AgentId], Mapping[IntegrationId, str]]


def nowhere(_: AgentId) -> Mapping[IntegrationId, str]:
    """Say that there is no other daemon."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elsewhere:
    """The session that is meant runs at another daemon."""

    daemon: str


class ReplyRouter:
    """Knows which sessions an agent has, and gives each reply to one."""

    def __init__(
        self,
        *,
        inbox: AgentInbox,
        outbox: AgentOutbox,
        office: DeadLetterOffice,
        observe: Observer,
        elsewhere: Elsewhere = nowhere,
    ) -> None:
        """`elsewhere` gives an agent's integrations that other daemons run, each with the name of its daemon."""
        self._elsewhere = elsewhere
        self._inbox = inbox
        self._outbox = outbox
        self._office = office
        self._observe = observe
        self._sessions: dict[AgentId, dict[IntegrationId, Taker]] = {}

    def __repr__(self) -> str:
        return f"<ReplyRouter {sum(map(len, self._sessions.values()))} sessions of {len(self._sessions)} agents>"

    def join(self, session: Taker) -> None:
        """Take the agent's replies for `session` from now on."""
        self._sessions.setdefault(session.agent_id, {})[session.id] = session
        self._follow()

    def leave(self, session: Taker) -> None:
        """Give `session` nothing more."""
        others = self._sessions.get(session.agent_id, {})
        if others.get(session.id) is session:
            del others[session.id]
            if not others:
                del self._sessions[session.agent_id]
            self._follow()

    async def deliver(self, incoming: IncomingReply) -> None:
        """Take one payload of an agent. Raises `StoreUnavailableError`; it may then come again."""
        reply = read_reply(incoming)
        if isinstance(reply, Reply):
            await self._route(reply)
        elif isinstance(reply, BadReply):
            await self._office.bury(incoming, Death(reason=reply.reason, message=reply.message))
        else:
            await self._outbox.settle(incoming)

    async def _route(self, reply: Reply) -> None:
        try:
            found = await self._session_for(reply)
        except anyio.get_cancelled_exc_class():
            if reply.source.entry is None:
                with anyio.move_on_after(RECORD_TIMEOUT, shield=True):
                    await self._office.bury(reply.source, STOPPED, reply=reply)
            raise
        if isinstance(found, _Elsewhere):
            await self._outbox.pass_on(reply.source, found.daemon)
        elif isinstance(found, Death):
            # One that was begun may have been sent, and no session is there that could find out.
            found = found if reply.source.begun is None else replace(INTERRUPTED, message=f"{found.message}; {MAY_BE}")
            await self._office.bury(reply.source, found, reply=reply)
        else:
            await found.take_reply(reply)

    async def _session_for(self, reply: Reply) -> Taker | Death | _Elsewhere:
        sessions = self._sessions.get(reply.agent_id, {})
        others = self._elsewhere(reply.agent_id)
        if not sessions and not others:
            return NO_SESSION
        candidates = _named(reply.session, sessions) if reply.session else list(sessions)
        if reply.session in others and not candidates:
            return _Elsewhere(daemon=others[IntegrationId(reply.session or "")])
        if not candidates and not others:
            message = f"the agent has no session {reply.session!r:.80} that runs or is coming up"
            return Death(reason="NoSuchSession", message=message)
        if len(candidates) == 1 and (reply.session or not others):
            return sessions[candidates[0]]
        ask = patient(ASK_INITIAL, ASK_LONGEST, tell=self._tell)
        with anyio.move_on_after(ASK_FOR):
            owner: IntegrationId | None = await ask(self._inbox.owner_of, reply.agent_id, reply.chat)
            if owner is not None and owner in others:
                return _Elsewhere(daemon=others[owner])
            return self._of_owner(owner, reply.agent_id, candidates)
        return OWNER_NOT_TOLD

    def _of_owner(self, owner: IntegrationId | None, agent: AgentId, candidates: list[IntegrationId]) -> Taker | Death:
        if owner is None:
            return NO_OWNER
        session = self._sessions.get(agent, {}).get(owner) if owner in candidates else None
        if session is None:
            message = f"the chat belongs to {owner}, which is not running or not the session that was asked for"
            return Death(reason="OwnerNotRunning", message=message)
        return session

    def _follow(self) -> None:
        self._outbox.follow(frozenset(self._sessions))

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        if attempt == 1:
            message = f"a reply waits for Redis to say whose chat it is, next try in {delay:.1f} s: {error}"
            self._observe(Trouble(where="replies", message=message, error=error))


def _named(name: str, sessions: Mapping[IntegrationId, Taker]) -> list[IntegrationId]:
    """Give those that are meant: by the session's name, which several gateways may have, or else by integration."""
    by_session = [key for key, session in sessions.items() if session.integration.session == name]
    return by_session or [key for key in sessions if key == name]
