"""A session's life over HTTP and events: every state, and every way in which the status lies."""

from __future__ import annotations

import dataclasses
import math

import anyio
import httpx
import pytest

from tests.simulator.harness import PATIENCE, Caller, Listener, anna, caller, listener, sample
from wa_supervisor.simulator import FAST, SimulatedGateway, Status, simulated_gateway

pytestmark = pytest.mark.anyio


async def test_a_session_that_was_never_started_is_reported_closed(api: Caller) -> None:
    answer = await api.get("status-session")
    assert answer.json() == {"status": "CLOSED", "qrcode": None}


async def test_start_answers_the_state_before_the_start(api: Caller) -> None:
    answer = await api.post("start-session")
    assert answer.status_code == 200
    assert answer.json() == sample("http-start-session-02")
    assert await api.status() == "INITIALIZING"


async def test_a_stored_login_connects_and_says_so(api: Caller, events: Listener) -> None:
    await api.connect()
    assert await events.next("session-logged") == {"status": True, "session": "acme"}
    assert (await api.get("status-session")).json() == sample("http-status-session-03")
    assert (await api.get("check-connection-session")).json() == {"status": True, "message": "Connected"}


async def test_a_start_of_a_running_session_does_nothing(api: Caller, gateway: SimulatedGateway) -> None:
    await api.connect()
    answer = await api.post("start-session")
    assert answer.json() == {"status": "CONNECTED", "qrcode": None, "version": "2.10.4", "session": "acme"}
    assert gateway.ledger.starts["acme"] == 1


async def test_a_body_replaces_the_stored_settings_and_an_empty_one_keeps_them(
    api: Caller, gateway: SimulatedGateway
) -> None:
    session = gateway.session("acme")
    await api.post("start-session", webhook="http://a", proxy={"url": "http://p"})
    await api.post("close-session")
    await api.post("start-session")
    assert session.settings == {"webhook": "http://a", "proxy": {"url": "http://p"}}
    await api.post("close-session")
    await api.post("start-session", webhook="http://b")
    assert session.settings == {"webhook": "http://b"}


async def test_the_proxy_of_one_session_leaks_into_one_started_later_without(gateway: SimulatedGateway) -> None:
    gateway.session("first").start({"proxy": {"url": "http://p"}})
    gateway.session("second").start({"webhook": None})
    assert gateway.session("second").proxy_in_use == {"url": "http://p"}


async def test_without_a_login_a_qr_is_shown_and_scanning_it_connects(
    api: Caller, events: Listener, gateway: SimulatedGateway
) -> None:
    gateway.session("acme").needs_login()
    await api.post("start-session")
    shown = await events.next("qrCode")
    assert shown.keys() == sample("qrCode-01").keys()
    assert shown["session"] == "acme"
    state = (await api.get("status-session")).json()
    assert state.keys() == sample("http-status-session-04").keys()
    assert state["status"] == "QRCODE"
    picture = await api.get("qrcode-session")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    gateway.session("acme").scan()
    await api.until_status("CONNECTED")
    assert gateway.session("acme").has_login


async def test_a_qr_is_renewed_then_given_up_without_an_event_and_served_all_the_same() -> None:
    timings = dataclasses.replace(FAST, qr_renewal=0.05, qr_give_up=0.18)
    async with simulated_gateway(timings=timings) as gateway, caller(gateway, "acme") as api:
        async with listener(gateway) as events:
            gateway.session("acme").needs_login()
            await api.post("start-session")
            await events.next("qrCode", count=3)
            await api.until_status("CLOSED")
            assert {name for name, _ in events.heard} == {"qrCode"}
        assert (await api.get("qrcode-session")).headers["content-type"] == "image/png"
        state = (await api.get("status-session")).json()
        assert state["status"] == "CLOSED"
        assert state["qrcode"] is not None


async def test_a_phone_number_makes_the_login_one_by_pairing_code(
    api: Caller, events: Listener, gateway: SimulatedGateway
) -> None:
    gateway.session("acme").needs_login()
    await api.post("start-session", phone="5511988887777")
    shown = await events.next("phoneCode")
    assert shown == {"data": gateway.session("acme").code, "phone": "5511988887777", "session": "acme"}
    assert (await api.get("status-session")).json() == sample("http-status-session-05")
    gateway.session("acme").scan()
    await api.until_status("CONNECTED")


async def test_asking_a_pairing_code_for_a_linked_number_unlinks_it(api: Caller, gateway: SimulatedGateway) -> None:
    await api.post("start-session", phone="5511988887777")
    await api.until_status("PHONECODE")
    assert not gateway.session("acme").has_login
    assert gateway.ledger.unlinked["acme"] == 1


