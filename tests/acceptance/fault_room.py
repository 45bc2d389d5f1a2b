"""A daemon over two gateways, one of which will fall ill, and the correspondence that must not notice.

`fault_room` starts everything, yields when the sessions run, and at the end looks for harm to those that the fault was
not meant for: through every session that is not `affected` somebody has written numbered messages all the time, each
must have reached the agent once, each answer the person once and in order, and the session must not have taken a single
step since it came up. Nothing may have reached anybody twice, nobody may have been logged out.

Sessions `i0`, `i1`, `i2` live at gateway `ill`, `w0` and `w1` at gateway `well`; each has an agent of its own.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import cast

import anyio
import msgspec
import redis

from tests.acceptance.harness import LOOK, PATIENCE, Daemon, Settings, command, daemon, declare, record, write_config
from tests.acceptance.stream_agent import StreamAgent
from wa_supervisor.domain.status import SessionStatus, Transition
from wa_supervisor.simulator import FAST, SimulatedGateway, Timings, simulated_gateway
from wa_supervisor.simulator.agent import EchoAgent, echo

AT_ILL = ("i0", "i1", "i2")
AT_WELL = ("w0", "w1")
EVERYBODY = (*AT_ILL, *AT_WELL)

PACE = 0.2
"""Seconds between two messages of one person."""

SETTINGS: Settings = {
    "gateways": {
        "probe_interval": 0.5,
        "reconnect_initial": 0.1,
        "reconnect_max": 0.5,
        "request_timeout": 1.0,
        "hold_initial": 1.0,
        "hold_max": 4.0,
    },
    "sessions": {
        "start_timeout": 5.0,
        "login_rounds": 2,
        "backoff_max": 1.0,
    },
    "outbound": {"ack_timeout": 1.0, "backoff_initial": 0.1, "backoff_max": 0.5},
    "redis": {"connect_timeout": 1.0, "command_timeout": 2.0},
    "wish": {"resync": 1.0},
}
"""Over `harness.QUICK`: outages of seconds instead of minutes."""

Step = tuple[str, str]
"""State and reason that a session came to."""


class Correspondence:
    """Somebody who writes numbered messages to one session, and what he gets back."""

    def __init__(self, gateway: SimulatedGateway, name: str, person: str) -> None:
        self.name = name
        self.session = f"{name}-number"
        self.written: list[str] = []
        self._gateway = gateway
        self._person = gateway.person(person, name=f"Friend of {name}")

    @property
    def answers(self) -> list[str]:
        """What the person received, in order."""
        return self._gateway.ledger.texts_received(self.session, self._person.id)

    def write(self, text: str) -> None:
        """Write one message."""
        self.written.append(text)
        self._person.writes(self.session, text)

    async def go_on(self) -> None:
        """Write until cancelled."""
        for number in itertools.count(len(self.written)):
            self.write(f"{self.name} says {number}")
            await anyio.sleep(PACE)  # people take their time; nothing waits for it


@dataclass(kw_only=True)
class Room:
    """What a test of a fault has in its hands."""

    ill: SimulatedGateway
    well: SimulatedGateway
    daemon: Daemon
    redis_url: str
    heard: Counter[str]
    """Texts that the agent heard."""
    others: Sequence[Correspondence]
    """With those whom the fault must not touch."""
    came_up: Mapping[str, Sequence[Transition]] = field(default_factory=dict)
    writing: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def config(self) -> Path:
        """The daemon's configuration file."""
        return self.daemon.config

    def gateway_of(self, name: str) -> SimulatedGateway:
        """Where a session lives."""
        return self.ill if name in AT_ILL else self.well

    def status(self, name: str) -> SessionStatus:
        """Give what the daemon tells about a session now."""
        found = self._find_status(name)
        assert found is not None, f"no status of {name}"
        return found

    def path(self, name: str, since: SessionStatus | None = None) -> list[Step]:
        """Give the steps of a session, those after `since` if given."""
        steps = self.status(name).transitions
        last = since.transitions[-1].at if since else 0.0
        return [(step.target.value, step.reason) for step in steps if step.at > last]

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until `holds()`: for what other processes do, which has no event."""
        with anyio.move_on_after(PATIENCE):
            while not holds():
                assert self.daemon.process.returncode is None, self.daemon.log
                await anyio.sleep(LOOK)
            return
        raise TimeoutError(f"not within {PATIENCE:g} s; the daemon said:\n{self.daemon.log}")

    async def until_state(self, names: Iterable[str], state: str, reason: str | None = None) -> None:
        """Wait until each of the sessions is told to be in a state, for a reason if given."""
        for name in names:
            try:
                await self.until(partial(self._has_come_to, name, state, reason))
            except TimeoutError as error:
                raise AssertionError(f"{name} is not {state} {reason or ''}: {self._story(name)}") from error

    async def until_passed(self, name: str, since: SessionStatus, *steps: Step) -> list[Step]:
        """Wait until a session has gone through these steps in order, others between them or not; give all."""
        try:
            await self.until(lambda: _goes_through(self.path(name, since), steps))
        except TimeoutError as error:
            raise AssertionError(f"{name} did not pass {steps}: {self._story(name)}") from error
        return self.path(name, since)

    async def carries(self, *names: str) -> None:
        """See a message to each of the sessions answered."""
        for name in names:
            talk = Correspondence(self.gateway_of(name), name, "5511900000088@c.us")
            before = len(talk.answers)
            talk.write(f"{name}, are you there? {before}")
            await self.until(partial(_has_answers, talk, before + 1))

    async def command(self, *words: str) -> str:
        """Run the command line, which must succeed; give what it printed."""
        code, out, said = await command(self.config, *words)
        assert code == 0, f"{words} ended with {code}: {said}{out}"
        return out

    async def all_answered(self) -> None:
        """Stop writing and wait for what is under way."""
        self.writing.cancel()
        for talk in self.others:
            with suppress(TimeoutError):  # whoever asked for this says what is missing
                await self.until(partial(_has_answers, talk, len(talk.written)))

    async def nobody_else_noticed(self) -> None:
        """See that those whom the fault was not meant for know nothing of it, and that nobody was harmed."""
        await self.all_answered()
        for talk in self.others:
            assert talk.written, "somebody wrote"
            assert talk.answers == [echo(text) for text in talk.written], talk.name
            assert [self.heard[text] for text in talk.written] == [1] * len(talk.written), talk.name
            assert self.status(talk.name).state == "running"
            assert list(self.status(talk.name).transitions) == list(self.came_up[talk.name])
            assert self.gateway_of(talk.name).ledger.starts[talk.session] == 1
            assert self.gateway_of(talk.name).ledger.closes[talk.session] == 0
        self.nobody_was_harmed()

    async def end(self) -> None:
        """See that nobody noticed, and end the daemon in order; both unless the test did."""
        if self.daemon.process.returncode is None:
            await self.nobody_else_noticed()
            assert await self.daemon.end() == 0, self.daemon.log
        assert "Traceback" not in self.daemon.log, "whatever may happen is told in a sentence"

    def nobody_was_harmed(self) -> None:
        """See that no text reached anybody twice, and that nobody was logged out."""
        assert not [text for text, times in self.heard.items() if times > 1]
        for gateway in (self.ill, self.well):
            received = Counter((each.session, each.chat, each.text) for each in gateway.ledger.received)
            assert not [text for text, times in received.items() if times > 1]
            assert not gateway.ledger.logouts
            assert not gateway.ledger.unlinked
            assert not gateway.ledger.forbidden

    def _has_come_to(self, name: str, state: str, reason: str | None) -> bool:
        status = self._find_status(name)
        return status is not None and status.state.value == state and reason in (None, status.reason)

    def _find_status(self, name: str) -> SessionStatus | None:
        with redis.Redis.from_url(self.redis_url) as client:
            found = cast("bytes | None", client.hget("wa:status", name))
        return None if found is None else msgspec.json.decode(found, type=SessionStatus)

    def _story(self, name: str) -> str:
        status = self.status(name)
        return f"{status.state.value} {status.reason}: {status.message}; came by {self.path(name)}"


def _has_answers(talk: Correspondence, count: int) -> bool:
    return len(talk.answers) >= count


def _goes_through(path: Iterable[Step], steps: Iterable[Step]) -> bool:
    walking = iter(path)
    return all(step in walking for step in steps)


def merged(*layers: Settings) -> Settings:
    """Give settings with the later ones over the earlier ones."""
    sections: dict[str, dict[str, object]] = {}
    for layer in layers:
        for name, values in layer.items():
            sections.setdefault(name, {}).update(values)
    return sections


def wish_of_everybody() -> dict[str, bytes]:
    """Give the records of all sessions."""
    return {name: record(name, gateway="ill" if name in AT_ILL else "well") for name in EVERYBODY}


def reply(redis_url: str, name: str, chat: str, text: str) -> None:
    """Let the agent of a session say something unasked, on its stream."""
    payload = json.dumps({"chat_id": chat, "response": text, "channel": "whatsapp", "session": f"{name}-number"})
    with redis.Redis.from_url(redis_url) as client:
        client.xadd(f"agent:agent-{name}:output", {"payload": payload})
        client.publish(f"agent:agent-{name}:output", "")


@asynccontextmanager
async def fault_room(
    folder: Path,
    redis_url: str,
    *,
    affected: Collection[str],
    database_url: str = "",
    settings: Settings = MappingProxyType({}),
    timings: Timings = FAST,
    prepare: Callable[[SimulatedGateway], None] = lambda _: None,
    comes_up: Collection[str] = EVERYBODY,
    on_streams: bool = False,
) -> AsyncIterator[Room]:
    """Run all of it. `prepare` is done to gateway `ill` before the daemon starts; `comes_up`: who can run then.

    The agent speaks over channels as a hub's does, or `on_streams`, which lose nothing when Redis is away.
    """
    heard: Counter[str] = Counter()

    def answer(text: str) -> str:
        heard[text] += 1
        return echo(text)

    failure: Exception | None = None
    async with (
        simulated_gateway(timings=timings) as ill,
        simulated_gateway() as well,
        anyio.create_task_group() as tasks,
    ):
        try:
            agent = (StreamAgent if on_streams else EchoAgent)(redis_url, map(_agent_of, EVERYBODY), reply=answer)
            await tasks.start(agent.run)
            prepare(ill)
            config = write_config(
                folder, {"ill": ill, "well": well}, redis_url, database_url, settings=merged(SETTINGS, settings)
            )
            declare(redis_url, wish_of_everybody())
            async with daemon(config) as started:
                room = Room(
                    ill=ill,
                    well=well,
                    daemon=started,
                    redis_url=redis_url,
                    heard=heard,
                    others=[
                        Correspondence(ill if name in AT_ILL else well, name, "5511900000077@c.us")
                        for name in EVERYBODY
                        if name not in affected
                    ],
                )
                await room.until_state(comes_up, "running")
                room.came_up = {talk.name: room.status(talk.name).transitions for talk in room.others}
                tasks.start_soon(_keep_writing, room)
                await room.until(lambda: all(talk.written for talk in room.others))
                yield room
                await room.end()
        except Exception as error:  # noqa: BLE001  # raised again below, outside the task group
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _agent_of(name: str) -> str:
    return f"agent-{name}"


async def _keep_writing(room: Room) -> None:
    with room.writing:
        async with anyio.create_task_group() as writing:
            for talk in room.others:
                writing.start_soon(talk.go_on)
