"""People without PostgreSQL: two dictionaries with the hub's rules."""

from __future__ import annotations

from dataclasses import replace

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import AgentId, ChatId
from wa_supervisor.domain.people import Person, split_name


class FakePeople(Scripted):
    """Port `People`. The test may read and change what is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[ChatId, Person] = {}
        """What is stored of each WhatsApp user, without any agent's answer."""
        self.authorisations: dict[tuple[AgentId, ChatId], bool] = {}
        """The stored answers; nothing is stored where nobody decided."""
        self.phones_elsewhere: set[str] = set()
        """Numbers that users of other platforms have."""
        self.unknown_agents: set[AgentId] = set()
        """Agents that the hub does not know: nobody can be authorised for them."""
        self.asked: list[tuple[AgentId, ChatId]] = []
        """Who was looked up for which agent, in order; failed look-ups are not here."""

    async def get_or_create(self, agent_id: AgentId, sender: Sender) -> Person:
        """Find the person or make them known."""
        async with self._call("get_or_create"):
            self.asked.append((agent_id, sender.id))
            user = self._renamed(sender) if sender.id in self.users else self._new(agent_id, sender)
            self.users[sender.id] = user
            return replace(user, is_authenticated=self.authorisations.get((agent_id, sender.id), False))

    def _new(self, agent_id: AgentId, sender: Sender) -> Person:
        if sender.phone and sender.id.endswith("@c.us") and agent_id not in self.unknown_agents:
            self.authorisations[agent_id, sender.id] = True
        first, last = _names(sender)
        return Person(
            user_id=len(self.users) + 1,
            platform_user_id=sender.id,
            first_name=first,
            last_name=last,
            username=first or None,
            phone_number=None if sender.phone in self._phones() else sender.phone,
        )

    def _renamed(self, sender: Sender) -> Person:
        user = self.users[sender.id]
        first, last = _names(sender)
        if user.first_name or not first:
            return user
        return replace(user, first_name=first, last_name=last, username=user.username or first)

    def _phones(self) -> set[str | None]:
        return {user.phone_number for user in self.users.values()} | self.phones_elsewhere


def _names(sender: Sender) -> tuple[str, str | None]:
    return split_name(sender.name.replace("\x00", "").encode("utf-8", "replace").decode())
