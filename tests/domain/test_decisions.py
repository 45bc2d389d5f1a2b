"""What is done about everything that can happen: the table against its specification, line by line."""

from __future__ import annotations

import asyncio

import pytest

from wa_supervisor.domain import errors
from wa_supervisor.domain.decisions import DECISIONS, Decision, Happening, Then, gravest, happening_of
from wa_supervisor.domain.errors import PermanentError, TemporaryError, WaSupervisorError

PASSING = {
    Happening.GATEWAY_ERROR,
    Happening.GATEWAY_TIMEOUT,
    Happening.GATEWAY_GARBLED,
    Happening.SESSION_CLOSED,
    Happening.UNKNOWN_PASSING,
}
CLOSED_FIRST = {Happening.STUCK_START, Happening.BROWSER_GONE, Happening.SILENT_ZOMBIE}
NOBODY_KNOWS = {Happening.HUNG, Happening.LEAKED_CANCELLATION, Happening.UNKNOWN}
LASTING = {Happening.LOGIN_GIVEN_UP, Happening.TOKEN_REFUSED, Happening.WRONG_SECRET, Happening.UNKNOWN_LASTING}
FREE = {
    Happening.OPERATOR_RESTART,
    Happening.RECORD_CHANGED,
    Happening.RELEASED,
    Happening.GATEWAY_UNREACHABLE,
    Happening.MANY_FAILED,
    Happening.GATEWAY_RESTARTED,
    Happening.LOGIN_LOST,
    Happening.STORE_AWAY,
}


def every(root: type[WaSupervisorError]) -> list[type[WaSupervisorError]]:
    """Give an error of the domain and all below it."""
    ours = (child for child in root.__subclasses__() if child.__module__ == errors.__name__)
    return [root, *(one for child in ours for one in every(child))]


def test_every_happening_has_a_decision_and_a_place_here() -> None:
    assert set(DECISIONS) == set(Happening) == PASSING | CLOSED_FIRST | NOBODY_KNOWS | LASTING | FREE


@pytest.mark.parametrize("happening", sorted(PASSING | CLOSED_FIRST))
def test_what_passes_backs_off_costs_and_is_tried_for_ever(happening: Happening) -> None:
    decision = DECISIONS[happening]
    assert (decision.backs_off, decision.costs, decision.blames_gateway) == (True, True, True)
    assert decision.then is (Then.CLOSE_AND_AGAIN if happening in CLOSED_FIRST else Then.AGAIN)


@pytest.mark.parametrize("happening", sorted(NOBODY_KNOWS))
def test_what_nobody_knows_is_tried_within_the_budget(happening: Happening) -> None:
    expected = Decision(then=Then.AGAIN_WITHIN_BUDGET, backs_off=True, costs=True, blames_gateway=True)
    assert DECISIONS[happening] == expected


@pytest.mark.parametrize("happening", sorted(LASTING))
def test_what_does_not_pass_is_quarantined_at_once(happening: Happening) -> None:
    assert DECISIONS[happening] == Decision(then=Then.QUARANTINE)


@pytest.mark.parametrize("happening", sorted(FREE))
def test_what_is_nobodys_fault_costs_nothing(happening: Happening) -> None:
    assert not DECISIONS[happening].costs
    assert not DECISIONS[happening].blames_gateway


@pytest.mark.parametrize("happening", [Happening.GATEWAY_UNREACHABLE, Happening.MANY_FAILED])
def test_a_gateway_that_is_to_blame_holds_its_sessions(happening: Happening) -> None:
    assert DECISIONS[happening] == Decision(then=Then.HOLD)


@pytest.mark.parametrize("error", every(TemporaryError))
def test_no_temporary_error_quarantines_at_once(error: type[WaSupervisorError]) -> None:
    assert DECISIONS[happening_of(error("why"))].then is not Then.QUARANTINE


@pytest.mark.parametrize("error", [each for each in every(PermanentError) if each is not errors.ConfigurationError])
def test_every_permanent_error_quarantines_at_once(error: type[WaSupervisorError]) -> None:
    assert DECISIONS[happening_of(error("why"))].then is Then.QUARANTINE


def test_everything_else_is_unknown() -> None:
    unknown = [ValueError("a bug"), KeyError("a"), asyncio.CancelledError(), WaSupervisorError("neither")]
    assert {happening_of(error) for error in unknown} == {Happening.UNKNOWN}


def test_of_a_group_the_gravest_decides() -> None:
    passing, bug, lasting = errors.GatewayAnswerError("500"), ValueError("a bug"), errors.WrongSecretError("no")
    group = ExceptionGroup("", [passing, ExceptionGroup("", [bug])])
    assert happening_of(group) is Happening.UNKNOWN
    assert gravest(group) is bug
    worse = BaseExceptionGroup("", [group, lasting, asyncio.CancelledError()])
    assert happening_of(worse) is Happening.WRONG_SECRET
    assert gravest(worse) is lasting
    assert gravest(passing) is passing
