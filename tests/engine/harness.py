"""The whole engine on fakes: what an engine test needs to play a story in virtual time.

async with running(records("a", "b")) as house:
    await house.until_state("a", State.RUNNING)
    await house.events.emit("received-message", message("a-number", "hello"))
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from tests.fakes.board import FakeStatusBoard
from tests.fakes.commands import FakeCommands
from tests.fakes.dead_letters import FakeDeadLetters
from tests.fakes.gateway import FakeGateway
from tests.fakes.gateway_events import FakeGatewayEvents
from tests.fakes.inbox import FakeAgentInbox
from tests.fakes.leases import FakeLeases
from tests.fakes.outbox import FakeAgentOutbox
from tests.fakes.people import FakePeople
from tests.fakes.receipts import FakeReceipts
from tests.fakes.wish import FakeWish
from wa_supervisor.domain.integration import Defaults, Integration, read_integration
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.messages import InboundMessage, read_message
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId
from wa_supervisor.domain.observations import FellBehind, GatewayChanged, Observation
from wa_supervisor.domain.replies import IncomingReply, Reply, read_reply
from wa_supervisor.domain.status import SessionStatus
from wa_supervisor.engine.acks import Acks
from wa_supervisor.engine.backlog import Backlog
from wa_supervisor.engine.dead_letter_office import DeadLetterOffice
from wa_supervisor.engine.gap import Gap
from wa_supervisor.engine.gate import Gate
from wa_supervisor.engine.inbound import Inbound
from wa_supervisor.engine.line import Line
from wa_supervisor.engine.outbound import Outbound
from wa_supervisor.engine.people import CachedPeople, PeoplePolicy
from wa_supervisor.engine.policies import (
    GatePolicy,
    InboundPolicy,
    OutboundPolicy,
    SessionPolicy,
    SupervisorPolicy,
    TypingPolicy,
)
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.reply_router import ReplyRouter
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.session import Services
from wa_supervisor.engine.settling import Settling
from wa_supervisor.engine.situation import access_of
from wa_supervisor.engine.supervisor import Supervisor
from wa_supervisor.engine.tenancy import Tenancy
from wa_supervisor.engine.typing_indicator import TypingIndicator

MAIN = GatewayName("main")
LONGEST = 3600.0
"""Virtual seconds that a story may wait for one thing: a failure ends, and costs no real time."""

Told = TypeVar("Told", bound=Observation)
_stanzas = itertools.count(1)


@dataclass(kw_only=True)
class Policies:
    """The policies of a run; a test replaces those that it is about."""

    sessions: SessionPolicy = field(default_factory=SessionPolicy)
    gate: GatePolicy = field(default_factory=GatePolicy)
    inbound: InboundPolicy = field(default_factory=InboundPolicy)
    outbound: OutboundPolicy = field(default_factory=OutboundPolicy)
    typing: TypingPolicy = field(default_factory=TypingPolicy)
    people: PeoplePolicy = field(default_factory=PeoplePolicy)
    supervisor: SupervisorPolicy = field(default_factory=SupervisorPolicy)


class Witness:
    """Keeps everything that the engine tells, and can wait for it."""

    def __init__(self) -> None:
        self.told: list[Observation] = []
        self._changed = anyio.Event()

    def observe(self, observation: Observation) -> None:
        """Keep what the engine tells."""
        self.told.append(observation)
        self._touch()

    def all_told(self, kind: type[Told]) -> list[Told]:
        """Give everything of one kind that was told, oldest first."""
        return [each for each in self.told if isinstance(each, kind)]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()`; it is asked again whenever the engine told something or a status changed."""
        with anyio.fail_after(LONGEST):
            while not holds():
                await self._changed.wait()

    async def until_told(self, kind: type[Told], count: int = 1) -> list[Told]:
        """Wait until something of a kind was told `count` times."""
        await self.until(lambda: len(self.all_told(kind)) >= count)
        return self.all_told(kind)

    def _touch(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class House(Witness):
    """A supervisor among fakes, and everything that it told."""

    def __init__(
        self,
        wish: Mapping[str, bytes],
        policies: Policies,
        gateways: tuple[str, ...],
        *,
        leases: FakeLeases | None = None,
        gateway_of: Callable[[GatewayName], FakeGateway] = FakeGateway,
    ) -> None:
        super().__init__()
        self.policies = policies
        self.leases = leases
        self.clock_ahead = 0.0
        """Seconds by which somebody set the wall clock; see `wall`."""
        self.wish = FakeWish(wish)
        self.gateways = {GatewayName(name): gateway_of(GatewayName(name)) for name in gateways}
        self.feeds = {name: FakeGatewayEvents() for name in self.gateways}
        self.inbox = FakeAgentInbox()
        self.outbox = FakeAgentOutbox()
        self.receipts = FakeReceipts()
        self.backlog = Backlog(policies.inbound.queue_total)
        self.letters = FakeDeadLetters()
        self.board = FakeStatusBoard()
        self.commands = FakeCommands()
        self.people = FakePeople()
        self.rooms = {name: self.make_room(name) for name in self.gateways}
        self.supervisor = self._make_supervisor()
        self.supervisor.changed = lambda _: self._touch()

    @property
    def gateway(self) -> FakeGateway:
        """The first gateway."""
        return next(iter(self.gateways.values()))

    @property
    def events(self) -> FakeGatewayEvents:
        """The event connection of the first gateway."""
        return next(iter(self.feeds.values()))

    def connections(self, what: str) -> int:
        """Count how often something was told of a gateway's connection: `feed_connected`, `feed_lost`, ..."""
        return sum(told.what == what for told in self.all_told(GatewayChanged))

    def make_room(self, name: GatewayName, *, address: str = "") -> GatewayRoom:
        """Give a fresh room for a gateway."""
        return GatewayRoom(
            self.gateways[name],
            self.feeds[name],
            self.policies.gate,
            self.observe,
            address=address,
            receipts=self.receipts,
            backlog=self.backlog,
            wall=self.wall,
        )

    def wall(self) -> float:
        """Give the wall clock as it is set."""
        return wall() + self.clock_ahead

    def status(self, name: str) -> SessionStatus:
        """Give the status of an integration now."""
        return {status.id: status for status in self.supervisor.statuses()}[IntegrationId(name)]

    def states(self) -> dict[str, State]:
        """Give every integration's state now."""
        return {status.id: status.state for status in self.supervisor.statuses()}

    async def until_state(self, name: str, *states: State) -> SessionStatus:
        """Wait until an integration is in one of `states`."""
        await self.until(lambda: self.states().get(name) in states)
        return self.status(name)

    def _make_supervisor(self) -> Supervisor:
        policies = self.policies
        office = DeadLetterOffice(
            letters=self.letters, outbox=self.outbox, receipts=self.receipts, wall=wall, observe=self.observe
        )
        services = Services(
            inbox=self.inbox,
            outbox=self.outbox,
            receipts=self.receipts,
            backlog=self.backlog,
            office=office,
            people=CachedPeople(self.people, policies.people, self.observe),
            board=self.board,
            observe=self.observe,
            sessions=policies.sessions,
            inbound=policies.inbound,
            outbound=policies.outbound,
            typing=policies.typing,
        )
        return Supervisor(
            wish=self.wish,
            commands=self.commands,
            outbox=self.outbox,
            services=services,
            defaults=Defaults(gateways=frozenset(self.gateways), gateway=next(iter(self.gateways))),
            rooms=tuple(self.rooms.values()),
            policy=policies.supervisor,
            observe=self.observe,
            wall=self.wall,
            tenancy=self._make_tenancy(),
        )

    def _make_tenancy(self) -> Tenancy | None:
        if self.leases is None:
            return None
        return Tenancy(self.leases, policy=self.policies.supervisor, observe=self.observe)


def wall() -> float:
    """The wall clock of the tests: the engine's clock, somewhere in 2026."""
    return 1_790_000_000.0 + anyio.current_time()


@asynccontextmanager
async def running(
    wish: Mapping[str, bytes] | None = None,
    *,
    policies: Policies | None = None,
    gateways: tuple[str, ...] = ("main",),
    prepare: Callable[[House], None] = lambda _: None,
    leases: FakeLeases | None = None,
    gateway_of: Callable[[GatewayName], FakeGateway] = FakeGateway,
) -> AsyncIterator[House]:
    """Run the engine for the length of the block; `prepare` sets the fakes before it begins."""
    house = House(wish or {}, policies or Policies(), gateways, leases=leases, gateway_of=gateway_of)
    prepare(house)
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(LONGEST):
            await tasks.start(house.supervisor.run)
        yield house
        tasks.cancel_scope.cancel()


def record(name: str, *, agent: str | None = None, **more: object) -> bytes:
    """Give the record of integration `name`: session `{name}-number` of agent `agent-{name}` at the first gateway."""
    given: dict[str, object] = {"agent_id": agent or f"agent-{name}", "session": f"{name}-number", **more}
    return json.dumps(given).encode()


def records(*names: str) -> dict[str, bytes]:
    """Give plain records."""
    return {name: record(name) for name in names}


def message(session: str, text: str, *, chat: str = "5511900000077@c.us", stanza: str | None = None) -> object:
    """Give the payload of a `received-message` event."""
    stanza = stanza or f"3EB0{next(_stanzas):016X}"
    return {
        "response": {
            "id": f"false_{chat}_{stanza}",
            "type": "chat",
            "body": text,
            "content": text,
            "t": 1_790_000_000,
            "from": chat,
            "chatId": chat,
            "fromMe": False,
            "sender": {"id": chat, "pushname": "Anna Braga"},
            "session": session,
        }
    }


def reply(chat: str = "5511900000077@c.us", text: str = "hello back", **more: object) -> bytes:
    """Give an agent's reply."""
    return json.dumps({"chat_id": chat, "response": text, "channel": "whatsapp", **more}).encode()


def agent(name: str) -> AgentId:
    """Give the agent of integration `name`."""
    return AgentId(f"agent-{name}")


def integration(name: str = "a", *, agent: str | None = None, **more: object) -> Integration:
    """Give the integration that `record` is read as."""
    read = read_integration(name, record(name, agent=agent, **more), Defaults(gateways=frozenset({MAIN}), gateway=MAIN))
    assert isinstance(read, Integration)
    return read


def arrived(text: str, *, chat: str = "5511900000077@c.us", stanza: str | None = None) -> InboundMessage:
    """Give a message to session `a-number`, as the feed hands it on."""
    read = read_message(message("a-number", text, chat=chat, stanza=stanza), MAIN)
    assert isinstance(read, InboundMessage)
    return read


def said(text: str = "hello back", *, chat: str = "5511900000077@c.us", entry: str | None = None) -> Reply:
    """Give a reply of agent `agent-a`, as the router hands it on."""
    read = read_reply(IncomingReply(agent_id=agent("a"), payload=reply(chat, text), entry=entry))
    assert isinstance(read, Reply)
    return read


async def cancel_after(turns: int, work: Callable[[], Coroutine[object, object, object]]) -> None:
    """Run `work`, cancel it when every task had so many turns, and wait until it has ended.

    Time stands still during the turns: `work` gets no further than to what waits for time.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


class Carriage(Witness):
    """What one session carries, on fakes and without its life: it is connected as long as the test leaves it so."""

    def __init__(
        self,
        policies: Policies | None = None,
        *,
        gateway: FakeGateway | None = None,
        outbox: FakeAgentOutbox | None = None,
    ) -> None:
        super().__init__()
        self.policies = policies = policies or Policies()
        self.integration = integration("a")
        self.gateway = gateway or FakeGateway(MAIN)
        self.gateway.session("a-number").connect()
        self.gateway.writes("a-number", "5511900009999@c.us", "a chat from before", at=wall() - 86_400)
        self.inbox, self.outbox = FakeAgentInbox(), outbox or FakeAgentOutbox()
        self.letters, self.people, self.receipts = FakeDeadLetters(), FakePeople(), FakeReceipts()
        self.heard: list[IncomingReply] = []
        """What was delivered of what the agent said."""
        self.looks = self.proofs = self.silences = 0
        self.record = Record(self.integration, wall=wall, observe=self.observe, changed=lambda _: self._touch())
        self.connect()
        self.acks = Acks()
        self.office = DeadLetterOffice(
            letters=self.letters, outbox=self.outbox, receipts=self.receipts, wall=wall, observe=self.observe
        )
        self.gap = Gap("connected", tell_open=self._fell_behind)
        self.gap.close(self.gap.number)
        self.backlog = Backlog(policies.inbound.queue_total)
        self.line = Line(self.gateway, policies.sessions.call_timeout)
        self.gate = Gate(self.gateway, policies.gate, self.observe)
        self.typing = TypingIndicator(
            integration=self.integration.id,
            access=access_of(self.integration),
            gateway=self.gateway,
            inbox=self.inbox,
            serving=self.record.serving,
            policy=policies.typing,
            observe=self.observe,
        )
        self.inbound = Inbound(
            integration=self.integration,
            record=self.record,
            people=CachedPeople(self.people, policies.people, self.observe),
            inbox=self.inbox,
            typing=self.typing,
            gap=self.gap,
            backlog=self.backlog,
            policy=policies.inbound,
            observe=self.observe,
        )
        self.settling = Settling(
            integration=self.integration,
            record=self.record,
            gateway=self.line,
            gate=self.gate,
            acks=self.acks,
            receipts=self.receipts,
            policy=policies.outbound,
            settle=policies.inbound.settle,
            observe=self.observe,
        )
        self.outbound = Outbound(
            integration=self.integration,
            record=self.record,
            gateway=self.gateway,
            acks=self.acks,
            inbox=self.inbox,
            outbox=self.outbox,
            receipts=self.receipts,
            office=self.office,
            settling=self.settling,
            typing=self.typing,
            policy=policies.outbound,
            observe=self.observe,
            is_alive=self._prove,
            is_silent=self._doubt,
            look_again=self._look,
        )
        self.router = ReplyRouter(inbox=self.inbox, outbox=self.outbox, office=self.office, observe=self.observe)

    @property
    def id(self) -> IntegrationId:
        """Its integration, for the router."""
        return self.integration.id

    @property
    def agent_id(self) -> AgentId:
        """Whose session it is, for the router."""
        return self.integration.agent_id

    async def take_reply(self, reply: Reply) -> None:
        """Take what the router found to be for this session."""
        await self.outbound.take(reply)

    def connect(self) -> None:
        """Let replies be sent."""
        self.record.serving.turn(on=True)

    def disconnect(self) -> None:
        """Let replies wait."""
        self.record.serving.turn(on=False)

    async def run(self) -> None:
        """Carry, and hear what the agent says, until cancelled."""
        self.router.join(self)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.typing.run)
            tasks.start_soon(self.inbound.run)
            tasks.start_soon(self.outbound.run)
            tasks.start_soon(self.outbox.listen, self._deliver)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Carry for the length of the block, which ends in a time-out if it waits in vain."""
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(10 * LONGEST):
                tasks.start_soon(self.run)
                await self.outbox.until(lambda: self.outbox.listening("listen") > 0)
                yield
            tasks.cancel_scope.cancel()

    async def _deliver(self, incoming: IncomingReply) -> None:
        self.heard.append(incoming)
        await self.router.deliver(incoming)

    def _prove(self) -> None:
        self.proofs += 1

    def _fell_behind(self, cause: str) -> None:
        self.observe(FellBehind(integration=self.integration.id, gateway=MAIN, cause=cause))

    def _doubt(self, _sent_at: float) -> None:
        self.silences += 1
        self._touch()

    def _look(self) -> None:
        self.looks += 1
        self._touch()
