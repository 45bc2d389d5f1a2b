"""The simulated gateway: sessions, people and faults behind one real port, and its death and return.

`simulated_gateway()` is the way to have one. The object is more than the server process that it plays: logins, chats
and the ledger live in it and survive `restart`, `go_down` and `come_back`, as they do on disk, on phones and in
people's memory, while the process's own memory (states, connections, uptime) is lost. It must be used in the event loop
(asyncio) that made it. It deliberately does not judge what it sees; that is the business of who reads the ledger.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from wa_supervisor.simulator.faults import Fault, FaultBook
from wa_supervisor.simulator.feed import Feed
from wa_supervisor.simulator.ledger import Ledger, Written
from wa_supervisor.simulator.messages import Message
from wa_supervisor.simulator.people import Person
from wa_supervisor.simulator.server import ServerProcess
from wa_supervisor.simulator.session import SimulatedSession
from wa_supervisor.simulator.timings import FAST, Manners, Timings
from wa_supervisor.simulator.world import Nowhere, NumberFate, World

_FIRST_OWN_NUMBER = 5511910000000
"""Sessions' own phone numbers count up from here."""

_LONGEST_STOP = 5.0
"""Seconds after which leaving the gateway stops waiting for its connections; they take milliseconds."""


class SimulatedGateway:
    """One wppconnect-server, with everybody who writes to it."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        secret: str,
        timings: Timings,
        manners: Manners,
        background: TaskGroup,
    ) -> None:
        self.world = World(timings=timings, manners=manners)
        self.secret = secret
        """What generate-token wants; see `change_secret`."""
        self.faults = FaultBook()
        self.auth_places = anyio.CapacityLimiter(manners.auth_cores)
        self.background = background
        self._host = host
        self._port = port
        self._sessions: dict[str, SimulatedSession] = {}
        self._process: ServerProcess | None = None

    def __repr__(self) -> str:
        state = "up" if self._process else "down"
        return f"<SimulatedGateway {self.url} {state} sessions={len(self._sessions)}>"

    @property
    def url(self) -> str:
        """`http://host:port`, the same for life."""
        return f"http://{self._host}:{self._port}"

    @property
    def ledger(self) -> Ledger:
        """What people sent and received, and what was asked of the gateway."""
        return self.world.ledger

    @property
    def is_up(self) -> bool:
        """Whether the port answers."""
        return self._process is not None

    @property
    def sessions(self) -> dict[str, SimulatedSession]:
        """Every session that was ever mentioned, by name."""
        return self._sessions

    def session(self, name: str) -> SimulatedSession:
        """The session of that name; one that was never mentioned has a stored login and was never started."""
        found = self._sessions.get(name)
        if found is None:
            own_id = f"{_FIRST_OWN_NUMBER + len(self._sessions)}@c.us"
            found = self._sessions[name] = SimulatedSession(name, own_id, self.world)
        return found

    # People

    def person(
        self,
        person_id: str,
        *,
        name: str = "Contact",
        phone: str | None = None,
        listed_as: str | None = None,
        wids_as_objects: bool = False,
    ) -> Person:
        """Somebody who can write. `phone`: what WhatsApp knows behind a lid. `listed_as`: HTTP answers name the
        person's chats by this id instead."""
        self.world.names[person_id] = name
        if phone is not None:
            self.world.phones[person_id] = phone
        if listed_as is not None:
            self.world.listed_as[person_id] = listed_as
        return Person(id=person_id, name=name, home=self, phone=phone, wids_as_objects=wids_as_objects)

    def owner_writes(self, session: str, chat: str, text: str) -> Written:
        """The account's owner writes to a chat on the phone; the gateway shows it as an own message."""
        found, world = self.session(session), self.world
        seq = world.next_seq()
        device = found.own_id.replace("@", ":66@")
        in_group = chat.endswith("@g.us")
        message = Message(
            seq=seq,
            stanza=world.stanza(seq),
            chat=chat,
            sender=device if in_group else found.own_id,
            name=session,
            own=found.own_id,
            from_me=True,
            kind="chat",
            text=text,
            t=int(world.wall_clock()),
            author=device if in_group else "",
            extra={"author": device},
        )
        return found.page.arrives(message)

    def number_is(self, number: str, fate: NumberFate | Literal["fine"]) -> None:
        """What look-ups say about a phone number (digits): it is `missing`, or exists and is `denied`, or `fine`."""
        if fate == "fine":
            self.world.numbers.pop(number, None)
        else:
            self.world.numbers[number] = fate

    # Misfortune

    def script(self, *faults: Fault) -> None:
        """Put faults in force, from the next call on."""
        for fault in faults:
            self.faults.add(fault)

    def mend(self) -> None:
        """Take back every fault; what was scripted on sessions stays."""
        self.faults.clear()

    def change_secret(self, secret: str) -> None:
        """The administrator has changed the secret: no token is valid any more."""
        self.secret = secret

    def age(self, seconds: float) -> None:
        """Let the server process have been up for so much longer, so that the next restart is seen by its uptime."""
        self.world.booted_at -= seconds

    def emit(self, event: str, payload: object) -> bool:
        """Emit any event as it is; whether a client was there."""
        return self.world.feed.emit(event, payload)

    def cut_clients(self) -> None:
        """Cut the Socket.IO connections that run over a websocket, without stopping anything."""
        if self._process is not None:
            self._process.feed.cut()

    def lose_events(self, seconds: float = 0.0, *, times: int = 0, session: str | None = None) -> None:
        """Keep messages and emit none, nor their acks, for so long, and none of so many; of one session, or of all."""
        self.world.mute(session, seconds)
        self.world.lose(session, times)

    async def go_down(self) -> None:
        """The server process is killed: every connection is cut, the port refuses."""
        process, self._process = self._process, None
        if process is None:
            return
        self.world.generation += 1
        self.world.feed = Nowhere()
        for session in self._sessions.values():
            session.server_died()
        await process.kill()
        self.world.bell.ring()

    async def come_back(self, *, start_stored: bool | None = None) -> None:
        """The server process is started on the same port, and (by its manners) all stored logins with it.

        Raises `OSError` if the port is taken.
        """
        if self._process is not None:
            return
        world = self.world
        process = ServerProcess(self, Feed(timings=world.timings, manners=world.manners, ledger=world.ledger))
        try:
            self._port = await process.listen(self._host, self._port)
        except OSError:
            with anyio.move_on_after(_LONGEST_STOP, shield=True):
                await process.kill()
            raise
        self._process = process
        world.feed, world.booted_at = process.feed, time.monotonic()
        if world.manners.start_stored_at_boot if start_stored is None else start_stored:
            self.start_stored()
        world.bell.ring()

    async def restart(self, *, start_stored: bool | None = None) -> None:
        """`go_down` and `come_back`: sessions are CLOSED, logins kept, the uptime falls."""
        await self.go_down()
        await self.come_back(start_stored=start_stored)

    def start_stored(self) -> None:
        """What `start-all` does: start every session with a stored login that was ever started."""
        for session in self._sessions.values():
            if session.has_login and session.was_started:
                session.start({})

    async def until(self, holds: Callable[[SimulatedGateway], object]) -> None:
        """Return as soon as `holds(gateway)` is true. Bring a time limit (`anyio.fail_after`)."""
        await self.world.bell.until(lambda: holds(self))


