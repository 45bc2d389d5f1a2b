"""From one record to the next: what of the running session stays."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wa_supervisor.domain.gateway import Proxy
from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.succession import keeps_carriage, must_close, needs_new_life, resumed

OLD = Integration(
    id=IntegrationId("i-1"),
    agent_id=AgentId("agent-1"),
    session=SessionName("acme"),
    gateway=GatewayName("main"),
    revision="1",
)
UNREADABLE = InvalidIntegration(id=OLD.id, reason="InvalidRecord", message="m", revision="2")


def new(**changes: Any) -> Integration:  # noqa: ANN401  # any field of an integration
    """Give the record that follows, with these changes."""
    return dataclasses.replace(OLD, revision="2", **changes)


ELSEWHERE = [{"session": SessionName("other")}, {"gateway": GatewayName("second")}]
HARMLESS: list[dict[str, Any]] = [{}, {"typing": False}, {"pause_reason": "later"}]


@pytest.mark.parametrize("changes", HARMLESS)
def test_change_that_the_session_does_not_feel_changes_nothing(changes: dict[str, Any]) -> None:
    assert keeps_carriage(OLD, new(**changes))
    assert not must_close(OLD, new(**changes))
    assert not needs_new_life(OLD, new(**changes), is_serving=False)


@pytest.mark.parametrize("changes", [*ELSEWHERE, {"agent_id": AgentId("agent-2")}, {"paused": True}])
def test_carriage_belongs_to_one_session_of_one_agent(changes: dict[str, Any]) -> None:
    assert not keeps_carriage(OLD, new(**changes))


@pytest.mark.parametrize("changes", [*ELSEWHERE, {"paused": True}, {"proxy": Proxy(url="http://10.0.0.1")}])
def test_browser_is_closed_where_the_old_one_cannot_serve(changes: dict[str, Any]) -> None:
    assert must_close(OLD, new(**changes))


def test_other_agent_takes_the_browser_over() -> None:
    assert not must_close(OLD, new(agent_id=AgentId("agent-2")))


def test_removed_integration_closes_its_browser_and_keeps_nothing() -> None:
    assert must_close(OLD, None)
    assert not keeps_carriage(OLD, None)


def test_record_that_became_unreadable_closes_nothing() -> None:
    assert not must_close(OLD, UNREADABLE)
    assert not keeps_carriage(OLD, UNREADABLE)


@pytest.mark.parametrize("changes", [{"token": "t"}, {"proxy": Proxy(url="http://10.0.0.1")}])
@pytest.mark.parametrize("is_serving", [True, False])
def test_other_token_or_proxy_begins_a_new_life(changes: dict[str, Any], is_serving: bool) -> None:
    assert needs_new_life(OLD, new(**changes), is_serving=is_serving)


def test_other_number_for_a_code_matters_only_before_the_login() -> None:
    assert needs_new_life(OLD, new(phone="5511988887777"), is_serving=False)
    assert not needs_new_life(OLD, new(phone="5511988887777"), is_serving=True)


def test_a_pause_that_is_over_leaves_the_record_as_if_it_had_never_been() -> None:
    assert resumed(new(paused=True, pause_reason="holidays", paused_until=1.0)) == new()
