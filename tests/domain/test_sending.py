"""What became of a send, for every answer that a gateway gives.

Telling "certainly not sent" from "nobody knows" is what keeps a person from getting a message twice.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.samples import SAMPLES, payload
from tests.domain.strategies import json_values, mutated, nested, patient
from wa_supervisor.domain.names import AgentId, StanzaId
from wa_supervisor.domain.sending import NotSent, Repeat, SendOutcome, Sent, Unknown, outcome_of_answer, stanza_for


def sent(*stanzas: str, acknowledged: bool) -> Sent:
    """Give the outcome of a send that the gateway took."""
    return Sent(stanzas=tuple(StanzaId(stanza) for stanza in stanzas), acknowledged=acknowledged)


def success(*models: object) -> dict[str, object]:
    """Give the body of a success that names `models`."""
    return {"status": "success", "response": list(models), "mapper": "return", "session": "acme"}


def model(stanza: str = "3EB0A5", **fields: Any) -> dict[str, object]:  # noqa: ANN401  # JSON of any shape
    """Give a sent message as the gateway names it."""
    return {"id": f"true_5511900000077@c.us_{stanza}_out", "type": "chat", **fields}


@pytest.mark.parametrize("ack", [1, 2, 3, 4, 1.0])
@pytest.mark.parametrize("status", [200, 201])
def test_success_with_an_ack_is_sent_and_acknowledged(status: int, ack: float) -> None:
    assert outcome_of_answer(status, success(model(ack=ack))) == sent("3EB0A5", acknowledged=True)


@pytest.mark.parametrize("ack", [0, None, "1", True, float("nan"), [], {}])
def test_success_without_an_ack_is_sent_and_waits_for_it(ack: object) -> None:
    assert outcome_of_answer(201, success(model(ack=ack))) == sent("3EB0A5", acknowledged=False)


def test_success_may_be_one_message_instead_of_a_list() -> None:
    outcome = outcome_of_answer(201, {"response": payload("edited-message-01")})
    assert outcome == sent("3EB0A5", acknowledged=True)


def test_id_of_a_sent_message_may_be_an_object() -> None:
    outcome = outcome_of_answer(201, success({"id": payload("onack-05")["id"], "ack": 0}))
    assert outcome == sent("3EB0A5", acknowledged=False)


def test_success_with_several_messages_is_acknowledged_once_all_are() -> None:
    outcome = outcome_of_answer(201, success(model("A1", ack=1), model("A2", ack=0)))
    assert outcome == sent("A1", "A2", acknowledged=False)


def test_acknowledged_message_without_a_readable_id_is_sent() -> None:
    assert outcome_of_answer(201, success({"ack": 1})) == Sent(stanzas=(), acknowledged=True)


def test_ack_of_an_error_is_not_taken_for_proof_of_anything() -> None:
    outcome = outcome_of_answer(201, success(model("A1", ack=1), model("A2", ack=-1)))
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "AckError"
    assert outcome.has_ended


def test_success_with_an_empty_list_sent_nothing() -> None:
    outcome = outcome_of_answer(201, payload("http-send-message-02"))
    assert isinstance(outcome, NotSent)
    assert (outcome.reason, outcome.repeat) == ("NothingSent", Repeat.NEVER)
    assert isinstance(outcome_of_answer(201, {"response": {}}), NotSent)


@pytest.mark.parametrize(
    "body",
    [
        None,
        "<html>",
        [],
        [model(ack=1)],
        {},
        {"response": None},
        {"response": "sent"},
        {"response": False},
        {"response": [None, "x", 5]},
        {"response": [{}]},
        {"response": [{"id": "not an id", "ack": 0}]},
    ],
)
def test_success_that_names_no_message_is_unknown(body: object) -> None:
    outcome = outcome_of_answer(201, body)
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "UnreadableAnswer"
    assert outcome.has_ended


@pytest.mark.parametrize(
    "body",
    [
        # As the gateway's middleware answers.
        {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."},
        {"status": "DISCONNECTED"},
        {"message": "Disconnected"},
    ],
)
def test_disconnected_session_sent_nothing_and_may_try_once_connected(body: object) -> None:
    outcome = outcome_of_answer(404, body)
    assert isinstance(outcome, NotSent)
    assert (outcome.reason, outcome.repeat) == ("Disconnected", Repeat.WHEN_CONNECTED)


@pytest.mark.parametrize(
    "body", [None, {}, {"status": "error", "message": "Message not found"}, {"status": ["Disconnected"]}]
)
def test_other_404_is_unknown(body: object) -> None:
    assert isinstance(outcome_of_answer(404, body), Unknown)


@pytest.mark.parametrize("name", ["http-error-01", "http-error-02"])
def test_refused_token_sent_nothing_and_would_be_refused_again(name: str) -> None:
    outcome = outcome_of_answer(401, payload(name))
    assert isinstance(outcome, NotSent)
    assert (outcome.reason, outcome.repeat) == ("Http401", Repeat.NEVER)


@pytest.mark.parametrize("status", [413, 414, 431])
def test_too_large_a_message_sent_nothing_and_would_be_refused_again(status: int) -> None:
    assert outcome_of_answer(status, None) == NotSent(
        reason=f"Http{status}", message=f"the gateway answered {status}", repeat=Repeat.NEVER
    )


def test_asked_to_slow_down_sent_nothing_and_may_try_later() -> None:
    outcome = outcome_of_answer(429, "Too many requests")
    assert isinstance(outcome, NotSent)
    assert outcome.repeat is Repeat.LATER


def test_number_that_does_not_exist_is_no_proof_because_the_send_goes_ahead() -> None:
    outcome = outcome_of_answer(
        400, {"response": None, "status": "Connected", "message": "O número 5511900000077 não existe."}
    )
    assert outcome == Unknown(reason="Http400", message="O número 5511900000077 não existe.", has_ended=True)


@pytest.mark.parametrize("name", ["http-error-05", "http-error-08"])
def test_failure_of_the_server_is_unknown(name: str) -> None:
    assert isinstance(outcome_of_answer(500, payload(name)), Unknown)


@pytest.mark.parametrize("status", [100, 204, 301, 400, 403, 404, 405, 408, 500, 501, 502, 503, 504, 599])
def test_answer_that_proves_nothing_is_unknown(status: int) -> None:
    # 502, 503 and 504 are a proxy's words: behind it the call may go on.
    assert outcome_of_answer(status, None) == Unknown(
        reason=f"Http{status}", message=f"the gateway answered {status}", has_ended=status not in {502, 503, 504}
    )


def test_long_message_of_a_gateway_is_cut() -> None:
    outcome = outcome_of_answer(500, {"message": "x" * 5000})
    assert isinstance(outcome, Unknown)
    assert len(outcome.message) == 200


HTTP = {name: sample for name, sample in SAMPLES.items() if name.startswith("http-")}


@pytest.mark.parametrize("name", HTTP)
def test_every_recorded_answer_has_an_outcome_and_none_passes_for_a_send(name: str) -> None:
    found = re.search(r"-> (\d{3})", HTTP[name].event)
    for status in {int(found[1]) if found else 200, 200, 201, 400, 401, 404, 500}:
        outcome = outcome_of_answer(status, HTTP[name].payload)
        assert isinstance(outcome, SendOutcome)
        if status >= 400:
            assert not isinstance(outcome, Sent)


BODIES = st.one_of(
    json_values,
    mutated([success(model(ack=1), model(ack=0)), payload("http-send-message-02")]),
    json_values.map(lambda sent: {"response": sent}),
)


@given(status=st.integers(100, 599), body=BODIES)
@patient
def test_any_answer_has_an_outcome_and_only_success_can_be_sent(status: int, body: object) -> None:
    outcome = outcome_of_answer(status, body)
    assert isinstance(outcome, SendOutcome)
    assert not isinstance(outcome, Sent) or status in {200, 201}
    assert not (isinstance(outcome, NotSent) and status >= 500)
    if isinstance(outcome, Sent):
        assert outcome.stanzas or outcome.acknowledged


def test_answer_nested_deeper_than_python_recurses_has_an_outcome() -> None:
    for wrap in (
        lambda inner: [inner],
        lambda inner: {"response": [inner], "id": inner, "ack": inner, "status": inner},
    ):
        deep = nested(wrap)
        for status in (201, 404, 500):
            for body in (deep, {"response": deep}, success({"id": deep, "ack": deep})):
                assert isinstance(outcome_of_answer(status, body), SendOutcome)


def test_name_of_a_message_depends_on_its_agent_and_its_entry_alone() -> None:
    names = {stanza_for(AgentId(agent), entry) for agent in ("a", "b") for entry in ("1-0", "1-1", "1-0")}
    assert len(names) == 4
    assert stanza_for(AgentId("a"), "1-0") in names
    assert stanza_for(AgentId("a1"), "-0") != stanza_for(AgentId("a"), "1-0")


@given(agent=st.text(), entry=st.text())
@patient
def test_name_of_a_message_looks_like_one_of_whatsapps(agent: str, entry: str) -> None:
    name = stanza_for(AgentId(agent), entry)
    assert re.fullmatch(r"3EB0[0-9A-F]{18}", name)
    assert name == stanza_for(AgentId(agent), entry)
