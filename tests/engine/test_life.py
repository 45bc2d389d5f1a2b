"""A session's life at its gateway: brought up, watched, brought back; and what never happens to it."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import anyio
import pytest

from tests.engine.harness import MAIN, House, Policies, message, record, records, running
from tests.engine.virtual_time import virtual_backend
from tests.fakes.gateway import FakeGateway
from wa_supervisor.domain.errors import GatewayAnswerError, TokenRefusedError
from wa_supervisor.domain.gateway import GatewayHealth, GatewayStatus, SessionAccess, SessionReport
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.observations import SessionMoved, Trouble
from wa_supervisor.engine.policies import GatePolicy, SessionPolicy

pytestmark = pytest.mark.anyio

on_asyncio = pytest.mark.parametrize("anyio_backend", [virtual_backend("asyncio")])
"""Only there can a library leak a cancellation."""

PROXY = {"url": "http://10.0.0.1:3128"}


class WildGateway(FakeGateway):
    """A gateway that raises for a session, or for nobody's question, whatever the test put in; and may be slow."""

    def __init__(self, name: GatewayName) -> None:
        super().__init__(name)
        self.wild: defaultdict[tuple[str, str], list[BaseException]] = defaultdict(list)
        """What the next calls raise: by method and session, which is empty for `health`."""
        self.latency = 0.0
        """Seconds that it takes to answer polls."""

    async def health(self) -> GatewayHealth:
        """Raise or answer."""
        self._raise("health", "")
        return await super().health()

    async def report(self, access: SessionAccess) -> SessionReport:
        """Raise or answer, in its time."""
        await anyio.sleep(self.latency)
        self._raise("report", access.session)
        return await super().report(access)

    async def is_connected(self, access: SessionAccess) -> bool:
        """Raise or answer, in its time."""
        await anyio.sleep(self.latency)
        self._raise("is_connected", access.session)
        return await super().is_connected(access)

    async def close(self, access: SessionAccess) -> None:
        """Raise or close."""
        self._raise("close", access.session)
        await super().close(access)

    def _raise(self, method: str, session: str) -> None:
        if waiting := self.wild[method, session]:
            raise waiting.pop(0)


def wild(house: House) -> WildGateway:
    """Give the first gateway of a house that has wild ones."""
    assert isinstance(house.gateway, WildGateway)
    return house.gateway


def all_run(house: House) -> bool:
    """Whether every session runs."""
    return set(house.states().values()) == {State.RUNNING}


async def test_a_login_that_is_needed_is_offered_as_qr_and_the_scan_connects() -> None:
    def no_login(house: House) -> None:
        house.gateway.session("a-number").has_login = False

    async with running(records("a"), prepare=no_login) as house:
        status = await house.until_state("a", State.AWAITING_LOGIN)
        assert "wa-supervisor login a" in status.message
        await house.board.until(lambda: IntegrationId("a") in house.board.offers)
        offer = house.board.offers[IntegrationId("a")]
        assert (offer.kind, offer.data) == ("qr", "2@a-number")
        house.gateway.session("a-number").connect()
        await house.until_state("a", State.RUNNING)
        assert not house.board.offers


async def test_a_pairing_code_comes_as_an_event_and_is_offered() -> None:
    def no_login(house: House) -> None:
        house.gateway.session("a-number").has_login = False

    wish = {"a": record("a", phone="5511988887777")}
    async with running(wish, prepare=no_login) as house:
        await house.until_state("a", State.AWAITING_LOGIN)
        await house.events.emit("phoneCode", {"data": "ABCD1234", "phone": "5511988887777"})  # the name is lost
        await house.board.until(lambda: IntegrationId("a") in house.board.offers)
        assert house.board.offers[IntegrationId("a")].data == "ABCD1234"
        assert house.gateway.session("a-number").options.phone == "5511988887777"


