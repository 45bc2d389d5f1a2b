"""The operator's record: every key, every mistake, and that secrets stay secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.domain.strategies import json_values, mutated, patient
from wa_supervisor.domain.gateway import Proxy
from wa_supervisor.domain.integration import (
    MAX_RECORD_BYTES,
    Defaults,
    Integration,
    InvalidIntegration,
    read_integration,
)
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName

MAIN = GatewayName("main")
DEFAULTS = Defaults(gateways=frozenset({MAIN, GatewayName("second")}), gateway=MAIN)
PROXY = {"url": "http://10.0.0.1:3128", "username": "user", "password": "pass"}
EVERY_KEY: dict[str, object] = {
    "agent_id": "agent-1",
    "session": "acme",
    "gateway": "second",
    "token": "$2b$10$tokentoken",
    "paused": True,
    "pause_reason": "holidays",
    "phone": "5511988887777",
    "proxy": PROXY,
    "typing": False,
    "integration_type": "whatsapp",
}


def read(fields: object, defaults: Defaults = DEFAULTS, name: str = "i-1") -> Integration | InvalidIntegration:
    """Read a record."""
    return read_integration(name, json.dumps(fields).encode(), defaults)


def record(**fields: Any) -> dict[str, object]:  # noqa: ANN401  # any field of any type
    """Give a record with these fields beside the two that it must have; `...` removes one."""
    given = {"agent_id": "agent-1", "session": "acme", **fields}
    return {key: part for key, part in given.items() if part is not ...}


def good(fields: dict[str, object], defaults: Defaults = DEFAULTS) -> Integration:
    """Read a record that can be followed."""
    result = read(fields, defaults)
    assert isinstance(result, Integration), result
    return result


def mistake(fields: dict[str, object], defaults: Defaults = DEFAULTS) -> str:
    """Read a record that cannot be followed, and give what it says."""
    result = read(fields, defaults)
    assert isinstance(result, InvalidIntegration), result
    assert result.reason == "InvalidRecord"
    return result.message


def test_record_of_two_keys_is_enough() -> None:
    integration = good(record())
    assert integration == Integration(
        id=IntegrationId("i-1"),
        agent_id=AgentId("agent-1"),
        session=SessionName("acme"),
        gateway=MAIN,
        revision=integration.revision,
    )
    assert integration.typing
    assert not integration.paused


def test_every_key_is_read() -> None:
    result = read(EVERY_KEY)
    assert isinstance(result, Integration)
    assert result == Integration(
        id=IntegrationId("i-1"),
        agent_id=AgentId("agent-1"),
        session=SessionName("acme"),
        gateway=GatewayName("second"),
        token="$2b$10$tokentoken",
        paused=True,
        pause_reason="holidays",
        phone="5511988887777",
        proxy=Proxy(url="http://10.0.0.1:3128", username="user", password="pass"),
        typing=False,
        revision=result.revision,
    )
    assert result.claim == ("second", "acme")


def test_record_of_the_hub_is_read() -> None:
    result = read({"agent_id": "agent-1", "integration_type": "whatsapp", "sessionName": "acme", "token": "t"})
    assert isinstance(result, Integration)
    assert (result.session, result.token) == ("acme", "t")


@pytest.mark.parametrize("alias", ["session", "sessionName", "session_name"])
def test_session_has_three_names(alias: str) -> None:
    assert good(record(**{"session": ..., alias: "other"})).session == "other"


def test_session_under_two_names_must_be_one() -> None:
    assert good(record(sessionName="acme", session_name="acme")).session == "acme"
    assert mistake(record(sessionName="other")).startswith("sessionName: given twice")


@pytest.mark.parametrize("key", [key for key in EVERY_KEY if key not in {"agent_id", "session"}])
def test_null_is_the_same_as_leaving_a_key_out(key: str) -> None:
    with_null, without = good(record(**{key: None})), good(record())
    assert with_null.revision != without.revision
    assert with_null == good(record(**{key: None}))
    assert (with_null.gateway, with_null.typing, with_null.paused) == (without.gateway, without.typing, without.paused)
    assert (with_null.token, with_null.phone, with_null.proxy) == (None, None, None)


def test_session_and_gateway_may_come_from_the_defaults() -> None:
    defaults = Defaults(gateways=frozenset({MAIN}), gateway=MAIN, session=SessionName("only"))
    assert good(record(session=...), defaults).claim == ("main", "only")
    assert good(record(session="own"), defaults).claim == ("main", "own")


@pytest.mark.parametrize("value", [..., None])
@pytest.mark.parametrize("key", ["agent_id", "session", "gateway"])
def test_missing_key_is_named(key: str, value: object) -> None:
    message = mistake(record(**{"gateway": "main", key: value}), Defaults(gateways=frozenset({MAIN})))
    assert message.startswith(f"{key}: missing")


WRONG: dict[str, list[object]] = {
    "agent_id": ["", " ", 5, [], {}, True, "x" * 201, "a\nb", "a\x00b"],
    "session": ["", 5, [], {}, "x" * 41, "a b", "a:b", "../a", "caf\u00e9", "acme\n"],
    "gateway": ["", 5, [], {}, "x" * 41, "a b", "http://main"],
    "token": ["", " ", 5, [], {}, "a b", "caf\u00e9", "x" * 501, "token\n"],
    "paused": ["yes", 1, 0, "true", [], {}],
    "pause_reason": [5, [], {}, True, "x" * 501],
    "phone": ["", 5511988887777, "+5511988887777", "123456", "1" * 16, "\u0661" * 10, [], {}],
    "proxy": ["http://10.0.0.1:3128", 5, [], True],
    "typing": ["no", 1, [], {}],
    "integration_type": ["telegram", "", 5, [], {}, "WhatsApp"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_wrong_value_names_its_key_and_what_would_be_right(key: str, value: object) -> None:
    message = mistake(record(**{key: value}))
    assert message.startswith(f"{key}: must be")
    assert len(message) < 200


def test_every_key_has_wrong_values_here() -> None:
    assert WRONG.keys() == EVERY_KEY.keys()


@pytest.mark.parametrize(
    ("proxy", "start"),
    [
        ({}, "proxy.url: must be"),
        ({"url": None}, "proxy.url: must be"),
        ({"url": ""}, "proxy.url: must be"),
        ({"url": "http://a b"}, "proxy.url: must be"),
        ({"url": "http://user:hunter2@10.0.0.1"}, "proxy.url: must be"),
        ({"url": "x" * 501}, "proxy.url: must be"),
        ({"url": 5}, "proxy.url: not understood"),
        ({**PROXY, "password": 5}, "proxy.password: not understood"),
        ({**PROXY, "user": "x"}, "proxy.user: not understood"),
        ({**PROXY, "x" * 5000: "x"}, "proxy.xxx"),
    ],
)
def test_wrong_proxy_names_its_key(proxy: object, start: str) -> None:
    message = mistake(record(proxy=proxy))
    assert message.startswith(start)
    assert "hunter2" not in message
    assert len(message) < 200


def test_proxy_may_be_an_address_alone() -> None:
    assert good(record(proxy={"url": "10.0.0.1:3128"})).proxy == Proxy(url="10.0.0.1:3128")
    assert good(record(proxy={**PROXY, "username": None, "password": None})).proxy == Proxy(url="http://10.0.0.1:3128")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("pausd", "paused"),
        ("agentid", "agent_id"),
        ("sesion", "session"),
        ("sessionname", "session_name"),
        ("tokn", "token"),
    ],
)
def test_misspelt_key_is_named_with_the_one_that_was_meant(key: str, meant: str) -> None:
    assert mistake(record(**{key: True})) == f"{key}: no such key; did you mean {meant!r}?"


def test_unknown_key_is_named_with_the_known_ones() -> None:
    message = mistake(record(zzz=None))
    assert message.startswith("zzz: no such key; known: agent_id, ")
    assert all(key in message for key in EVERY_KEY)


@pytest.mark.parametrize("key", ["x" * 5000, "a\nb\x1b[31m", "\u2028"])
def test_monstrous_key_is_shown_in_part_and_in_print(key: str) -> None:
    message = mistake(record(**{key: 1}))
    assert len(message) < 250
    assert message.isprintable()


def test_gateway_that_is_not_configured_is_named_with_those_that_are() -> None:
    result = read({"agent_id": "agent-1", "session": "acme", "gateway": "third"})
    assert isinstance(result, InvalidIntegration)
    assert (result.reason, result.agent_id) == ("UnknownGateway", "agent-1")
    assert result.message == "gateway: no gateway 'third' is configured; known: main, second"
    none = read({"agent_id": "a", "session": "s", "gateway": "g"}, Defaults(gateways=frozenset()))
    assert isinstance(none, InvalidIntegration)
    assert none.message.endswith("known: none")


NO_OBJECTS = {
    "nothing": (b"", "the record is not JSON"),
    "a word": (b"acme", "the record is not JSON"),
    "half an object": (b'{"agent_id": "a"', "the record is not JSON"),
    "no UTF-8": (b'{"agent_id": "\xff"}', "the record is not JSON"),
    "deeper than Python recurses": (b"[" * 5000 + b"]" * 5000, "the record is nested too deeply"),
    "null": (b"null", "the record must be a JSON object"),
    "a list": (b'["acme"]', "the record must be a JSON object"),
    "too long": (b" " * (MAX_RECORD_BYTES + 1), "the record has 16385 bytes; at most 16384 are read"),
}


@pytest.mark.parametrize("what", NO_OBJECTS)
def test_record_that_is_no_object_says_so(what: str) -> None:
    record, message = NO_OBJECTS[what]
    result = read_integration("i-1", record, DEFAULTS)
    assert isinstance(result, InvalidIntegration)
    assert (result.id, result.reason, result.agent_id) == ("i-1", "InvalidRecord", None)
    assert result.message.startswith(message)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\ud83d", "x" * 201])
def test_id_that_cannot_be_shown_is_a_mistake_too(name: str) -> None:
    result = read({"agent_id": "agent-1", "session": "acme"}, name=name)
    assert isinstance(result, InvalidIntegration)
    assert result.id == name
    assert result.message.startswith("id: must be")


def test_agent_of_an_invalid_record_is_known_where_it_can_be() -> None:
    for agent, known in (("agent-1", "agent-1"), ("a\nb", None), (" ", None), (5, None), ("x" * 201, None)):
        result = read({"agent_id": agent, "session": "a b"})
        assert isinstance(result, InvalidIntegration)
        assert result.agent_id == known


def test_revision_changes_with_the_record_also_of_an_invalid_one() -> None:
    records = [b'{"agent_id": "a", "session": "s"}', b'{"agent_id": "a", "session": "t"}', b"{", b"{{"]
    revisions = [read_integration("i-1", record, DEFAULTS).revision for record in records]
    assert len(set(revisions)) == 4
    assert revisions == [read_integration("i-2", record, DEFAULTS).revision for record in records]
    assert all(revisions)


SECRETS = st.text("ABCDEFGHJKLMNPQRSTUVWXYZ", min_size=12, max_size=20)


@given(token=SECRETS, password=SECRETS, phone=st.text("123456789", min_size=10, max_size=15))
@patient
def test_secret_is_never_in_the_repr_of_an_integration(token: str, password: str, phone: str) -> None:
    integration = good(record(token=token, phone=phone, proxy={**PROXY, "password": password}))
    assert integration.token == token
    for secret in (token, password, phone):
        assert secret not in repr(integration)


@given(secret=SECRETS, wrong=st.sampled_from(["session", "gateway", "paused", "proxy", "zzz", "agent_id"]))
@patient
def test_secret_is_never_in_what_a_mistake_says(secret: str, wrong: str) -> None:
    beside = {"token": secret, "proxy": {**PROXY, "password": secret}}
    results = [
        read({"agent_id": "agent-1", "session": "acme", **beside, wrong: 5}),
        read({"agent_id": "agent-1", "session": "acme", "token": f"{secret} "}),
        read({"agent_id": "agent-1", "session": "acme", "token": [secret]}),
        read({"agent_id": "agent-1", "session": "acme", "proxy": {**PROXY, "password": [secret]}}),
        read({"agent_id": "agent-1", "session": "acme", "proxy": {"url": f"http://u:{secret}@host"}}),
        read({"agent_id": "agent-1", "session": "acme", "proxy": secret}),
        read_integration("i-1", f'{{"token": "{secret}", "x": }}'.encode(), DEFAULTS),
        read_integration("i-1", f'{{"token": "{secret}'.encode(), DEFAULTS),
    ]
    for result in results:
        assert isinstance(result, InvalidIntegration)
        assert secret not in repr(result)
        assert secret not in result.message


RECORDS = [EVERY_KEY, {"agent_id": "a", "session": "s"}, {"agent_id": "a", "sessionName": "s", "session_name": "s"}]


@given(
    record=st.binary() | (json_values | mutated(RECORDS)).map(lambda value: json.dumps(value).encode()), name=st.text()
)
@patient
def test_any_bytes_never_raise_and_give_an_integration_or_its_mistake(record: bytes, name: str) -> None:
    result = read_integration(name, record, DEFAULTS)
    assert isinstance(result, Integration | InvalidIntegration)
    assert result.id == name
    assert result.revision
    if isinstance(result, Integration):
        assert result.gateway in DEFAULTS.gateways
    else:
        assert result.message.isprintable()


@given(key=st.text(min_size=1), value=json_values)
@patient
def test_key_that_is_not_in_the_table_is_never_overlooked(key: str, value: object) -> None:
    assume(key not in EVERY_KEY and key not in {"sessionName", "session_name"})
    assume(key.encode("utf-8", "ignore").decode() == key)
    record = json.dumps({"agent_id": "a", "session": "s", key: value}).encode()
    result = read_integration("i-1", record, DEFAULTS)
    assert isinstance(result, InvalidIntegration)
    assert result.reason == "InvalidRecord"
