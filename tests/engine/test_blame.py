"""Whose fault it is: the gateway's when its sessions fail together, and not when a few of them fail by themselves."""

from __future__ import annotations

import math

import anyio
import pytest

from tests.engine.harness import House, Policies, message, records, running
from tests.engine.test_life import WildGateway, all_run
from wa_supervisor.domain.errors import GatewayAnswerError, GatewayTimeoutError, TokenRefusedError
from wa_supervisor.domain.evidence import Evidence, sureness
from wa_supervisor.domain.gateway import SessionAccess, SessionReport
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import GatewayChanged, SessionMoved
from wa_supervisor.engine.policies import SessionPolicy

pytestmark = pytest.mark.anyio


class SickGateway(WildGateway):
    """A gateway that fails some sessions for as long as they are ill, or keeps everybody waiting."""

    def __init__(self, name: GatewayName) -> None:
        super().__init__(name)
        self.ill: set[str] = set()
        self.error: Exception = GatewayAnswerError("500")
        self.hangs = False

    async def report(self, access: SessionAccess) -> SessionReport:
        """Fail, keep waiting, or answer."""
        if self.hangs:
            await anyio.sleep(30)
            raise GatewayTimeoutError("no answer in 30 s")
        if access.session in self.ill:
            raise self.error
        return await super().report(access)


def sick(house: House) -> SickGateway:
    """Give the gateway."""
    assert isinstance(house.gateway, SickGateway)
    return house.gateway


def closures(house: House) -> list[str]:
    """Give why the gate closed, each time."""
    return [told.message for told in house.all_told(GatewayChanged) if told.what == "gate_closed"]


async def test_three_sessions_that_fail_by_themselves_hold_the_others_up_once_and_are_named() -> None:
    names = [f"s{number}" for number in range(6)]
    async with running(records(*names), gateway_of=SickGateway) as house:
        await house.until(lambda: all_run(house))
        sick(house).ill = {f"{name}-number" for name in names[:3]}
        await anyio.sleep(7200)
        assert len(closures(house)) <= 2
        assert all(f"({', '.join(names[:3])})" in why for why in closures(house))
        assert {house.states()[name] for name in names[3:]} == {State.RUNNING}
        held = [told for told in house.all_told(SessionMoved) if told.transition.source is State.HELD]
        assert sum(told.transition.lasted for told in held if told.integration in names[3:]) < 200
        assert all(house.status(name).attempt > 3 for name in names[:3]), "they back off on their own"


@pytest.mark.parametrize("sessions", [3, 20, 100])
async def test_a_gateway_whose_answers_never_come_is_blamed_however_many_sessions_it_has(sessions: int) -> None:
    names = [f"s{number:03}" for number in range(sessions)]
    async with running(records(*names), gateway_of=SickGateway) as house:
        await house.until(lambda: all_run(house))
        sick(house).hangs = True
        began = anyio.current_time()
        await house.until(lambda: bool(closures(house)))
        assert anyio.current_time() - began < 300
        assert {told.why for told in house.all_told(GatewayChanged) if told.what == "gate_closed"} == {
            "sessions_failed"
        }
        await house.until(lambda: set(house.states().values()) == {State.HELD})
        sick(house).hangs = False
        await house.until(lambda: all_run(house))
        assert all(status.failures < 1 for status in house.supervisor.statuses())


async def test_a_gateway_that_fails_all_of_its_three_sessions_is_blamed_again_and_again() -> None:
    async with running(records("a", "b", "c"), gateway_of=SickGateway) as house:
        await house.until(lambda: all_run(house))
        sick(house).ill = {"a-number", "b-number", "c-number"}
        await anyio.sleep(3600)
        assert len(closures(house)) >= 3
        sick(house).ill = set()
        await house.until(lambda: all_run(house))


async def test_a_crash_in_quarantine_ends_neither_the_quarantine_nor_anybody_else() -> None:
    def refused(house: House) -> None:
        sick(house).ill, sick(house).error = {"a-number"}, TokenRefusedError("no")

    async with running(records("a", "b"), gateway_of=SickGateway, prepare=refused) as house:
        await house.until_state("a", State.QUARANTINED)
        await house.until_state("b", State.RUNNING)
        house.inbox.fail_next("hand_over", RuntimeError("a bug"), times=3)
        await house.events.emit("received-message", message("a-number", "hello"))
        await anyio.sleep(4000)
        assert house.states() == {"a": State.QUARANTINED, "b": State.RUNNING}
        house.wish.records = {"b": records("b")["b"]}
        house.wish.ring()
        await house.until(lambda: "a" not in house.states())


async def test_a_probe_that_fails_goes_back_at_once() -> None:
    policies = Policies(sessions=SessionPolicy(budget=3.0))

    def buggy(house: House) -> None:
        sick(house).ill, sick(house).error = {"a-number"}, RuntimeError("a bug")

    async with running(records("a", "b"), policies=policies, gateway_of=SickGateway, prepare=buggy) as house:
        await house.until_state("a", State.QUARANTINED)
        await house.until(lambda: house.status("a").reason == "Probing")
        await house.until_state("a", State.QUARANTINED)
        steps = [told.transition for told in house.all_told(SessionMoved) if told.integration == "a"]
        probe = next(number for number, step in enumerate(steps) if step.cause == "probe")
        assert [step.target for step in steps[probe:]] == [State.PENDING, State.STARTING, State.QUARANTINED]
        sick(house).ill = set()
        await house.until_state("a", State.RUNNING)


def test_any_number_of_pieces_of_evidence_has_a_sureness() -> None:
    much = Evidence(pages_gone=10**6, silent_sends=10**6, silence=1e9, rate=1.0)
    assert math.isclose(sureness(much), 1.0)