async def test_a_qr_that_nobody_scans_is_offered_again_and_at_last_given_up() -> None:
    policies = Policies(sessions=SessionPolicy(login_rounds=3))

    def no_login(house: House) -> None:
        house.gateway.session("a-number").has_login = False

    async with running(records("a"), policies=policies, prepare=no_login) as house:
        session = house.gateway.session("a-number")
        for round_number in range(3):
            await house.until(lambda: session.status is GatewayStatus.QRCODE)
            await house.until_state("a", State.AWAITING_LOGIN)
            assert session.starts == round_number + 1
            session.end()
            await house.until(lambda: house.states()["a"] is not State.AWAITING_LOGIN)
        status = await house.until_state("a", State.QUARANTINED)
        assert status.reason == "LoginGivenUp"
        assert "wa-supervisor release a" in status.message


async def test_a_stuck_start_is_closed_and_started_again_and_said() -> None:
    def stuck(house: House) -> None:
        house.gateway.session("a-number").sticks = True

    async with running(records("a"), prepare=stuck) as house:
        session = house.gateway.session("a-number")
        status = await house.until_state("a", State.BACKOFF)
        assert status.reason == "StuckStart"
        assert session.closes == 1
        await house.until(lambda: house.status("a").state is State.BACKOFF and session.closes == 2)
        assert "Restart the wppconnect-server" in house.status("a").message
        session.sticks = False
        await house.until_state("a", State.RUNNING)


async def test_a_browser_that_crashed_under_connected_is_closed_and_started_again() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.session("a-number").has_page = False
        status = await house.until_state("a", State.DEGRADED)
        assert status.reason == "BrowserGone"
        await house.until_state("a", State.BACKOFF)
        assert house.gateway.session("a-number").closes == 1
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").starts == 2


async def test_one_bad_look_degrades_and_the_next_good_one_mends() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.fail_next("report", GatewayAnswerError("503"))
        await house.until_state("a", State.DEGRADED)
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").closes == 0
        assert house.status("a").restarts == 0


async def test_failures_back_off_within_bounds_and_are_retried_for_ever() -> None:
    policies = Policies(sessions=SessionPolicy(backoff_initial=1.0, backoff_max=8.0))

    def always_failing(house: House) -> None:
        house.gateway.is_readable = False

    async with running(records("a"), policies=policies, prepare=always_failing) as house:
        await house.until(lambda: house.status("a").attempt >= 12)
        delays = [
            step.transition.lasted
            for step in house.all_told(SessionMoved)
            if step.transition.source is State.BACKOFF and step.transition.target is State.STARTING
        ]
        for number, delay in enumerate(delays):
            assert 0 <= delay <= min(8.0, 2.0**number) + 0.01
        house.gateway.is_readable = True
        await house.until_state("a", State.RUNNING)


async def test_a_failure_after_a_healthy_spell_counts_from_one_again() -> None:
    policies = Policies(sessions=SessionPolicy(healthy_after=300.0, poll_connected=30.0))

    def failing(house: House) -> None:
        house.gateway.fail_next("start", GatewayAnswerError("500"), times=5)

    async with running(records("a"), policies=policies, prepare=failing) as house:
        await house.until_state("a", State.RUNNING)
        attempts = [step.transition.attempt for step in house.all_told(SessionMoved)]
        assert max(attempts) == 5
        await anyio.sleep(400)
        house.gateway.session("a-number").end()
        status = await house.until_state("a", State.BACKOFF)
        assert status.attempt == 1


async def test_traffic_that_proves_it_alive_makes_polls_needless() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        before = house.gateway.calls["report"]
        for number in range(60):
            await house.events.emit("received-message", message("a-number", f"{number}"))
            await anyio.sleep(10)
        assert house.gateway.calls["report"] == before
        await anyio.sleep(300)
        assert house.gateway.calls["report"] > before


async def test_a_gateway_that_is_down_holds_its_sessions_at_no_cost_and_one_probe_asks_for_all() -> None:
    names = [f"s{number}" for number in range(20)]
    async with running(records(*names)) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.gateway.is_up = False
        house.events.refuses = True
        house.events.lose()
        await house.until(lambda: set(house.states().values()) == {State.HELD})
        reports, tries, probes = house.gateway.calls["report"], house.events.listens, house.gateway.calls["health"]
        await anyio.sleep(300)
        assert house.gateway.calls["report"] == reports
        assert house.events.listens == tries
        assert 50 <= house.gateway.calls["health"] - probes <= 60
        assert all(status.restarts == 0 for status in house.supervisor.statuses())
        assert "gateway main is away" in house.status("s0").message
        house.gateway.is_up, house.events.refuses = True, False
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        assert all(house.gateway.session(f"{name}-number").starts == 1 for name in names)


