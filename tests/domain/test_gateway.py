"""What a gateway says about its sessions."""

from __future__ import annotations

import pytest

from tests.domain.samples import payload
from tests.domain.strategies import nested
from wa_supervisor.domain.gateway import GatewayStatus, Proxy, SessionAccess, SessionReport, StartOptions
from wa_supervisor.domain.names import SessionName


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("http-start-session-01", GatewayStatus.INITIALIZING),
        ("http-start-session-02", GatewayStatus.CLOSED),
        ("http-status-session-01", GatewayStatus.CONNECTED),
        ("http-status-session-03", GatewayStatus.CONNECTED),
        ("http-status-session-04", GatewayStatus.QRCODE),
        ("http-status-session-05", GatewayStatus.PHONECODE),
        ("http-qrcode-session-01", GatewayStatus.INITIALIZING),
    ],
)
def test_status_of_a_recorded_answer_is_read(name: str, status: GatewayStatus) -> None:
    assert GatewayStatus.read(payload(name)["status"]) is status


@pytest.mark.parametrize("status", GatewayStatus)
def test_status_is_read_in_either_case(status: GatewayStatus) -> None:
    assert GatewayStatus.read(status.value) is status
    assert GatewayStatus.read(status.value.lower()) is status


def test_no_status_means_that_the_session_never_started() -> None:
    assert GatewayStatus.read(None) is GatewayStatus.CLOSED


@pytest.mark.parametrize("value", ["", "inChat", "DISCONNECTED", False, True, 5, ["CONNECTED"], {"status": "CLOSED"}])
def test_word_that_nobody_knows_is_unknown(value: object) -> None:
    assert GatewayStatus.read(value) is GatewayStatus.UNKNOWN


def test_number_longer_than_python_prints_is_unknown() -> None:
    assert GatewayStatus.read(10**5000) is GatewayStatus.UNKNOWN


def test_status_nested_deeper_than_python_recurses_is_unknown() -> None:
    assert GatewayStatus.read(nested(lambda inner: {"status": inner})) is GatewayStatus.UNKNOWN


def test_repr_keeps_codes_tokens_and_passwords_to_itself() -> None:
    proxy = Proxy(url="http://10.0.0.1", username="user", password="hunter2")
    shown = [
        repr(SessionReport(status=GatewayStatus.QRCODE, url_code="hunter2")),
        repr(SessionAccess(session=SessionName("acme"), token="hunter2")),
        repr(StartOptions(proxy=proxy)),
    ]
    assert not any("hunter2" in one for one in shown)
    assert "acme" in shown[1]
