"""Secrets and tokens, as the gateway's own middleware handles them."""

from __future__ import annotations

import dataclasses

import anyio
import httpx
import pytest

from tests.simulator.harness import PATIENCE, Caller, caller, sample
from wa_supervisor.simulator import FAST, SimulatedGateway, simulated_gateway

pytestmark = pytest.mark.anyio


async def test_the_secret_buys_a_token_that_opens_the_session(api: Caller) -> None:
    answer = await api.http.post("/api/acme/secret/generate-token")
    assert answer.status_code == 201
    assert answer.json() == {
        "status": "success",
        "session": "acme",
        "token": answer.json()["token"],
        "full": f"acme:{answer.json()['token']}",
    }
    assert not set("/+") & set(answer.json()["token"])
    assert (await api.get("status-session")).status_code == 200


async def test_every_token_is_another_one_and_all_are_valid(api: Caller) -> None:
    first = api.token
    await api.authenticate()
    assert api.token != first
    api.token = first
    assert (await api.get("status-session")).status_code == 200


async def test_a_wrong_secret_is_refused_with_400(api: Caller) -> None:
    answer = await api.http.post("/api/acme/wrong/generate-token")
    assert answer.status_code == 400
    assert answer.json() == sample("http-generate-token-02")


async def test_a_token_of_another_session_is_refused_with_401(api: Caller) -> None:
    answer = await api.http.get("/api/other/status-session", headers=api.headers)
    assert answer.status_code == 401
    assert answer.json() == sample("http-error-02")


async def test_a_missing_token_is_refused_with_another_401(api: Caller) -> None:
    answer = await api.http.get("/api/acme/status-session")
    assert answer.status_code == 401
    assert answer.json() == sample("http-error-01")


async def test_the_token_may_stand_in_the_path_instead(api: Caller) -> None:
    answer = await api.http.get(f"/api/acme:{api.token}/status-session")
    assert answer.status_code == 200


async def test_a_changed_secret_ends_all_tokens(gateway: SimulatedGateway, api: Caller) -> None:
    gateway.change_secret("another")
    assert (await api.get("status-session")).status_code == 401
    await api.authenticate()
    assert (await api.get("status-session")).status_code == 200


async def test_refused_tokens_are_refused_as_often_as_scripted(gateway: SimulatedGateway, api: Caller) -> None:
    gateway.session("acme").refuse_tokens(2)
    statuses = [(await api.get("status-session")).status_code for _ in range(3)]
    assert statuses == [401, 401, 200]


async def test_a_secret_can_be_refused_for_one_session_only(gateway: SimulatedGateway, api: Caller) -> None:
    gateway.session("acme").refuse_secret(1)
    answers = [await api.http.post(f"/api/{name}/secret/generate-token") for name in ("acme", "other", "acme")]
    assert [answer.status_code for answer in answers] == [400, 201, 201]
    assert answers[0].json() == sample("http-generate-token-02")


async def test_token_checks_wait_for_one_of_few_cores() -> None:
    timings = dataclasses.replace(FAST, auth=0.001)
    async with simulated_gateway(timings=timings) as gateway, caller(gateway, "acme") as api:
        assert gateway.auth_places.total_tokens == 2
        async with gateway.auth_places, anyio.create_task_group() as calls:
            await gateway.auth_places.acquire_on_behalf_of("somebody else")
            calls.start_soon(api.get, "status-session")
            calls.start_soon(api.get, "status-session")
            with anyio.fail_after(PATIENCE):
                await gateway.ledger.until(lambda ledger: ledger.calls["status-session"] == 2)
                await anyio.wait_all_tasks_blocked()
            assert gateway.auth_places.statistics().tasks_waiting == 2
            assert gateway.ledger.calls_of == {}
            gateway.auth_places.release_on_behalf_of("somebody else")
        assert gateway.ledger.calls_of["acme", "status-session"] == 2


async def test_malformed_json_is_answered_with_html_before_any_authentication(gateway: SimulatedGateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        answer = await http.post(
            "/api/acme/send-message", content=b'{"phone": ', headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert "SyntaxError" in answer.text


async def test_a_body_above_50_megabytes_is_answered_with_413_and_html(api: Caller) -> None:
    body = b'{"message": "' + b"x" * (50 * 1024 * 1024) + b'"}'
    answer = await api.http.post(
        "/api/acme/send-message", content=body, headers=api.headers | {"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"].startswith("text/html")


async def test_an_unknown_path_is_answered_with_html(api: Caller) -> None:
    answer = await api.post("no-such-route")
    assert answer.status_code == 404
    assert "Cannot POST /api/acme/no-such-route" in answer.text


@pytest.mark.parametrize("path", ["/api/acme/check-connection-session", "/healthz"])
async def test_a_get_with_a_content_type_may_never_be_answered(api: Caller, path: str) -> None:
    headers = api.headers | {"Content-Type": "application/json"}
    with pytest.raises(httpx.ReadTimeout):
        await api.http.get(path, headers=headers, timeout=0.2)
    assert (await api.http.get(path, headers=api.headers)).status_code == 200


async def test_status_session_answers_a_get_with_a_content_type(api: Caller) -> None:
    answer = await api.http.get(api.path("status-session"), headers=api.headers | {"Content-Type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize("body", [b"[1]", b'"text"', b"null"])
async def test_json_that_is_no_object_is_malformed(api: Caller, body: bytes) -> None:
    answer = await api.http.post(
        api.path("start-session"), content=body, headers=api.headers | {"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(("content_type", "body"), [("application/json", b""), ("text/plain", b"{not json")])
async def test_an_empty_body_or_one_of_another_type_counts_as_no_fields(
    api: Caller, content_type: str, body: bytes
) -> None:
    answer = await api.http.post(
        api.path("start-session"), content=body, headers=api.headers | {"Content-Type": content_type}
    )
    assert answer.status_code == 200