async def test_one_quick_reconnection_of_the_feed_holds_nobody() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(100)
        house.events.lose()
        await house.until(lambda: house.events.listens == 2)
        await house.events.until_connected()
        await anyio.sleep(100)
        assert [step.transition.target for step in house.all_told(SessionMoved)].count(State.HELD) == 0


async def test_a_gateway_that_restarted_is_noticed_at_the_reconnection() -> None:
    policies = Policies(sessions=SessionPolicy(poll_connected=100_000.0))
    async with running(records("a"), policies=policies) as house:
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(1000)
        house.gateway.restart()
        house.events.lose()
        await house.until(lambda: house.gateway.session("a-number").starts == 2)
        await house.until_state("a", State.RUNNING)


async def test_starts_take_turns() -> None:
    policies = Policies(gate=GatePolicy(starts_at_once=2, start_interval=1.0))
    names = [f"s{number}" for number in range(10)]

    def slow(house: House) -> None:
        for name in names:
            house.gateway.session(f"{name}-number").starts_in = 20.0

    async with running(records(*names), policies=policies, prepare=slow) as house:
        most = 0
        while set(house.states().values()) != {State.RUNNING}:
            starting = [s for s in house.gateway.sessions.values() if s.status is GatewayStatus.INITIALIZING]
            most = max(most, len(starting))
            await anyio.sleep(0.5)
        assert most == 2


async def test_a_wrong_secret_quarantines_and_a_changed_record_releases() -> None:
    def wrong(house: House) -> None:
        house.gateway.refuses_tokens = True

    async with running(records("a"), prepare=wrong) as house:
        status = await house.until_state("a", State.QUARANTINED)
        assert status.reason == "TokenRefused"
        calls = house.gateway.calls["report"]
        await anyio.sleep(3600)
        assert house.gateway.calls["report"] == calls
        house.gateway.refuses_tokens = False
        house.wish.put("a", record("a", token="fresh"))
        house.wish.ring()
        await house.until_state("a", State.RUNNING)


async def test_an_unknown_exception_is_told_and_retried() -> None:
    def odd(house: House) -> None:
        house.gateway.fail_next("report", RuntimeError("a bug"))

    async with running(records("a", "b"), prepare=odd) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        assert sum(status.restarts for status in house.supervisor.statuses()) == 1


async def test_an_operators_restart_closes_and_starts_at_once_and_is_answered() -> None:
    async with running(records("a", "b")) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.commands.issue("restart", IntegrationId("a"), "spring cleaning")
        await house.until(lambda: house.gateway.session("a-number").starts == 2)
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").closes == 1
        assert house.gateway.session("b-number").closes == 0
        command = house.status("a").last_command
        assert command is not None
        assert command.accepted
        house.commands.issue("explode", IntegrationId("a"))
        await house.until(lambda: (house.status("a").last_command or command).verb == "explode")
        refused = house.status("a").last_command
        assert refused is not None
        assert not refused.accepted


async def test_a_paused_session_is_closed_and_stays_so_until_it_is_resumed() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.wish.put("a", record("a", paused=True, pause_reason="holiday"))
        house.wish.ring()
        status = await house.until_state("a", State.PAUSED)
        assert status.message == "holiday"
        session = house.gateway.session("a-number")
        assert session.status is GatewayStatus.CLOSED
        await anyio.sleep(3000)
        assert session.starts == 1
        house.wish.put("a", record("a"))
        house.wish.ring()
        await house.until_state("a", State.RUNNING)


async def test_a_session_that_was_paused_while_nobody_looked_is_closed() -> None:
    def open_already(house: House) -> None:
        house.gateway.session("a-number").connect()

    async with running({"a": record("a", paused=True)}, prepare=open_already) as house:
        await house.until_state("a", State.PAUSED)
        await house.gateway.until(lambda: house.gateway.session("a-number").closes == 1)


