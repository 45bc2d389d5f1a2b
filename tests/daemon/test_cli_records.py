"""Records as operators see and change them: secrets hidden, everything else kept."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_supervisor.cli.records import decoded, encoded, masked_record, read_change, with_keys

SECRET = "hunter2-secret"
names = st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
records = st.dictionaries(names, values, max_size=6)


def test_what_is_known_to_be_harmless_is_shown_and_nothing_else() -> None:
    record = {
        "agent_id": "a",
        "session": "s",
        "gateway": "main",
        "paused": True,
        "pause_reason": "bearer abcdef",
        "paused_until": 1790000000,
        "typing": False,
        "token": SECRET,
        "tokn": SECRET,
        "phone": "5511988887777",
        "proxy": {"url": f"http://u:{SECRET}@h:1", "username": "u", "password": SECRET, "pasword": SECRET},
    }
    assert masked_record(encoded(record)) == {
        "agent_id": "a",
        "session": "s",
        "gateway": "main",
        "paused": True,
        "pause_reason": "bearer *****",
        "paused_until": 1790000000,
        "typing": False,
        "token": "*****",
        "tokn": "*****",
        "phone": "5511*****777",
        "proxy": {"url": "http://u:*****@h:1", "username": "u", "password": "*****", "pasword": "*****"},
    }


HARMLESS = {"agent_id", "session", "sessionName", "session_name", "gateway", "pause_reason", "integration_type"}
places = st.sampled_from(["token", "phone", "proxy", "typing", "paused", "paused_until", "tokn", ""]) | names
nested = st.sampled_from([SECRET, [SECRET], {"password": SECRET}, {"url": [SECRET]}, {"x": {"url": SECRET}}])


@given(records, places.filter(lambda name: name not in HARMLESS), nested)
def test_no_secret_is_shown_wherever_it_was_misplaced(record: dict[str, object], place: str, value: object) -> None:
    shown = msgspec.json.encode(masked_record(encoded(record | {place: value}))).decode()
    assert SECRET not in shown or place in {"typing", "paused"}


@pytest.mark.parametrize("record", [b"", b"[1]", b'"hunter2"', b"\xff", b"[" * 5000])
def test_what_is_no_object_is_hidden_whole(record: bytes) -> None:
    assert masked_record(record) == "*****"


@given(records, st.dictionaries(names, values, max_size=4))
def test_a_change_sets_and_takes_out_what_it_names_and_keeps_the_rest(
    record: dict[str, object], changes: dict[str, object]
) -> None:
    changed = decoded("a", encoded(with_keys(record, changes)))
    assert {key: value for key, value in changed.items() if key in changes} == {
        key: value for key, value in changes.items() if value is not None
    }
    assert {key: value for key, value in changed.items() if key not in changes} == {
        key: value for key, value in record.items() if key not in changes
    }


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("typing=false", ("typing", False)),
        ("typing=no", ("typing", "no")),
        ("paused_until=1790000000", ("paused_until", 1790000000)),
        ("pause_reason=a=b", ("pause_reason", "a=b")),
        ("pause_reason=null", ("pause_reason", "null")),
        ("phone=123", ("phone", "123")),
        ("phone=", ("phone", None)),
        ('proxy={"url":"http://a"}', ("proxy", {"url": "http://a"})),
    ],
)
def test_values_are_json_where_the_setting_is_no_text(text: str, change: tuple[str, object]) -> None:
    assert read_change(text) == change
