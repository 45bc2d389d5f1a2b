"""The server process: boot, death and return, the traps, and that nothing is left when it is gone."""

from __future__ import annotations

import asyncio
import dataclasses

import aiohttp
import anyio
import httpx
import msgspec
import pytest

from tests.simulator.harness import PATIENCE, Caller, Listener, anna, caller, listener, sample
from wa_supervisor.simulator import FAST, Manners, SimulatedGateway, serve, simulated_gateway

pytestmark = pytest.mark.anyio

ANNA = "5511900000077@c.us"


async def test_healthz_needs_no_token_and_tells_the_uptime(api: Caller) -> None:
    answer = await api.http.get("/healthz")
    assert answer.json().keys() == sample("http-healthz-01").keys()


async def test_a_restart_cuts_everybody_closes_sessions_and_the_uptime_falls(
    api: Caller, gateway: SimulatedGateway
) -> None:
    await api.connect()
    async with listener(gateway) as events:
        port = gateway.url
        before = (await api.http.get("/healthz")).json()["uptime"]
        await gateway.restart(start_stored=False)
        await events.until(lambda listening: not listening.is_connected)
    assert gateway.url == port
    assert (await api.http.get("/healthz")).json()["uptime"] < before
    assert await api.status() == "CLOSED"
    await api.connect()