async def test_a_record_that_becomes_unreadable_does_not_close_the_session_at_its_gateway() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.wish.put("a", b"{")
        house.wish.ring()
        await house.until_state("a", State.INVALID)
        assert house.gateway.session("a-number").status is GatewayStatus.CONNECTED
        house.wish.put("a", record("a"))
        house.wish.ring()
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").starts == 1


async def test_two_integrations_that_swap_their_sessions_do_not_cut_each_other_off() -> None:
    async with running({"a": record("a", session="x"), "b": record("b", session="y")}) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.wish.records = {"a": record("a", session="y"), "b": record("b", session="x")}
        house.wish.ring()
        await house.until(lambda: house.status("a").session == "y" and house.status("b").session == "x")
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        await anyio.sleep(600)
        assert set(house.states().values()) == {State.RUNNING}
        assert house.gateway.session("x").status is GatewayStatus.CONNECTED
        assert house.gateway.session("y").status is GatewayStatus.CONNECTED


async def test_a_stop_leaves_the_sessions_connected_at_their_gateways() -> None:
    async with running(records("a", "b")) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        await house.supervisor.drain(30)
        assert set(house.states().values()) == {State.STOPPED}
        assert all(session.closes == 0 for session in house.gateway.sessions.values())


async def test_a_failing_session_never_touches_another() -> None:
    def bad(house: House) -> None:
        house.gateway.session("bad-number").sticks = True

    async with running(records("bad", "good"), prepare=bad) as house:
        await house.until_state("good", State.RUNNING)
        await anyio.sleep(3000)
        moves = [step for step in house.all_told(SessionMoved) if step.integration == "good"]
        states = [step.transition.target for step in moves]
        assert State.BACKOFF not in states
        assert states[-1] is State.RUNNING
        assert house.gateway.session("good-number").starts == 1
        assert house.status("bad").restarts > 3


async def test_a_gateway_that_answers_nothing_is_probed_once_for_all_its_sessions() -> None:
    policies = Policies(gate=GatePolicy(probe_interval=5.0))
    names = [f"s{number}" for number in range(20)]
    async with running(records(*names), policies=policies) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.gateway.is_up = False
        await house.until(lambda: set(house.states().values()) == {State.HELD})
        reports, probes = house.gateway.calls["report"], house.gateway.calls["health"]
        await anyio.sleep(300)
        assert house.gateway.calls["report"] == reports
        assert 40 <= house.gateway.calls["health"] - probes <= 120
        assert all(status.restarts == 0 for status in house.supervisor.statuses())
        house.gateway.is_up = True
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})


async def test_a_gateway_that_was_never_there_is_named_as_the_reason() -> None:
    def away(house: House) -> None:
        house.events.refuses = True

    async with running(records("a"), prepare=away) as house:
        status = await house.until_state("a", State.HELD)
        assert "refused by the test" in status.message
        house.events.refuses = False
        await house.until_state("a", State.RUNNING)


@on_asyncio
async def test_a_cancellation_that_a_probe_leaks_ends_neither_the_probing_nor_the_daemon() -> None:
    is_told_to_its_end = False
    async with running(records("a", "b"), gateway_of=WildGateway) as house:
        await house.until(lambda: all_run(house))
        house.gateway.is_up = False
        wild(house).wild["health", ""].append(asyncio.CancelledError("a library's own"))
        house.rooms[MAIN].feed.look_at_all()
        await anyio.sleep(100)
        house.gateway.is_up = True
        await anyio.sleep(100)
        assert all_run(house)
        is_told_to_its_end = True
    assert is_told_to_its_end, "a cancellation that nobody gave ended the test"


@on_asyncio
async def test_a_cancellation_leaked_by_the_question_for_the_uptime_does_not_end_the_watch_for_restarts() -> None:
    policies = Policies(sessions=SessionPolicy(poll_connected=100_000.0))
    async with running(records("a"), policies=policies, gateway_of=WildGateway) as house:
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(100)
        wild(house).wild["health", ""].append(asyncio.CancelledError("a library's own"))
        house.events.lose()
        await anyio.sleep(100)
        house.gateway.restart()
        house.events.lose()
        await anyio.sleep(100)
        assert house.gateway.session("a-number").starts == 2
        assert all_run(house)