async def test_wait_qr_code_never_answers_when_a_login_is_stored(api: Caller, gateway: SimulatedGateway) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await api.http.post(api.path("start-session"), json={"waitQrCode": True}, headers=api.headers, timeout=0.3)
    assert gateway.session("acme").status is Status.CONNECTED
    assert [entry.route for entry in gateway.ledger.forbidden] == ["waitQrCode"]


async def test_wait_qr_code_answers_with_the_qr_when_one_is_needed(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.session("acme").needs_login()
    answer = await api.post("start-session", waitQrCode=True)
    assert answer.json()["status"] == "qrcode"
    assert answer.json()["urlcode"] == gateway.session("acme").urlcode


async def test_close_keeps_the_login_and_emits_a_bare_false(
    api: Caller, events: Listener, gateway: SimulatedGateway
) -> None:
    await api.connect()
    answer = await api.post("close-session")
    assert answer.status_code == 200
    assert answer.json().items() >= sample("http-close-session-01").items()
    assert await events.next("whatsapp-status") is False
    assert await api.status() == "CLOSED"
    assert gateway.session("acme").has_login
    assert (await api.post("close-session")).status_code == 200


async def test_the_qr_event_loses_the_session_after_a_close_and_a_start(
    api: Caller, events: Listener, gateway: SimulatedGateway
) -> None:
    await api.connect()
    await api.post("close-session")
    gateway.session("acme").needs_login()
    await api.post("start-session")
    assert (await events.next("qrCode")).keys() == sample("qrCode-03").keys()
    assert await api.status() == "QRCODE"


async def test_session_logged_keeps_the_session_after_a_close_and_a_start(api: Caller, events: Listener) -> None:
    await api.connect()
    await api.post("close-session")
    await api.connect()
    assert await events.next("session-logged", count=2) == {"status": True, "session": "acme"}


async def test_a_stuck_session_stays_initializing_until_a_close_that_answers_500(
    api: Caller, gateway: SimulatedGateway
) -> None:
    gateway.session("acme").stick(1)
    await api.post("start-session")
    again = await api.post("start-session")
    assert again.json()["status"] == "INITIALIZING"
    assert gateway.ledger.starts["acme"] == 1
    closed = await api.post("close-session")
    assert closed.status_code == 500
    assert closed.json().items() >= sample("http-error-08").items()
    assert await api.status() == "CLOSED"
    await api.connect()


async def test_a_session_stuck_for_good_is_stuck_again_after_a_close(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.session("acme").stick(math.inf)
    for _ in range(3):
        await api.post("start-session")
        await api.post("close-session")
    await api.post("start-session")
    assert await api.status() == "INITIALIZING"
    gateway.session("acme").stick(0)
    await api.post("close-session")
    await api.connect()


async def test_a_profile_that_an_old_browser_keeps_is_free_after_a_restart_of_the_server(
    api: Caller, gateway: SimulatedGateway
) -> None:
    gateway.session("acme").keep_profile()
    for _ in range(2):
        await api.post("start-session")
        assert await api.status() == "INITIALIZING"
        await api.post("close-session")
    await gateway.restart(start_stored=False)
    await api.connect()


async def test_a_crashed_browser_is_still_connected_by_status_but_not_by_check(
    api: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    await api.connect()
    gateway.session("acme").crash_browser()
    anna(gateway).writes("acme", "anybody there?")
    assert await api.status() == "CONNECTED"
    assert (await api.get("check-connection-session")).json() == sample("http-check-connection-01")
    assert (await api.send("5511900000077@c.us", "yes")).status_code == 404
    assert (await api.post("start-session")).json()["status"] == "CONNECTED"
    assert (await api.post("close-session")).status_code == 200
    assert events.texts() == []


async def test_over_a_dead_socket_status_and_check_say_connected_and_nothing_arrives(
    api: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    await api.connect()
    gateway.session("acme").die()
    entry = anna(gateway).writes("acme", "lost on the way")
    assert not entry.emitted
    assert await api.status() == "CONNECTED"
    assert (await api.get("check-connection-session")).json()["status"] is True
    assert (await api.get("get-messages/5511900000077@c.us")).status_code == 401
    gateway.emit("session-error", "marker")
    await events.next("session-error")
    assert events.texts() == []


async def test_what_arrived_over_a_dead_socket_is_in_the_chats_after_close_and_start(
    api: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    await api.connect()
    gateway.session("acme").die()
    anna(gateway).writes("acme", "for later")
    await api.post("close-session")
    await api.connect()
    found = (await api.get("get-messages/5511900000077@c.us")).json()["response"]
    assert [message["body"] for message in found] == ["for later"]
    assert events.texts() == []


async def test_a_revived_socket_shows_what_arrived_but_does_not_emit_it(
    api: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    await api.connect()
    gateway.session("acme").die()
    anna(gateway).writes("acme", "meanwhile")
    gateway.session("acme").revive()
    anna(gateway).writes("acme", "now")
    await events.until(lambda listener: listener.texts() == ["now"])
    found = (await api.get("get-messages/5511900000077@c.us")).json()["response"]
    assert [message["body"] for message in found] == ["meanwhile", "now"]


async def test_a_device_removed_on_the_phone_closes_without_an_event_and_loses_the_login(
    api: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    await api.connect()
    gateway.session("acme").drop()
    assert await api.status() == "CLOSED"
    await api.post("start-session")
    await events.next("qrCode")
    assert [name for name, _ in events.heard] == ["session-logged", "qrCode"]


async def test_a_drop_that_keeps_the_login_is_mended_by_a_start(api: Caller, gateway: SimulatedGateway) -> None:
    await api.connect()
    gateway.session("acme").drop(keep_login=True)
    assert await api.status() == "CLOSED"
    await api.connect()


async def test_logout_ends_the_login(api: Caller, gateway: SimulatedGateway, events: Listener) -> None:
    await api.connect()
    answer = await api.post("logout-session")
    assert answer.json().items() >= sample("http-logout-session-01").items()
    assert await events.next("whatsapp-status") is False
    assert gateway.ledger.logouts["acme"] == 1
    await api.post("start-session")
    await api.until_status("QRCODE")


async def test_a_broken_page_says_session_error_and_stays_where_it_was(
    api: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    gateway.session("acme").break_pages()
    await api.post("start-session")
    assert await events.next("session-error") == sample("session-error-01")
    assert await api.status() == "INITIALIZING"
    assert (await api.post("close-session")).status_code == 200
    await api.connect()


async def test_qrcode_session_without_a_qr_answers_json(api: Caller, gateway: SimulatedGateway) -> None:
    never = (await api.get("qrcode-session")).json()
    assert never["status"] is None
    gateway.session("acme").stick()
    await api.post("start-session")
    assert (await api.get("qrcode-session")).json() == sample("http-qrcode-session-01")


async def test_messages_between_connected_and_the_listeners_are_kept_but_not_emitted() -> None:
    timings = dataclasses.replace(FAST, listeners_late_by=0.1)
    async with simulated_gateway(timings=timings) as gateway, caller(gateway, "acme") as api:
        async with listener(gateway) as events:
            await api.post("start-session")
            await api.until_status("CONNECTED")
            assert not anna(gateway).writes("acme", "too early").emitted
            with anyio.fail_after(PATIENCE):
                await gateway.until(lambda gateway: gateway.session("acme").is_running)
            anna(gateway).writes("acme", "in time")
            await events.until(lambda listener: listener.texts() == ["in time"])
        found = (await api.get("get-messages/5511900000077@c.us")).json()["response"]
        assert [message["body"] for message in found] == ["too early", "in time"]


async def test_what_arrived_while_away_takes_its_time_to_load() -> None:
    timings = dataclasses.replace(FAST, chats_late_by=0.15)
    async with simulated_gateway(timings=timings) as gateway, caller(gateway, "acme") as api:
        anna(gateway).writes("acme", "while you were away")
        await api.connect()
        assert (await api.post("list-chats", onlyUsers=True)).json() == []
        anna(gateway).writes("acme", "now")
        bodies: list[str] = []
        with anyio.fail_after(PATIENCE):
            while len(bodies) < 2:
                found = (await api.get("get-messages/5511900000077@c.us")).json()["response"]
                bodies = [message["body"] for message in found]
        assert bodies == ["while you were away", "now"]


async def test_scanning_what_is_not_shown_is_an_error_of_the_script(gateway: SimulatedGateway) -> None:
    with pytest.raises(RuntimeError, match="shows no QR"):
        gateway.session("acme").scan()


async def test_what_is_not_connected_cannot_crash_or_die(gateway: SimulatedGateway) -> None:
    with pytest.raises(RuntimeError, match="not CONNECTED"):
        gateway.session("acme").crash_browser()


async def test_wait_qr_code_answers_with_the_pairing_code_when_a_phone_is_given(
    api: Caller, gateway: SimulatedGateway
) -> None:
    gateway.session("acme").needs_login()
    answer = await api.post("start-session", waitQrCode=True, phone="5511988887777")
    assert answer.json()["status"] == "phoneCode"
    assert answer.json()["phoneCode"] == gateway.session("acme").code


async def test_the_repr_tells_an_operator_what_is_said_and_what_is_true(api: Caller, gateway: SimulatedGateway) -> None:
    await api.connect()
    gateway.session("acme").die()
    assert repr(gateway.session("acme")) == "<SimulatedSession acme CONNECTED page=dead login=True>"
    assert repr(gateway) == f"<SimulatedGateway {gateway.url} up sessions=1>"
