"""What follows what: records, gateways, pauses and stops that meet in the middle of something else."""

from __future__ import annotations

import anyio
import pytest

from tests.engine.harness import MAIN, House, Policies, agent, message, record, records, reply, running
from tests.fakes.gateway_events import FakeGatewayEvents
from wa_supervisor.domain.errors import GatewayAnswerError, GatewayUnreachableError
from wa_supervisor.domain.gateway import GatewayStatus
from wa_supervisor.domain.integration import Defaults
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.observations import Abandoned, GatewayChanged, MessageLeftOut, Trouble
from wa_supervisor.engine.policies import SessionPolicy

pytestmark = pytest.mark.anyio


def replace_gateway(house: House, *, address: str = "") -> tuple[FakeGatewayEvents, FakeGatewayEvents]:
    """Give the gateway a new room with a new event connection, as a reload does; give the old and new connection."""
    old, new = house.feeds[MAIN], FakeGatewayEvents()
    house.feeds[MAIN] = new
    house.rooms[MAIN] = house.make_room(MAIN, address=address)
    defaults = Defaults(gateways=frozenset({MAIN}), gateway=MAIN)
    house.supervisor.replace_gateways(tuple(house.rooms.values()), defaults)
    return old, new


async def send_that_hangs(house: House) -> None:
    """Begin a send that the gateway does not answer until the test releases `send_text`."""
    house.gateway.hold("send_text")
    await house.outbox.say(agent("a"), reply())
    await house.gateway.until(lambda: house.gateway.calls["send_text"] == 1)


async def test_an_invalid_record_that_is_mended_into_a_paused_one_is_paused() -> None:
    async with running({"a": b"{", "b": record("b")}) as house:
        await house.until_state("b", State.RUNNING)
        await house.until_state("a", State.INVALID)
        house.wish.put("a", record("a", paused=True))
        await house.until_state("a", State.PAUSED)
        assert not [trouble for trouble in house.all_told(Trouble) if trouble.where == "keeper"]


async def test_two_quick_losses_of_the_feed_hours_apart_close_no_gate() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(5)
        house.events.lose()
        await house.until(lambda: house.events.listens == 2)
        await anyio.sleep(7200)
        house.events.lose()
        await anyio.sleep(60)
        assert not [each for each in house.all_told(GatewayChanged) if each.what == "gate_closed"]


async def test_a_pause_that_could_not_close_yet_closes_through_the_gateway_that_replaces_the_old() -> None:
    def away(house: House) -> None:
        house.gateway.session("a-number").connect()
        house.events.refuses = True

    async with running({"a": record("a", paused=True)}, prepare=away) as house:
        await house.until_state("a", State.PAUSED)
        await anyio.sleep(10)
        replace_gateway(house)
        await house.gateway.until(lambda: house.gateway.session("a-number").closes == 1)


async def test_a_gateway_taken_out_and_put_back_while_redis_is_away_has_its_session_again() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.wish.fail_next("read", times=5)
        house.supervisor.replace_gateways((), Defaults(gateways=frozenset[GatewayName](), gateway=MAIN))
        await anyio.sleep(2)
        replace_gateway(house)
        await house.until(lambda: house.gateway.calls["report"] > 1 and house.states()["a"] is State.RUNNING)


async def test_a_healthy_spell_that_ended_in_a_hold_is_forgiven_too() -> None:
    def failing(house: House) -> None:
        house.gateway.fail_next("start", GatewayAnswerError("500"), times=8)

    async with running(records("a"), prepare=failing) as house:
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(2000)
        house.gateway.restart()
        house.gateway.is_up = False
        await house.until_state("a", State.HELD)
        house.gateway.is_up = True
        house.gateway.fail_next("start", GatewayAnswerError("500"))
        status = await house.until_state("a", State.BACKOFF)
        assert status.attempt == 1


async def test_a_session_that_comes_up_while_the_gate_closes_is_held() -> None:
    def slow(house: House) -> None:
        house.gateway.session("a-number").starts_in = 20.0

    async with running(records("a"), prepare=slow) as house:
        await house.until(lambda: house.gateway.session("a-number").starts == 1)
        house.events.refuses = True
        house.events.lose()
        await house.until(lambda: not house.rooms[MAIN].gate.is_open)
        await anyio.sleep(30)
        assert house.states()["a"] is State.HELD


async def test_a_restart_while_the_gateway_is_away_still_says_why_nothing_happens() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.is_up = False
        await house.until_state("a", State.HELD)
        house.commands.issue("restart", IntegrationId("a"))
        await anyio.sleep(120)
        assert house.states()["a"] is State.HELD


async def test_a_connected_session_whose_page_is_offline_for_a_moment_is_adopted_and_not_closed() -> None:
    def offline(house: House) -> None:
        session = house.gateway.session("a-number")
        session.connect()
        session.has_page = False

    async with running(records("a"), prepare=offline) as house:
        await anyio.sleep(3)
        house.gateway.session("a-number").has_page = True
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").closes == 0