async def test_a_server_can_have_been_up_for_long_until_it_is_restarted(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.age(3600)
    assert (await api.http.get("/healthz")).json()["uptime"] > 3600
    await gateway.restart(start_stored=False)
    assert (await api.http.get("/healthz")).json()["uptime"] < 3600


async def test_at_its_boot_the_server_starts_what_has_a_stored_login(api: Caller, gateway: SimulatedGateway) -> None:
    await api.connect()
    gateway.session("lost").start({})
    gateway.session("lost").drop()
    gateway.session("never started")
    gateway.ledger.forget()
    await gateway.restart()
    await api.until_status("CONNECTED")
    assert dict(gateway.ledger.starts) == {"acme": 1}


async def test_a_server_that_is_down_refuses_connections_until_it_is_back(
    api: Caller, gateway: SimulatedGateway
) -> None:
    await gateway.go_down()
    assert not gateway.is_up
    with pytest.raises(httpx.ConnectError):
        await api.http.get("/healthz")
    await gateway.come_back()
    assert (await api.http.get("/healthz")).status_code == 200


async def test_what_people_write_while_the_server_is_down_is_found_afterwards(
    api: Caller, gateway: SimulatedGateway
) -> None:
    await api.connect()
    await gateway.go_down()
    assert not anna(gateway).writes("acme", "hello?").emitted
    await gateway.come_back()
    with anyio.fail_after(PATIENCE):
        await gateway.until(lambda gateway: gateway.session("acme").is_running)
    found = (await api.get(f"get-messages/{ANNA}")).json()["response"]
    assert [message["body"] for message in found] == ["hello?"]


async def test_what_is_emitted_while_no_client_is_connected_is_gone(api: Caller, gateway: SimulatedGateway) -> None:
    await api.connect()
    anna(gateway).writes("acme", "to nobody")
    async with listener(gateway) as events:
        anna(gateway).writes("acme", "to you")
        await events.until(lambda listening: listening.texts() == ["to you"])


async def test_a_death_cuts_requests_that_were_being_answered(api: Caller, gateway: SimulatedGateway) -> None:
    await api.connect()
    gateway.session("acme").die()
    raised: list[Exception] = []

    async def send() -> None:
        try:
            await api.send(ANNA, "hello")
        except httpx.HTTPError as error:
            raised.append(error)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as sends:
            sends.start_soon(send)
            await gateway.until(lambda gateway: gateway.ledger.calls["send-message"])
            await gateway.go_down()
    assert [type(error) for error in raised] in ([httpx.RemoteProtocolError], [httpx.ReadError])


async def test_timers_of_an_earlier_life_do_nothing_in_the_next() -> None:
    timings = dataclasses.replace(FAST, ack_delivered=0.1, ack_read=0.1, browser_start=0.1)
    async with simulated_gateway(timings=timings) as gateway, caller(gateway, "acme") as api:
        await api.connect()
        await api.send(ANNA, "hello")
        await gateway.restart(start_stored=False)
        async with listener(gateway) as events:
            await api.connect()
            await events.next("session-logged")
            assert [name for name, _ in events.heard] == ["session-logged"]


async def test_cut_clients_come_back_and_the_ledger_counts_them(gateway: SimulatedGateway) -> None:
    async with listener(gateway), listener(gateway) as second:
        assert gateway.ledger.clients == 2
        gateway.cut_clients()
        await second.until(lambda listening: not listening.is_connected)
        with anyio.fail_after(PATIENCE):
            await gateway.ledger.until(lambda ledger: ledger.clients == 0)
        async with listener(gateway):
            assert (gateway.ledger.clients, gateway.ledger.clients_peak) == (1, 2)
            assert gateway.ledger.connections_total == 3


@pytest.mark.parametrize("secret", ["secret", "wrong"])
async def test_start_all_starts_everything_whatever_the_secret(
    api: Caller, gateway: SimulatedGateway, secret: str
) -> None:
    await api.connect()
    await api.post("close-session")
    answer = await api.http.post(f"/api/{secret}/start-all")
    assert answer.status_code == (201 if secret == "secret" else 400)
    await api.until_status("CONNECTED")
    assert [entry.route for entry in gateway.ledger.forbidden] == ["start-all"]


@pytest.mark.parametrize("secret", ["secret", "wrong"])
async def test_clear_session_data_deletes_the_login_whatever_the_secret(
    api: Caller, gateway: SimulatedGateway, secret: str
) -> None:
    await api.connect()
    answer = await api.http.post(f"/api/acme/{secret}/clear-session-data")
    assert answer.status_code == (200 if secret == "secret" else 400)
    assert not gateway.session("acme").has_login
    assert [entry.route for entry in gateway.ledger.forbidden] == ["clear-session-data"]


async def test_show_all_sessions_wants_the_secret(api: Caller, gateway: SimulatedGateway) -> None:
    await api.connect()
    assert (await api.http.get("/api/secret/show-all-sessions")).json() == {"response": ["acme"]}
    refused = await api.http.get("/api/wrong/show-all-sessions")
    assert refused.status_code == 400
    assert refused.json() == sample("http-show-all-sessions-02")
    assert gateway.ledger.calls["show-all-sessions"] == len(gateway.ledger.forbidden) == 2


async def test_unhealthy_ends_the_process_for_anybody(api: Caller, gateway: SimulatedGateway) -> None:
    assert (await api.http.get("/unhealthy")).status_code == 503
    with anyio.fail_after(PATIENCE):
        await gateway.until(lambda gateway: not gateway.is_up)
    assert [entry.route for entry in gateway.ledger.forbidden] == ["unhealthy"]


async def test_socketio_can_be_served_at_another_path() -> None:
    manners = Manners(socketio_path="/behind/a/proxy/socket.io/")
    async with (
        simulated_gateway(manners=manners) as gateway,
        caller(gateway, "acme") as api,
        listener(gateway, path="/behind/a/proxy/socket.io/") as events,
    ):
        await api.connect()
        assert await events.next("session-logged")


async def test_every_client_hears_every_session(gateway: SimulatedGateway) -> None:
    async with listener(gateway) as first, listener(gateway) as second:
        for name in ("one", "two"):
            async with caller(gateway, name) as api:
                await api.connect()
            anna(gateway).writes(name, f"to {name}")
        for events in (first, second):
            await events.until(lambda listening: listening.texts() == ["to one", "to two"])


async def test_a_client_that_polls_hears_too(api: Caller, gateway: SimulatedGateway) -> None:
    await api.connect()
    path = "/socket.io/?EIO=4&transport=polling"
    opened = (await api.http.get(path)).text
    path += f"&sid={msgspec.json.decode(opened[1:])['sid']}"
    await api.http.post(path, content="40")
    assert (await api.http.get(path)).text.startswith('40{"sid"')
    anna(gateway).writes("acme", "by polling")
    assert '"body":"by polling"' in (await api.http.get(path)).text


async def test_a_client_that_stops_answering_pings_is_dropped() -> None:
    timings = dataclasses.replace(FAST, ping_interval=0.05, ping_timeout=0.05)
    async with (
        simulated_gateway(timings=timings) as gateway,
        aiohttp.ClientSession(gateway.url) as http,
        http.ws_connect("/socket.io/?EIO=4&transport=websocket") as socket,
    ):
        assert '"pingTimeout":50' in await socket.receive_str()
        await socket.send_str("40")
        with anyio.fail_after(PATIENCE):
            heard = [message.data async for message in socket]
            await gateway.ledger.until(lambda ledger: ledger.clients == 0)
        assert heard[0].startswith('40{"sid"')
        assert heard[1] == "2"
        assert gateway.ledger.connections_total == 1


async def test_pings_come_every_25_seconds_and_time_out_after_20(api: Caller) -> None:
    opened = (await api.http.get("/socket.io/?EIO=4&transport=polling")).text
    assert '"pingTimeout":20000,"pingInterval":25000' in opened


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with simulated_gateway():
            raise LookupError("mine")


async def test_two_gateways_live_side_by_side_and_know_nothing_of_each_other() -> None:
    async with simulated_gateway() as one, simulated_gateway() as two:
        assert one.url != two.url
        one.session("acme")
        assert two.sessions == {}
        first, second = anna(one).writes("acme", "x"), anna(two).writes("acme", "x")
        assert first.stanza != second.stanza


async def test_serve_runs_until_cancelled_and_says_when_it_listens() -> None:
    up = anyio.Event()
    found: list[SimulatedGateway] = []

    def note(gateway: SimulatedGateway) -> None:
        found.append(gateway)
        up.set()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: serve("127.0.0.1", 0, "secret", ready=note))
            await up.wait()
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(f"{found[0].url}/healthz")).status_code == 200
            tasks.cancel_scope.cancel()
    assert not found[0].is_up


