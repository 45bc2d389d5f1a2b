"""The ledger's bounds and its new page."""

from __future__ import annotations

import msgspec
import pytest

from wa_supervisor.simulator.bell import Bell
from wa_supervisor.simulator.ledger import Ledger, Received, Written


@pytest.fixture
def ledger() -> Ledger:
    """Make a ledger of three entries a list whose clock stands still."""
    return Ledger(limit=3, bell=Bell(), now=lambda: 5.0)


def _received(text: str, *, kind: str = "chat", session: str = "acme", chat: str = "a@c.us") -> Received:
    return Received(session=session, chat=chat, id=text, kind=kind, text=text, route="send-message", at=1.0)


def _written(text: str) -> Written:
    return Written(
        session="acme",
        chat="a@c.us",
        person="a@c.us",
        stanza=text,
        kind="chat",
        text=text,
        from_me=False,
        emitted=True,
        at=1.0,
    )


def test_old_entries_fall_out_while_the_totals_go_on_counting(ledger: Ledger) -> None:
    for number in range(5):
        ledger.note_received(_received(str(number)))
        ledger.note_written(_written(str(number)))
    assert ledger.texts_received() == ["2", "3", "4"]
    assert [entry.text for entry in ledger.written] == ["2", "3", "4"]
    assert (ledger.received_total, ledger.written_total) == (5, 5)


def test_texts_received_can_be_narrowed_and_leave_out_what_is_no_text(ledger: Ledger) -> None:
    ledger.note_received(_received("one"))
    ledger.note_received(_received("👍", kind="reaction"))
    ledger.note_received(_received("two", session="other", chat="b@c.us"))
    assert ledger.texts_received() == ["one", "two"]
    assert ledger.texts_received("other") == ["two"]
    assert ledger.texts_received(chat="a@c.us") == ["one"]
    assert ledger.texts_received("acme", "b@c.us") == []


def test_a_new_page_keeps_the_clients_and_the_indicators_that_are_on(ledger: Ledger) -> None:
    ledger.note_client(1)
    ledger.note_client(1)
    ledger.note_client(-1)
    ledger.note_indicator("acme", "a@c.us", "typing", on=True)
    ledger.note_forbidden("start-all", "/api/x/start-all")
    ledger.note_received(_received("one"))
    ledger.note_call("healthz")
    ledger.forget()
    summary = ledger.summary()
    assert summary | {"indicators_on": None} == {
        "written_total": 0,
        "received_total": 0,
        "events_total": 0,
        "clients": 1,
        "clients_peak": 1,
        "connections_total": 0,
        "calls": {},
        "calls_of": {},
        "starts": {},
        "closes": {},
        "logouts": {},
        "unlinked": {},
        "forbidden": 0,
        "indicators_on": None,
    }
    assert summary["indicators_on"] == [{"session": "acme", "chat": "a@c.us", "kind": "typing"}]


def test_the_whole_ledger_is_json(ledger: Ledger) -> None:
    ledger.note_received(_received("one"))
    ledger.note_written(_written("two"))
    ledger.note_indicator("acme", "a@c.us", "typing", on=True)
    ledger.note_forbidden("start-all", "/api/x/start-all")
    ledger.calls_of["acme", "send-message"] += 1
    whole = msgspec.json.decode(msgspec.json.encode(ledger.as_json()))
    assert whole["received"][0]["text"] == "one"
    assert whole["written"][0]["text"] == "two"
    assert whole["indicators"][0] == {"session": "acme", "chat": "a@c.us", "kind": "typing", "on": True, "at": 5.0}
    assert whole["calls_of"] == {"acme": {"send-message": 1}}


def test_indicators_of_a_session_end_together(ledger: Ledger) -> None:
    ledger.note_indicator("acme", "a@c.us", "typing", on=True)
    ledger.note_indicator("other", "a@c.us", "recording", on=True)
    ledger.clear_indicators("acme")
    assert ledger.indicators_on == {("other", "a@c.us"): "recording"}
