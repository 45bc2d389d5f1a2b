"""What the operator commands: done, or refused with the reason and what to do instead."""

from __future__ import annotations

import pytest

from tests.engine.harness import House, record, records, running
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.observations import CommandAnswered

pytestmark = pytest.mark.anyio


async def order(house: House, verb: str, name: str | None = "a") -> CommandAnswered:
    """Give a command; give the answer."""
    count = len(house.all_told(CommandAnswered))
    await house.commands.until(lambda: house.commands.listening("listen") == 1)
    house.commands.issue(verb, None if name is None else IntegrationId(name))
    return (await house.until_told(CommandAnswered, count + 1))[-1]


async def test_a_restart_closes_the_browser_and_starts_it_again() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        answer = await order(house, "restart")
        assert (answer.is_accepted, answer.message) == (True, "restarting")
        await house.until(lambda: house.gateway.session("a-number").starts == 2)
        status = await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").closes == 1
        assert status.last_command is not None
        assert status.last_command.accepted


async def test_a_quarantine_ends_by_release_and_not_by_restart() -> None:
    async with running(records("a"), prepare=lambda house: setattr(house.gateway, "has_right_secret", False)) as house:
        await house.until_state("a", State.QUARANTINED)
        answer = await order(house, "restart")
        assert not answer.is_accepted
        assert answer.message == "a is quarantined (WrongSecret): wa-supervisor release a"
        house.gateway.has_right_secret = True
        assert (await order(house, "release")).is_accepted
        await house.until_state("a", State.RUNNING)


async def test_what_is_not_quarantined_cannot_be_released() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        answer = await order(house, "release")
        assert (answer.is_accepted, answer.message) == (False, "a is not quarantined but running: connected")


async def test_what_is_kept_from_running_is_not_restarted() -> None:
    wish = {"a": record("a", paused=True), "b": b"{", "c": record("c")}
    async with running(wish) as house:
        await house.until_state("a", State.PAUSED)
        await house.until_state("b", State.INVALID)
        paused, invalid = await order(house, "restart"), await order(house, "restart", "b")
        assert not paused.is_accepted
        assert paused.message == "a is kept from running (operator): paused by the operator"
        assert not invalid.is_accepted
        assert "b is invalid" in invalid.message
        assert "not JSON" in invalid.message
        await house.until_state("c", State.RUNNING)
        house.gateway.is_up = False
        await house.until_state("c", State.HELD)
        held = await order(house, "restart", "c")
        assert not held.is_accepted
        assert "c is kept from running (gate): gateway main is away" in held.message


@pytest.mark.parametrize(
    ("verb", "name", "message"),
    [
        ("restart", "nobody", "there is no integration 'nobody'; see: wa-supervisor status"),
        ("release", None, "release needs an integration: wa-supervisor release ID"),
        ("dance", "a", "no such command: 'dance'; there are restart, release and confirm"),
        ("dance", None, "no such command: 'dance'; there are restart, release and confirm"),
    ],
)
async def test_what_cannot_be_understood_is_refused_with_what_to_do(verb: str, name: str | None, message: str) -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        answer = await order(house, verb, name)
        assert (answer.is_accepted, answer.message) == (False, message)
        assert house.states()["a"] is State.RUNNING