async def test_nothing_is_left_running_when_the_gateway_is_gone() -> None:
    before = asyncio.all_tasks()
    async with simulated_gateway() as gateway, caller(gateway, "acme") as api, listener(gateway):
        await api.connect()
        gateway.session("acme").die()
        with pytest.raises(httpx.ReadTimeout):
            await api.http.post(
                api.path("send-message"),
                json={"phone": ANNA, "message": "x"},
                headers=api.headers,
                timeout=0.05,
            )
        await gateway.go_down()
    with anyio.fail_after(PATIENCE):
        await anyio.wait_all_tasks_blocked()
    assert asyncio.all_tasks() == before


async def test_the_events_of_a_life_end_with_it(api: Caller, gateway: SimulatedGateway, events: Listener) -> None:
    await api.connect()
    await gateway.go_down()
    await events.until(lambda listening: not listening.is_connected)
    assert gateway.ledger.clients == 0
    assert gateway.emit("anything", None) is False


async def test_going_down_twice_and_coming_back_twice_is_once(gateway: SimulatedGateway, api: Caller) -> None:
    await gateway.go_down()
    await gateway.go_down()
    gateway.cut_clients()
    assert repr(gateway) == f"<SimulatedGateway {gateway.url} down sessions=0>"
    await gateway.come_back()
    await gateway.come_back()
    assert (await api.http.get("/healthz")).status_code == 200


async def test_a_taken_port_is_an_error(gateway: SimulatedGateway) -> None:
    port = int(gateway.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        async with simulated_gateway(port=port):
            pass
