"""What a gateway reports reaches the session that it is about, and nobody guesses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.engine.harness import MAIN, House, Policies, message, records, running
from tests.fakes.gateway import FakeGateway
from tests.fakes.gateway_events import FakeGatewayEvents
from wa_supervisor.domain.errors import GatewayAnswerError, GatewayUnreachableError
from wa_supervisor.domain.gateway import GatewayHealth
from wa_supervisor.domain.gateway_events import LoginOffered
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.messages import InboundMessage, LeftOut, OwnMessage
from wa_supervisor.domain.names import IntegrationId, SessionName, StanzaId
from wa_supervisor.domain.observations import (
    EventUnattributed,
    GatewayChanged,
    MessageLeftOut,
    Observation,
    Trouble,
)
from wa_supervisor.engine.backlog import Backlog
from wa_supervisor.engine.feed import MOST_HELD, Feed
from wa_supervisor.engine.gate import CLOCKS_DISAGREE, Gate
from wa_supervisor.engine.policies import GatePolicy, SessionPolicy

pytestmark = pytest.mark.anyio


class Number:
    """A session that only notes what it is given."""

    def __init__(self, name: str, phone: str | None = None) -> None:
        self.id = IntegrationId(name)
        self.phone = phone
        self.messages: list[str] = []
        self.offers: list[LoginOffered] = []
        self.left_out = self.looks = 0
        self.own: list[str] = []
        self.lost: list[str] = []
        self.breaks = False

    def take_message(self, message: InboundMessage) -> None:
        if self.breaks:
            raise RuntimeError("a bug")
        self.messages.append(message.text)

    def take_own(self, message: OwnMessage) -> None:
        self.own.append(message.text)

    def lost_touch(self, cause: str) -> None:
        self.lost.append(cause)

    def take_login(self, offer: LoginOffered) -> None:
        self.offers.append(offer)

    def leave_out(self, left_out: LeftOut) -> None:
        del left_out
        self.left_out += 1

    def look_again(self) -> None:
        self.looks += 1


class SlowGateway(FakeGateway):
    """Its answers are so many seconds under way."""

    late = 0.0

    async def health(self) -> GatewayHealth:
        answer = await super().health()
        await anyio.sleep(self.late)
        return answer


class Line:
    """A feed among fakes."""

    def __init__(self, *sessions: Number, gateway: FakeGateway | None = None, backlog: Backlog | None = None) -> None:
        self.gateway, self.events = gateway or FakeGateway(MAIN), FakeGatewayEvents()
        self.told: list[Observation] = []
        policy = GatePolicy(reconnect_initial=1.0, reconnect_max=30.0)
        self.gate = Gate(self.gateway, policy, self.told.append)
        self.feed = Feed(
            gateway=self.gateway,
            events=self.events,
            gate=self.gate,
            policy=policy,
            observe=self.told.append,
            backlog=backlog,
        )
        for session in sessions:
            self.feed.join(SessionName(session.id), session)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(100_000):
                tasks.start_soon(self.feed.run)
                tasks.start_soon(self.gate.run)
                await self.events.until_connected()
                yield
            tasks.cancel_scope.cancel()

    @property
    def changes(self) -> list[str]:
        return [told.what for told in self.told if isinstance(told, GatewayChanged)]

    @property
    def unattributed(self) -> list[str]:
        return [told.event for told in self.told if isinstance(told, EventUnattributed)]

    @property
    def left_out(self) -> list[tuple[str, IntegrationId | None]]:
        return [(told.reason, told.integration) for told in self.told if isinstance(told, MessageLeftOut)]

    @property
    def troubles(self) -> list[str]:
        return [str(told.error) for told in self.told if isinstance(told, Trouble)]

    async def come_back(self) -> None:
        """Lose the connection after a long life, and wait until it stands again."""
        await anyio.sleep(100)
        connections = self.changes.count("feed_connected")
        self.events.lose()
        await anyio.sleep(3)
        assert self.changes.count("feed_connected") == connections + 1


def ack(stanza: str, value: int) -> object:
    return {"id": {"_serialized": f"true_5511900000077@c.us_{stanza}"}, "ack": value}


# --- messages


async def test_a_message_goes_to_the_session_that_it_names() -> None:
    one, two = Number("one"), Number("two")
    line = Line(one, two)
    async with line.running():
        await line.events.emit("received-message", message("one", "hello"))
        await line.events.emit("received-message", message("two", "hi"))
    assert (one.messages, two.messages) == (["hello"], ["hi"])
    assert repr(line.feed) == "<Feed main for 2 sessions>"


async def test_a_message_for_a_session_that_is_not_ours_is_counted_and_dropped() -> None:
    one = Number("one")
    line = Line(one)
    async with line.running():
        await line.events.emit("received-message", message("somebody", "hello"))
    assert not one.messages
    assert line.left_out == [("unknown_session", None)]


async def test_what_is_not_for_the_agent_is_counted_with_its_session_where_that_is_known() -> None:
    one = Number("one")
    line = Line(one)
    async with line.running():
        await line.events.emit("received-message", message("one", ""))
        await line.events.emit("received-message", message("somebody", ""))
        await line.events.emit("received-message", "nonsense")
    assert line.left_out == [("no_text", "one"), ("no_text", None), ("not_an_object", None)]
    assert one.left_out == 1


async def test_every_connection_tells_its_sessions_that_they_may_have_missed_something() -> None:
    one, two = Number("one"), Number("two")
    line = Line(one, two)
    async with line.running():
        await line.come_back()
    assert one.lost == two.lost == ["reconnected"] * 2


async def test_an_own_message_goes_to_its_session_and_is_counted_as_left_out() -> None:
    one = Number("one")
    line = Line(one)
    payload = {"response": {"id": "true_5511900000077@c.us_3EB0", "session": "one", "body": "mine", "type": "chat"}}
    async with line.running():
        await line.events.emit("received-message", payload)
    assert one.own == ["mine"]
    assert line.left_out == [("own_message", "one")]


async def test_too_much_in_memory_lets_the_connection_go_until_half_of_it_is_handed_over() -> None:
    backlog = Backlog(10)
    line = Line(Number("one"), backlog=backlog)
    async with line.running():
        backlog.moved(10)
        await line.events.emit("received-message", message("one", "the last one"))
        await anyio.sleep(10)
        assert line.changes[-1] == "feed_let_go"
        assert not line.events.is_listening
        assert line.gate.is_open  # replies still go out
        backlog.moved(-4)
        await anyio.sleep(10)
        assert not line.events.is_listening
        backlog.moved(-1)
        await anyio.sleep(1)
        assert line.changes[-1] == "feed_connected"


async def test_what_is_stuck_for_ever_keeps_no_connection_away_for_ever() -> None:
    backlog = Backlog(10)
    one = Number("one")
    line = Line(one, backlog=backlog)
    async with line.running():
        backlog.moved(10)  # some sessions' messages, which nobody can hand over
        await line.events.emit("received-message", message("one", "1"))
        await anyio.sleep(31)
        assert line.events.is_listening
        backlog.moved(1)
        backlog.moved(-1)  # others are handed over all the while
        await line.events.emit("received-message", message("one", "2"))
        await anyio.sleep(10)
        assert line.events.is_listening
    assert one.messages == ["1", "2"]


async def test_a_bug_over_one_event_costs_that_event_and_not_the_connection() -> None:
    bad, good = Number("bad"), Number("good")
    bad.breaks = True
    line = Line(bad, good)
    async with line.running():
        await line.events.emit("received-message", message("bad", "hello"))
        await line.events.emit("received-message", message("good", "hello"))
        await anyio.sleep(10)
    assert good.messages == ["hello"]
    assert line.troubles == ["a bug"]
    assert line.events.listens == 1


async def test_a_session_that_left_is_given_nothing_more_unless_another_took_its_place() -> None:
    old, new = Number("one"), Number("one")
    line = Line(old)
    async with line.running():
        line.feed.join(SessionName("one"), new)
        line.feed.leave(SessionName("one"), old, holds=False)
        await line.events.emit("received-message", message("one", "hello"))
        assert (old.messages, new.messages) == ([], ["hello"])
        line.feed.leave(SessionName("one"), new, holds=False)
        await line.events.emit("received-message", message("one", "hello"))
        assert new.messages == ["hello"]
    assert line.left_out == [("unknown_session", None)]


async def test_what_comes_between_two_sessions_is_held_for_the_second() -> None:
    old, new = Number("one"), Number("one")
    line = Line(old)
    async with line.running():
        line.feed.leave(SessionName("one"), old, holds=True)
        for text in ("1", "2"):
            await line.events.emit("received-message", message("one", text))
        held = line.feed.join(SessionName("one"), new)
        assert [each.text for each in held] == ["1", "2"]
        assert line.feed.join(SessionName("one"), new) == []
        await line.events.emit("received-message", message("one", "3"))
    assert new.messages == ["3"]
    assert line.left_out == []


async def test_what_is_held_for_nobody_after_all_is_counted_and_so_is_what_is_too_much() -> None:
    line = Line()
    async with line.running():
        line.feed.hold(SessionName("one"))
        for number in range(MOST_HELD + 3):
            await line.events.emit("received-message", message("one", f"{number}"))
        assert len(line.left_out) == 3
        line.feed.let_go(SessionName("one"))
        line.feed.let_go(SessionName("one"))
        assert len(line.left_out) == MOST_HELD + 3
        await line.events.emit("received-message", message("one", "late"))
    assert line.left_out == [("unknown_session", None)] * (MOST_HELD + 4)


# --- acks


async def test_an_ack_goes_to_whoever_sent_the_message_and_one_for_nobody_is_counted() -> None:
    line, proofs = Line(Number("one")), list[int]()
    line.feed.acks.sent_by(StanzaId("3EB0AB"), lambda: proofs.append(1))
    async with line.running():
        await line.events.emit("onack", ack("3EB0AB", 1))
        await line.events.emit("onack", ack("3EB0CD", 1))
        await line.events.emit("onack", "nonsense")
    assert proofs == [1]
    assert line.unattributed == ["onack", "onack"]


# --- logins and nudges


async def test_a_login_goes_to_the_session_that_it_names() -> None:
    one, two = Number("one", phone="5511988887777"), Number("two", phone="5511988887777")
    line = Line(one, two)
    async with line.running():
        await line.events.emit("qrCode", {"data": "data:image/png;base64,AAAA", "session": "one"})
        await line.events.emit("phoneCode", {"data": "ABCD1234", "phone": "5511988887777", "session": "two"})
        await line.events.emit("qrCode", {"data": "data:image/png;base64,AAAA", "session": "somebody"})
    assert [offer.kind for offer in one.offers] == ["qr"]
    assert [(offer.kind, offer.data) for offer in two.offers] == [("code", "ABCD1234")]
    assert line.unattributed == ["qrCode"]


async def test_a_pairing_code_without_a_name_goes_to_the_session_with_its_number() -> None:
    one, two, by_qr = Number("one", phone="5511988887777"), Number("two", phone="5511988880000"), Number("three")
    line = Line(one, two, by_qr)
    async with line.running():
        await line.events.emit("phoneCode", {"data": "ABCD1234", "phone": "5511988880000"})
        await line.events.emit("phoneCode", {"data": "EFGH5678", "phone": "5511900000000"})
        await line.events.emit("phoneCode", {"data": "EFGH5678"})
    assert [len(session.offers) for session in (one, two, by_qr)] == [0, 1, 0]
    assert line.unattributed == ["phoneCode", "phoneCode"]


async def test_a_qr_code_without_a_name_goes_to_all_who_may_wait_for_one() -> None:
    one, two = Number("one"), Number("two", phone="5511988880000")
    line = Line(one, two)
    async with line.running():
        await line.events.emit("qrCode", {"data": "data:image/png;base64,AAAA"})
    assert [[offer.kind for offer in session.offers] for session in (one, two)] == [["qr"], ["qr"]]
    assert line.unattributed == []


async def test_a_nudge_makes_the_named_session_look_and_one_without_a_name_all() -> None:
    one, two = Number("one"), Number("two")
    line = Line(one, two)
    async with line.running():
        await line.events.emit("session-logged", {"status": True, "session": "one"})
        assert (one.looks, two.looks) == (1, 0)
        await line.events.emit("session-error", "two")
        assert (one.looks, two.looks) == (1, 1)
        await line.events.emit("session-error", "")
        assert (one.looks, two.looks) == (2, 2)
        await line.events.emit("session-error", "somebody")
    assert line.unattributed == ["session-error"]


# --- the connection


async def test_the_connection_opens_the_gate_and_its_coming_and_going_is_told() -> None:
    line = Line(Number("one"))
    assert not line.gate.is_open
    async with line.running():
        assert line.gate.is_open
        assert line.changes == ["feed_connected", "gate_opened"]
        await line.come_back()
        assert line.changes[2:] == ["feed_lost", "feed_connected"]
    assert line.changes[4:] == ["feed_lost"]


async def test_the_reason_for_a_lost_connection_is_told() -> None:
    line = Line(Number("one"))
    async with line.running():
        line.events.lose()
        await checkpoint()
        await anyio.sleep(3)
    lost = [told for told in line.told if isinstance(told, GatewayChanged) and told.what == "feed_lost"]
    assert lost[0].message == "lost by the test"


async def test_one_quick_reconnection_holds_nobody_and_a_second_failure_closes_the_gate() -> None:
    line = Line(Number("one"))
    async with line.running():
        await anyio.sleep(1000)
        await line.come_back()
        assert "gate_closed" not in line.changes
        await anyio.sleep(1000)
        line.events.refuses = True
        line.events.lose()
        await anyio.sleep(10)
        assert not line.gate.is_open
        assert "refused by the test" in line.gate.reason
        line.events.refuses = False
        await line.events.until_connected()
        await checkpoint()
        assert line.gate.is_open


async def test_failures_before_a_long_life_do_not_make_its_end_close_the_gate() -> None:
    line = Line(Number("one"))
    line.events.refuses = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(line.feed.run)
        await anyio.sleep(300)
        assert line.events.listens > 5
        line.events.refuses = False
        await line.events.until_connected()
        await anyio.sleep(10_000)
        changes = len(line.changes)
        await line.come_back()
        assert line.changes[changes:] == ["feed_lost", "feed_connected"]
        tasks.cancel_scope.cancel()


async def test_a_connection_that_was_never_made_is_not_told_as_lost() -> None:
    line = Line(Number("one"))
    line.events.refuses = True
    with anyio.move_on_after(1000):
        await line.feed.run()
    assert line.changes == []
    assert line.gate.was_refused
    assert 1000 / 30 * 0.8 < line.events.listens < 1000 / 30 * 4


async def test_a_connection_that_breaks_in_a_way_that_nobody_foresaw_is_told_and_made_again() -> None:
    class Odd(FakeGatewayEvents):
        async def listen(self, sink: object, names: frozenset[str]) -> None:  # type: ignore[override]  # returns never
            self.listens += 1
            await checkpoint()
            del sink, names
            raise RuntimeError("a bug")

    line = Line(Number("one"))
    odd = line.feed._events = Odd()
    with anyio.move_on_after(100):
        await line.feed.run()
    assert odd.listens > 2
    assert set(line.troubles) == {"a bug"}


# --- restarts of the gateway


async def test_a_gateway_that_restarted_makes_everybody_look() -> None:
    one, two = Number("one"), Number("two")
    line = Line(one, two)
    async with line.running():
        await anyio.sleep(100)
        assert (one.looks, two.looks) == (0, 0)
        line.gateway.restart()
        await line.come_back()
        assert (one.looks, two.looks) == (1, 1)
        await line.come_back()
        assert (one.looks, two.looks) == (1, 1)


async def test_a_slow_answer_is_not_taken_for_a_restart() -> None:
    one = Number("one")
    gateway = SlowGateway(MAIN)
    line = Line(one, gateway=gateway)
    async with line.running():
        await anyio.sleep(1)
        gateway.late = CLOCKS_DISAGREE - 1  # its uptime is that much older than it seems
        await line.come_back()
        await anyio.sleep(10)
        assert gateway.calls["health"] == 2
    assert one.looks == 0


@pytest.mark.parametrize(
    ("error", "closes"),
    [(GatewayAnswerError("503"), False), (RuntimeError("a bug"), False), (GatewayUnreachableError("down"), True)],
)
async def test_a_gateway_that_does_not_say_how_long_it_is_up_is_looked_at(error: Exception, closes: bool) -> None:
    one = Number("one")
    line = Line(one)
    async with line.running():
        await anyio.sleep(100)
        line.gateway.fail_next("health", error)
        await line.come_back()
        assert one.looks >= 1
        assert line.gate.is_open is not closes
        assert line.troubles == (["a bug"] if isinstance(error, RuntimeError) else [])
        looks = one.looks
        await line.come_back()
        assert one.looks == looks


async def test_a_connection_that_comes_back_while_the_gateway_is_asked_is_looked_into_too() -> None:
    one = Number("one")
    line = Line(one)
    line.gateway.hold("health")
    async with line.running():
        await line.gateway.until(lambda: line.gateway.calls["health"] == 1)
        await line.come_back()
        line.gateway.release("health")
        await line.gateway.until(lambda: line.gateway.calls["health"] == 2)


# --- in the whole engine


async def test_qr_codes_without_a_name_make_only_those_poll_that_wait_for_their_login() -> None:
    policies = Policies(sessions=SessionPolicy(poll_starting=5.0, poll_connected=1000.0))
    names = [f"s{number}" for number in range(20)]

    def no_login(house: House) -> None:
        house.gateway.session("s0-number").has_login = False

    async with running(records(*names), policies=policies, prepare=no_login) as house:
        await house.until_state("s0", State.AWAITING_LOGIN)
        await house.until(lambda: list(house.states().values()).count(State.RUNNING) == 19)
        before = house.gateway.calls["report"]
        await house.events.emit("qrCode", {"data": "data:image/png;base64,AAAA"})
        await house.gateway.until(lambda: house.gateway.calls["report"] > before)
        await anyio.sleep(1)
        assert house.gateway.calls["report"] == before + 1