async def test_the_close_of_a_pause_does_not_cut_off_the_integration_that_takes_the_session_over() -> None:
    def connected(house: House) -> None:
        house.gateway.session("x").connect()

    async with running({"a": record("a", session="x", paused=True)}, prepare=connected) as house:
        house.gateway.hold("close")
        await house.gateway.until(lambda: house.gateway.calls["close"] == 1)
        house.wish.records = {"b": record("b", session="x")}
        house.wish.ring()
        await anyio.sleep(5)
        house.gateway.release("close")
        await house.until_state("b", State.RUNNING)
        await anyio.sleep(100)
        assert house.gateway.session("x").status is GatewayStatus.CONNECTED


async def test_a_stop_does_not_wait_for_the_close_of_a_pause_that_hangs() -> None:
    def hanging(house: House) -> None:
        house.gateway.session("a-number").connect()
        house.gateway.hold("report")

    async with running({"a": record("a", paused=True)}, prepare=hanging) as house:
        await house.gateway.until(lambda: house.gateway.calls["report"] == 1)
        began = anyio.current_time()
        await house.supervisor.drain(20.0)
        assert anyio.current_time() - began < 1


async def test_the_close_of_a_pause_is_tried_until_it_succeeds() -> None:
    def failing(house: House) -> None:
        house.gateway.session("a-number").connect()
        house.gateway.fail_next("close", GatewayAnswerError("time-out"), times=3)

    async with running({"a": record("a", paused=True)}, prepare=failing) as house:
        await house.gateway.until(lambda: house.gateway.session("a-number").closes == 1)


async def test_an_integration_removed_while_its_gateway_is_away_is_closed_when_it_is_back() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.is_up = False
        await house.until_state("a", State.HELD)
        house.wish.remove("a")
        await anyio.sleep(20)
        house.gateway.is_up = True
        await house.until(lambda: not house.states())
        assert house.gateway.session("a-number").status is GatewayStatus.CLOSED


async def test_a_reload_hangs_up_only_after_what_is_in_flight_is_finished() -> None:
    hung_up: list[float] = []

    async def hang_up() -> None:
        hung_up.append(anyio.current_time())

    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.rooms[MAIN]._hang_up = hang_up
        await send_that_hangs(house)
        replace_gateway(house)
        await anyio.sleep(5)
        assert house.states()["a"] is State.DRAINING
        assert not hung_up
        house.gateway.release("send_text")
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(100)
        assert len(hung_up) == 1


async def test_a_message_that_arrives_while_a_reload_drains_reaches_the_agent_once() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await send_that_hangs(house)
        old, new = replace_gateway(house)
        await anyio.sleep(2)
        arrived = message("a-number", "during the reload")
        await old.emit("received-message", arrived)
        await new.emit("received-message", arrived)
        house.gateway.release("send_text")
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(100)
        assert len(house.inbox.streams[agent("a")]) == 1


async def test_a_message_that_arrives_while_the_agent_changes_reaches_one_of_the_two() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await send_that_hangs(house)
        house.wish.put("a", record("a", agent="other"))
        await house.until_state("a", State.DRAINING)
        await house.events.emit("received-message", message("a-number", "in between"))
        house.gateway.release("send_text")
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(100)
        assert sum(map(len, house.inbox.streams.values())) == 1


async def test_messages_held_for_a_successor_that_never_comes_are_counted() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await send_that_hangs(house)
        _, new = replace_gateway(house)
        await house.until_state("a", State.DRAINING)
        await anyio.sleep(2)
        await new.emit("received-message", message("a-number", "for nobody"))
        house.wish.put("a", b"{")
        await anyio.sleep(2)
        house.gateway.release("send_text")
        await house.until_state("a", State.INVALID)
        assert [each.reason for each in house.all_told(MessageLeftOut)] == ["unknown_session"]


async def test_a_nameless_qr_makes_only_those_look_that_wait_for_one() -> None:
    names = [f"s{number}" for number in range(50)]
    policies = Policies(sessions=SessionPolicy(poll_connected=1e9))
    async with running(records(*names), policies=policies) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        before = house.gateway.calls["report"]
        for _ in range(9):
            await house.events.emit("qrCode", {"data": "data:image/png;base64,xx"})
            await anyio.sleep(1)
        assert house.gateway.calls["report"] == before


async def test_an_integration_removed_while_it_waits_for_a_session_ends() -> None:
    async with running({"a": record("a", session="x")}) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.hold("close")
        house.wish.records = {"b": record("b", session="x")}
        house.wish.ring()
        await house.until(lambda: "b" in house.states())
        await anyio.sleep(1)
        house.wish.records = {}
        house.wish.ring()
        await house.until(lambda: "b" not in house.states())
        house.gateway.release("close")
        await house.until(lambda: not house.states())
        assert house.gateway.session("x").starts == 1