@asynccontextmanager
async def simulated_gateway(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    secret: str = "THISISMYSECURETOKEN",  # noqa: S107 - the real server's published default
    timings: Timings = FAST,
    manners: Manners = Manners(),  # noqa: B008 - frozen
) -> AsyncIterator[SimulatedGateway]:
    """A running simulated gateway; down again when left. `port` 0 takes a free one and keeps it for life.

    What the block raises comes out as it is, without the exception group of the task group in here.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as background:
        gateway = SimulatedGateway(
            host=host, port=port, secret=secret, timings=timings, manners=manners, background=background
        )
        try:
            await gateway.come_back(start_stored=False)
            yield gateway
        except Exception as error:  # noqa: BLE001 - raised again below, outside the task group
            failure = error
        finally:
            background.cancel_scope.cancel()
            with anyio.move_on_after(_LONGEST_STOP, shield=True):
                await gateway.go_down()
    if failure is not None:
        raise failure


async def serve(
    host: str,
    port: int,
    secret: str,
    *,
    timings: Timings = FAST,
    manners: Manners = Manners(),  # noqa: B008 - frozen
    ready: Callable[[SimulatedGateway], None] | None = None,
) -> None:
    """Run a simulated gateway until cancelled, printing nothing; `ready` is called once it listens."""
    async with simulated_gateway(host=host, port=port, secret=secret, timings=timings, manners=manners) as gateway:
        if ready is not None:
            ready(gateway)
        await anyio.sleep_forever()
