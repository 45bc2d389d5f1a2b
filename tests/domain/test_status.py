"""The status as readers get it: JSON out, the same value in."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.strategies import patient
from wa_supervisor.domain.dead_letters import DeadLetter
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.status import (
    STATUS_SCHEMA,
    Blocker,
    CommandResult,
    DaemonStatus,
    LoginOffer,
    SessionStatus,
    Traffic,
    Transition,
    is_stale,
)

TIMES = st.floats(min_value=0, max_value=4e9)
TRANSITIONS = st.builds(
    Transition,
    at=TIMES,
    source=st.sampled_from(State),
    target=st.sampled_from(State),
    cause=st.text(),
    reason=st.text(),
    message=st.text(),
    attempt=st.integers(0, 1000),
    lasted=TIMES,
)
BLOCKERS = st.builds(Blocker, name=st.text(), since=TIMES, message=st.text(), until=st.none() | TIMES)
STATUSES = st.builds(
    SessionStatus,
    id=st.text().map(IntegrationId),
    agent_id=st.none() | st.text().map(AgentId),
    session=st.none() | st.text().map(SessionName),
    gateway=st.none() | st.text().map(GatewayName),
    state=st.sampled_from(State),
    reason=st.text(),
    message=st.text(),
    since=TIMES,
    next_attempt_at=st.none() | TIMES,
    traffic=st.builds(Traffic, messages_in=st.integers(0, 10**12), last_in_at=st.none() | TIMES),
    observed_at=TIMES,
    last_command=st.none()
    | st.builds(CommandResult, id=st.text(), verb=st.text(), at=TIMES, accepted=st.booleans(), message=st.text()),
    failures=TIMES,
    blockers=st.lists(BLOCKERS, max_size=3).map(tuple),
    fence=st.none() | st.integers(0, 10**12),
    transitions=st.lists(TRANSITIONS, max_size=3),
)


def status(**fields: object) -> SessionStatus:
    """Give a status with these fields beside what it must have."""
    least: dict[str, object] = {
        "id": "i-1",
        "agent_id": "agent-1",
        "session": "acme",
        "gateway": "main",
        "state": State.RUNNING,
        "reason": "Connected",
        "message": "connected",
        "since": 1000.0,
    }
    return msgspec.convert({**least, **fields}, SessionStatus)


@given(one=STATUSES)
@patient
def test_status_is_the_same_after_json(one: SessionStatus) -> None:
    assert msgspec.json.decode(msgspec.json.encode(one), type=SessionStatus) == one


def test_status_of_no_transitions_is_written_again_as_it_was() -> None:
    written = msgspec.json.encode(status())
    assert msgspec.json.encode(msgspec.json.decode(written, type=SessionStatus)) == written


def test_json_of_a_status_has_every_field_and_its_schema() -> None:
    fields = json.loads(msgspec.json.encode(status()))
    assert fields.keys() == set(SessionStatus.__struct_fields__)
    assert fields["schema"] == STATUS_SCHEMA
    assert fields["state"] == "running"
    assert fields["traffic"].keys() == set(Traffic.__struct_fields__)


def test_reader_of_this_schema_is_not_disturbed_by_fields_of_a_later_one() -> None:
    fields = {**json.loads(msgspec.json.encode(status())), "mood": "fine"}
    assert msgspec.json.decode(json.dumps(fields), type=SessionStatus) == status(transitions=[])


@pytest.mark.parametrize(("now", "stale"), [(1000.0, False), (1060.0, False), (1060.1, True), (900.0, False)])
def test_status_past_its_ttl_is_stale(now: float, stale: bool) -> None:
    assert is_stale(status(observed_at=1000.0, ttl=60.0), now) is stale


def test_daemon_dead_letter_and_login_are_the_same_after_json() -> None:
    daemon = DaemonStatus(
        id="d-1",
        host="h",
        pid=1,
        version="0",
        started_at=1.0,
        observed_at=2.0,
        ready=True,
        sessions=1,
        by_state={"running": 1},
        missing=["no database"],
    )
    letter = DeadLetter(
        at=1.0, direction="out", reason="NoChat", message="m", is_unknown=False, attempts=0, agent_id=None
    )
    login = LoginOffer(kind="qr", data="2@qr", offered_at=1.0)
    for value in (daemon, letter, login):
        assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value


def test_repr_of_a_login_and_of_a_dead_letter_keeps_what_is_private_to_itself() -> None:
    login = LoginOffer(kind="code", data="ABCD1234", offered_at=1.0)
    letter = DeadLetter(
        at=1.0,
        direction="out",
        reason="NoText",
        message="m",
        is_unknown=False,
        attempts=0,
        agent_id=None,
        integration_id=IntegrationId("i-1"),
        payload="a private word",
    )
    assert repr(login) == "LoginOffer(kind='code', offered_at=1.0)"
    assert repr(letter) == "DeadLetter(direction='out', reason='NoText', integration='i-1')"
