"""Scripted faults: answers that are late, wrong, empty or missing, with and without the effect."""

from __future__ import annotations

import anyio
import httpx
import pytest

from tests.simulator.harness import PATIENCE, Caller, Listener, anna, sample
from wa_supervisor.simulator import Fault, SimulatedGateway

pytestmark = pytest.mark.anyio

ANNA = "5511900000077@c.us"


@pytest.fixture(autouse=True)
async def acme(api: Caller) -> Caller:
    """Connect session "acme"."""
    await api.connect()
    return api


async def test_500_after_sending_was_received_all_the_same(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(route="send-message", done=True, answer="error", times=1))
    answer = await api.send(ANNA, "one")
    assert answer.status_code == 500
    assert answer.json()["message"] == "Erro ao enviar a mensagem."
    assert gateway.ledger.texts_received() == ["one"]
    assert (await api.send(ANNA, "two")).status_code == 201


async def test_500_before_sending_was_not_received(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(route="send-message", answer="error"))
    assert (await api.send(ANNA, "one")).status_code == 500
    assert not gateway.ledger.received


async def test_201_with_an_empty_list_means_that_nothing_was_sent(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(route="send-message", answer="empty"))
    answer = await api.send(ANNA, "one")
    assert answer.status_code == 201
    assert answer.json() == sample("http-send-message-02")
    assert not gateway.ledger.received


@pytest.mark.parametrize("done", [True, False])
async def test_an_answer_that_never_comes_says_nothing_about_the_effect(
    api: Caller, gateway: SimulatedGateway, done: bool
) -> None:
    gateway.script(Fault(route="send-message", done=done, answer="nothing"))
    with pytest.raises(httpx.ReadTimeout):
        await api.http.post(
            api.path("send-message"), json={"phone": ANNA, "message": "one"}, headers=api.headers, timeout=0.2
        )
    assert gateway.ledger.texts_received() == ["one"] * done


@pytest.mark.parametrize("done", [True, False])
async def test_a_cut_connection_says_nothing_about_the_effect(
    api: Caller, gateway: SimulatedGateway, done: bool
) -> None:
    gateway.script(Fault(route="send-message", done=done, answer="cut", times=1))
    with pytest.raises(httpx.RemoteProtocolError):
        await api.send(ANNA, "one")
    assert gateway.ledger.texts_received() == ["one"] * done
    assert (await api.send(ANNA, "two")).status_code == 201


async def test_a_delay_comes_before_the_effect(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(route="send-message", delay=3600, times=1), Fault(route="send-message", delay=0.01))
    with pytest.raises(httpx.ReadTimeout):
        await api.http.post(
            api.path("send-message"), json={"phone": ANNA, "message": "never"}, headers=api.headers, timeout=0.2
        )
    assert (await api.send(ANNA, "late")).status_code == 201
    assert gateway.ledger.texts_received() == ["late"]


async def test_a_send_may_have_its_effect_long_before_its_answer(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(route="send-message", late=3600))
    with pytest.raises(httpx.ReadTimeout):
        await api.http.post(
            api.path("send-message"), json={"phone": ANNA, "message": "one"}, headers=api.headers, timeout=0.2
        )
    assert gateway.ledger.texts_received() == ["one"]


async def test_a_proxys_page_is_html(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(answer="html", status=503))
    for answer in (await api.get("status-session"), await api.send(ANNA, "one"), await api.http.get("/healthz")):
        assert answer.status_code == 503
        assert answer.headers["content-type"].startswith("text/html")


async def test_500_for_everything_and_then_mended(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(answer="error"))
    answers = [await api.get("status-session"), await api.post("start-session"), await api.http.get("/healthz")]
    assert [answer.status_code for answer in answers] == [500, 500, 500]
    gateway.mend()
    assert (await api.get("status-session")).status_code == 200


async def test_a_failing_get_messages_is_401_with_its_own_words(api: Caller, gateway: SimulatedGateway) -> None:
    anna(gateway).writes("acme", "hi")
    gateway.script(Fault(route="get-messages", answer="error", times=1))
    failing = await api.get(f"get-messages/{ANNA}")
    assert failing.status_code == 401
    assert failing.json() == sample("http-error-06")
    assert (await api.get(f"get-messages/{ANNA}")).status_code == 200


async def test_a_fault_can_be_for_one_session_only(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(session="other", answer="error"))
    assert (await api.get("status-session")).status_code == 200
    other = await api.http.post("/api/other/secret/generate-token")
    assert other.status_code == 500


async def test_a_fault_may_let_some_calls_pass_first_and_use_itself_up(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(route="status-session", answer="error", after=1, times=2))
    statuses = [(await api.get("status-session")).status_code for _ in range(5)]
    assert statuses == [200, 500, 500, 200, 200]
    assert gateway.faults.standing() == []


async def test_a_failing_close_has_the_words_of_a_stuck_one(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.script(Fault(route="close-session", answer="error", times=1))
    failing = await api.post("close-session")
    assert failing.status_code == 500
    assert failing.json().items() >= sample("http-error-08").items()
    assert await api.status() == "CONNECTED"


async def test_lost_events_are_of_messages_that_the_history_has(
    api: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    gateway.lose_events(3600)
    assert not anna(gateway).writes("acme", "lost").emitted
    assert (await api.send(ANNA, "own")).status_code == 201
    with anyio.fail_after(PATIENCE):
        while (found := (await api.get(f"get-messages/{ANNA}")).json()["response"])[-1]["ack"] < 3:
            pass
    assert [message["body"] for message in found] == ["lost", "own"]
    gateway.lose_events(0)
    assert anna(gateway).writes("acme", "heard").emitted
    await events.until(lambda listening: listening.texts() == ["heard"])
    assert not events.texts(from_me=True)
    assert not events.of("onack")


async def test_events_of_one_session_are_lost_alone(gateway: SimulatedGateway, events: Listener) -> None:
    gateway.lose_events(3600, session="other")
    assert anna(gateway).writes("acme", "heard").emitted
    await events.until(lambda listening: listening.texts() == ["heard"])
    gateway.lose_events(3600, session="acme")
    assert not anna(gateway).writes("acme", "lost").emitted


async def test_events_are_lost_until_their_time_is_over(
    api: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    await api.http.post("/_control/lose-events", json={"session": "acme", "seconds": 0.05})
    with anyio.fail_after(PATIENCE):
        while not anna(gateway).writes("acme", "again").emitted:  # noqa: ASYNC110  # time itself has no event
            await anyio.sleep(0.01)
    await events.until(lambda listening: listening.texts() == ["again"])


async def test_so_many_messages_are_lost_own_ones_among_them_and_their_acks_are_not(
    api: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    await api.http.post("/_control/lose-events", json={"session": "acme", "times": 2})
    assert gateway.person("5511900000078@c.us").writes("other", "not there").emitted is False
    assert not anna(gateway).writes("acme", "lost").emitted
    assert (await api.send(ANNA, "own")).status_code == 201
    assert anna(gateway).writes("acme", "heard").emitted
    assert (await events.next("onack", count=3))["body"] == "own"
    await events.until(lambda listening: listening.texts() == ["heard"])
    assert not events.texts(from_me=True)


async def test_messages_lost_of_any_session_are_counted_together_and_can_be_called_off(
    api: Caller, gateway: SimulatedGateway
) -> None:
    gateway.lose_events(times=2)
    assert not anna(gateway).writes("acme", "lost").emitted
    gateway.lose_events()
    assert anna(gateway).writes("acme", "heard").emitted
    assert await api.status() == "CONNECTED"
