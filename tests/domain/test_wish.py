"""The whole wish: who may have which session."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.strategies import patient
from wa_supervisor.domain.integration import Defaults
from wa_supervisor.domain.names import GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.wish import Claim, Wish, read_wish

DEFAULTS = Defaults(gateways=frozenset({GatewayName("g1"), GatewayName("g2")}))


def claim(text: str) -> Claim:
    """Give a claim written as `gateway/session`."""
    gateway, _, session = text.partition("/")
    return GatewayName(gateway), SessionName(session)


def wish(claims: Mapping[str, str], holders: Mapping[str, str] | None = None) -> Wish:
    """Read records with these claims, where `holders` says who holds what now; an empty claim is a bad record."""
    records = {
        name: json.dumps({"agent_id": "a", "gateway": claim(text)[0], "session": claim(text)[1]}).encode()
        for name, text in claims.items()
    }
    held = {claim(text): IntegrationId(name) for text, name in (holders or {}).items()}
    return read_wish(records, DEFAULTS, held)


def test_records_are_read_one_by_one_and_a_bad_one_harms_nobody() -> None:
    records = {"a": b'{"agent_id": "x", "session": "s1", "gateway": "g1"}', "b": b"{", "c": b"[]"}
    result = read_wish(records, DEFAULTS, {})
    assert list(result.integrations) == ["a"]
    assert {name: bad.reason for name, bad in result.invalid.items()} == {"b": "InvalidRecord", "c": "InvalidRecord"}


def test_empty_hash_is_an_empty_wish() -> None:
    assert read_wish({}, DEFAULTS, {}) == Wish(integrations={}, invalid={})


def test_second_claim_of_a_session_is_invalid_and_says_who_has_it() -> None:
    result = wish({"b": "g1/s1", "a": "g1/s1"})
    assert list(result.integrations) == ["a"]
    bad = result.invalid[IntegrationId("b")]
    assert (bad.reason, bad.agent_id) == ("SessionTaken", "a")
    assert bad.message == "session: 's1' at gateway 'g1' already belongs to 'a'"
    assert bad.revision


def test_one_session_name_at_two_gateways_is_two_sessions() -> None:
    assert not wish({"a": "g1/s1", "b": "g2/s1"}).invalid


def test_holder_keeps_its_session_whatever_it_is_called() -> None:
    result = wish({"a": "g1/s1", "z": "g1/s1"}, {"g1/s1": "z"})
    assert list(result.integrations) == ["z"]
    assert list(result.invalid) == ["a"]


@pytest.mark.parametrize(
    "claims",
    [
        {"a": "g1/s1", "z": "g1/s2"},
        {"a": "g1/s1"},
        {"a": "g1/s1", "z": "unknown/s1"},
        {"a": "g1/s1", "z": ""},
    ],
)
def test_who_no_longer_wants_or_can_have_its_session_keeps_it_from_nobody(claims: dict[str, str]) -> None:
    assert "a" in wish(claims, {"g1/s1": "z"}).integrations


def test_two_integrations_may_swap_their_sessions() -> None:
    result = wish({"a": "g1/s2", "b": "g1/s1"}, {"g1/s1": "a", "g1/s2": "b"})
    assert {name: one.session for name, one in result.integrations.items()} == {"a": "s2", "b": "s1"}
    assert not result.invalid


def test_newcomer_cannot_take_a_session_by_a_swap_that_only_it_wants() -> None:
    result = wish({"a": "g1/s2", "b": "g1/s2"}, {"g1/s1": "a", "g1/s2": "b"})
    assert list(result.integrations) == ["b"]


IDS = st.sampled_from("abcdef")
CLAIMS = st.builds("{}/{}".format, st.sampled_from(["g1", "g2"]), st.sampled_from(["s1", "s2", "s3"]))


@given(
    claims=st.dictionaries(IDS, CLAIMS | st.just("") | st.just("unknown/s1")),
    holders=st.dictionaries(CLAIMS, IDS | st.just("gone")),
)
@patient
def test_every_session_has_one_owner_and_every_record_one_place(
    claims: dict[str, str], holders: dict[str, str]
) -> None:
    result = wish(claims, holders)
    assert result.integrations.keys() | result.invalid.keys() == claims.keys()
    assert not result.integrations.keys() & result.invalid.keys()
    owners = [integration.claim for integration in result.integrations.values()]
    assert len(owners) == len(set(owners))
    followable = {name: claim(text) for name, text in claims.items() if text and not text.startswith("unknown")}
    assert set(owners) == set(followable.values())
    for text, holder in holders.items():
        if followable.get(holder) == claim(text):
            assert holder in result.integrations


@given(claims=st.dictionaries(IDS, CLAIMS), holders=st.dictionaries(CLAIMS, IDS))
@patient
def test_what_was_decided_once_stays_decided(claims: dict[str, str], holders: dict[str, str]) -> None:
    first = wish(claims, holders)
    held = {f"{one.gateway}/{one.session}": name for name, one in first.integrations.items()}
    assert wish(claims, held) == first