async def test_a_life_that_is_about_to_step_on_when_it_is_ended_disturbs_nothing() -> None:
    def away(house: House) -> None:
        house.events.refuses = True

    async with running(records("a", "b"), prepare=away) as house:
        await house.until_state("a", State.HELD)
        keeper = house.supervisor._keepers[IntegrationId("a")]
        del house.wish.records["a"]
        keeper.follow(None)
        house.events.refuses = False
        house.rooms[MAIN].gate.report_feed(stands=True)  # in the same turn of the loop
        await house.until(lambda: "a" not in house.states())
        assert not [trouble for trouble in house.all_told(Trouble) if trouble.where == "keeper"]


async def test_a_stop_in_the_same_turn_as_a_gate_that_opens_abandons_nothing() -> None:
    def away(house: House) -> None:
        house.events.refuses = True

    async with running(records("a"), prepare=away) as house:
        await house.until_state("a", State.HELD)
        house.supervisor._keepers[IntegrationId("a")].leave()
        house.rooms[MAIN].gate.report_feed(stands=True)
        await house.supervisor.drain(25.0)
        assert not house.all_told(Abandoned)
        assert not [trouble for trouble in house.all_told(Trouble) if trouble.where == "keeper"]


def take_away(house: House, name: str) -> GatewayName:
    """Let a gateway be gone, calls and events."""
    gateway = GatewayName(name)
    house.gateways[gateway].is_up = False
    house.feeds[gateway].refuses = True
    house.feeds[gateway].lose()
    return gateway


async def test_an_integration_that_is_removed_together_with_its_dead_gateway_ends() -> None:
    wish = {"a": record("a", gateway="one"), "b": record("b", gateway="two")}
    async with running(wish, gateways=("one", "two")) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        take_away(house, "one")
        await house.until_state("a", State.HELD)
        del house.wish.records["a"]
        two = GatewayName("two")
        house.supervisor.replace_gateways((house.rooms[two],), Defaults(gateways=frozenset({two}), gateway=two))
        await house.until(lambda: "a" not in house.states())


async def test_an_integration_that_is_moved_away_from_a_dead_gateway_runs_at_the_other() -> None:
    async with running({"a": record("a", gateway="one")}, gateways=("one", "two")) as house:
        await house.until_state("a", State.RUNNING)
        take_away(house, "one")
        await house.until_state("a", State.HELD)
        house.wish.put("a", record("a", gateway="two"))
        await house.until_state("a", State.RUNNING)
        assert house.status("a").gateway == "two"


async def test_a_stop_does_not_wait_for_the_close_of_a_removed_session_that_hangs() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.hold("close")
        house.wish.remove("a")
        await house.gateway.until(lambda: house.gateway.calls["close"] == 1)
        began = anyio.current_time()
        await house.supervisor.drain(25.0)
        assert anyio.current_time() - began < 1
        assert not house.all_told(Abandoned)


async def test_a_round_that_fails_as_it_never_should_stops_nobody() -> None:
    async with running(records("a", "b")) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.wish.fail_next("read", ValueError("a bug"))
        house.wish.put("c", record("c"))
        await house.until_state("c", State.RUNNING)
        assert [trouble.where for trouble in house.all_told(Trouble)] == ["reconcile"]


async def test_a_session_that_waits_to_be_closed_at_a_dead_gateway_says_so() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.is_up = False
        await house.until_state("a", State.HELD)
        house.wish.remove("a")
        await anyio.sleep(3600)
        assert "gateway main is away" in house.status("a").message


async def test_a_removed_session_is_closed_at_a_gateway_that_answers_though_its_events_are_lost() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.events.refuses = True
        house.events.lose()
        await house.until_state("a", State.HELD)
        house.wish.remove("a")
        await house.until(lambda: not house.states())
        assert house.gateway.session("a-number").closes == 1


async def test_a_session_that_goes_on_at_another_address_may_be_open_at_the_old_one_and_says_so() -> None:
    def at_old_address(house: House) -> None:
        replace_rooms(house, "http://user:secret@old:21465")

    async with running(records("a"), prepare=at_old_address) as house:
        await house.until_state("a", State.RUNNING)
        replace_gateway(house, address="http://new:21465")
        await house.until(lambda: house.states()["a"] is not State.RUNNING)
        await house.until_state("a", State.RUNNING)
        (trouble,) = [each for each in house.all_told(Trouble) if each.where == "close"]
        assert "may still be open at http://user:*****@old:21465" in trouble.message


def replace_rooms(house: House, address: str) -> None:
    """Let the gateway have an address before anything runs."""
    house.rooms[MAIN] = house.supervisor._rooms[MAIN] = house.make_room(MAIN, address=address)