async def test_a_question_for_the_uptime_that_hangs_does_not_end_the_watch_for_restarts() -> None:
    policies = Policies(sessions=SessionPolicy(poll_connected=100_000.0))

    class HangingOnce(FakeGateway):
        hangs = False

        async def health(self) -> GatewayHealth:
            if self.hangs:
                self.hangs = False
                await anyio.sleep_forever()
            return await super().health()

    async with running(records("a"), policies=policies, gateway_of=HangingOnce) as house:
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(100)
        assert isinstance(house.gateway, HangingOnce)
        house.gateway.hangs = True
        house.events.lose()
        await anyio.sleep(3000)
        assert not house.gateway.hangs
        house.gateway.restart()
        house.events.lose()
        await anyio.sleep(600)
        assert house.gateway.session("a-number").starts == 2
        assert all_run(house)


async def test_a_closed_session_is_not_said_to_run_while_the_question_for_the_uptime_hangs() -> None:
    async with running(records("a", "b")) as house:
        await house.until(lambda: all_run(house))
        await anyio.sleep(100)
        house.gateway.hold("health")
        house.gateway.session("a-number").end()
        await anyio.sleep(1000)
        assert house.gateway.session("a-number").starts == 2
        assert all_run(house)


async def test_a_close_that_a_changed_record_calls_for_is_not_forgotten_when_it_changes_again_meanwhile() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.is_up = False
        house.rooms[MAIN].feed.look_at_all()
        await house.until_state("a", State.HELD)
        house.wish.put("a", record("a", proxy=PROXY))
        await anyio.sleep(10)
        house.wish.put("a", record("a", proxy=PROXY, token="fresh"))
        await anyio.sleep(10)
        house.gateway.is_up = True
        await house.until_state("a", State.RUNNING)
        session = house.gateway.session("a-number")
        assert (session.closes, session.starts) == (1, 2)
        assert session.options.proxy is not None, "the browser still uses the old proxy"


async def test_a_close_that_a_changed_record_calls_for_is_tried_again_when_it_fails() -> None:
    async with running(records("a"), gateway_of=WildGateway) as house:
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(100)
        wild(house).wild["close", "a-number"].append(GatewayAnswerError("500"))
        house.wish.put("a", record("a", proxy=PROXY))
        await anyio.sleep(600)
        assert house.states()["a"] is State.RUNNING
        assert house.gateway.session("a-number").options.proxy is not None, "the browser still uses the old proxy"


async def test_a_restart_is_not_lost_when_the_session_fails_in_that_very_moment() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await anyio.sleep(100)
        house.gateway.hold("report")
        polls = house.gateway.calls["report"]
        house.rooms[MAIN].feed.look_at_all()
        await house.gateway.until(lambda: house.gateway.calls["report"] > polls)
        await anyio.sleep(1)
        house.gateway.fail_next("report", TokenRefusedError("scripted"))
        house.gateway.release("report")  # it fails as soon as its task runs, which it does not before the restart
        is_accepted, _ = house.supervisor._keepers[IntegrationId("a")].restart("now")
        assert is_accepted
        await anyio.sleep(100)
        assert [each for each in house.all_told(Trouble) if each.where == "keeper"] == []
        assert house.gateway.session("a-number").closes == 1
        assert house.states()["a"] is State.RUNNING


async def test_one_that_starts_is_not_kept_waiting_by_the_many_that_are_watched() -> None:
    names = [f"s{number}" for number in range(60)]

    def slow(house: House) -> None:
        wild(house).latency = 0.25
        for name in names:
            house.gateway.session(f"{name}-number").connect()

    async with running(records(*names), gateway_of=WildGateway, prepare=slow) as house:
        await house.until(lambda: all_run(house))
        await anyio.sleep(600)
        session, began = house.gateway.session("s0-number"), anyio.current_time()
        session.starts_in = 10.0
        house.commands.issue("restart", IntegrationId("s0"))
        await house.until(lambda: session.starts == 1)
        await house.until_state("s0", State.RUNNING)
        assert anyio.current_time() - began < 30