async def test_a_removed_session_is_closed_at_the_address_where_it_ran() -> None:
    def at_old_address(house: House) -> None:
        replace_rooms(house, "http://old:21465")

    async with running(records("a"), prepare=at_old_address) as house:
        await house.until_state("a", State.RUNNING)
        old = house.rooms[MAIN]
        house.gateway.is_up = False
        await house.until_state("a", State.HELD)
        house.wish.hold("read")
        keeper = house.supervisor._keepers[IntegrationId("a")]
        keeper.follow(None)
        await anyio.sleep(1)
        replace_gateway(house, address="http://new:21465")
        house.gateway.is_up = True
        await house.until(lambda: not house.states())
        assert not old.gate.waiting_turns
        assert house.gateway.session("a-number").closes == 1


async def test_a_room_that_is_still_used_is_not_closed() -> None:
    hung_up: list[float] = []

    async def hang_up() -> None:
        hung_up.append(anyio.current_time())

    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.rooms[MAIN]._hang_up = hang_up
        house.gateway.is_up = False
        await house.until_state("a", State.HELD)
        house.wish.remove("a")
        await anyio.sleep(10)
        replace_gateway(house)
        await anyio.sleep(600)
        assert not hung_up
        house.gateway.is_up = True
        await house.until(lambda: not house.states())
        await anyio.sleep(1)
        assert len(hung_up) == 1


async def test_a_restart_at_a_gateway_that_goes_away_meanwhile_closes_the_browser_when_it_is_back() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await house.commands.until(lambda: house.commands.listening("listen") == 1)
        house.gateway.is_up = False
        house.commands.issue("restart", IntegrationId("a"))
        await house.until_state("a", State.HELD)
        house.gateway.is_up = True
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").closes == 1
        assert house.gateway.session("a-number").starts == 2


async def test_a_change_that_the_session_does_not_feel_is_followed_while_it_runs() -> None:
    async with running(records("a")) as house:
        before = await house.until_state("a", State.RUNNING)
        house.wish.put("a", record("a", typing=False))
        await house.until(lambda: house.status("a").observed_generation != before.observed_generation)
        assert house.status("a").transitions == before.transitions


async def test_the_close_of_a_pause_at_a_gateway_that_is_away_is_made_when_it_is_back() -> None:
    def away(house: House) -> None:
        house.gateway.session("a-number").connect()
        house.gateway.is_up = False

    async with running({"a": record("a", paused=True)}, prepare=away) as house:
        await anyio.sleep(100)
        house.gateway.is_up = True
        await house.gateway.until(lambda: house.gateway.session("a-number").closes == 1)


async def test_the_close_of_a_pause_that_finds_the_gateway_away_closes_its_gate() -> None:
    def gone(house: House) -> None:
        house.gateway.session("a-number").connect()
        house.gateway.fail_next("report", GatewayUnreachableError("nothing answers"))

    async with running({"a": record("a", paused=True)}, prepare=gone) as house:
        await house.until(lambda: any(each.what == "gate_closed" for each in house.all_told(GatewayChanged)))
        await house.gateway.until(lambda: house.gateway.session("a-number").closes == 1)


async def test_the_close_of_a_pause_that_is_not_allowed_is_told_and_given_up() -> None:
    def refusing(house: House) -> None:
        house.gateway.session("a-number").connect()
        house.gateway.has_right_secret = False

    async with running({"a": record("a", paused=True)}, prepare=refusing) as house:
        (trouble,) = await house.until_told(Trouble)
        assert "may still be open" in trouble.message
        await anyio.sleep(600)
        assert house.states()["a"] is State.PAUSED


async def test_everything_says_what_it_is() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        supervisor = house.supervisor
        keeper = supervisor._keepers[IntegrationId("a")]
        incarnation = keeper._serving.incarnation
        assert repr(supervisor) == "<Supervisor 1 integrations, 1 gateways>"
        assert repr(keeper) == "<Keeper <Record a running Connected>>"
        assert repr(keeper._standing) == "<Standing of <Record a running Connected>>"
        assert repr(incarnation) == "<Incarnation of <Session a running>>"
        assert repr(keeper._serving) == f"<Serving a {incarnation!r}>"
        assert repr(supervisor._guarding) == "<Guarding 0 held back>"
        assert repr(supervisor._commanding).startswith("<Commanding")
        assert "GatewayRoom main" in repr(house.rooms[MAIN])


async def test_the_close_of_a_removed_session_that_is_not_allowed_is_told_once_and_given_up() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.has_right_secret = False
        house.wish.remove("a")
        began = anyio.current_time()
        await house.until(lambda: not house.states())
        assert anyio.current_time() - began < 5
        assert [each.where for each in house.all_told(Trouble) if each.where != "catch_up"] == ["close"]
