"""The control interface: everything that can be scripted, from another process over HTTP."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.simulator.harness import PATIENCE, Caller, Listener
from wa_supervisor.simulator import SimulatedGateway, control
from wa_supervisor.simulator.commands import COMMANDS

pytestmark = pytest.mark.anyio

ANNA = {"id": "5511900000077@c.us", "name": "Anna"}


class Script:
    """Sends commands and looks at the answers."""

    def __init__(self, api: Caller) -> None:
        self._http = api.http

    async def do(self, command: str, /, **fields: object) -> Any:  # noqa: ANN401 - JSON of any shape
        """Send a command that succeeds."""
        answer = await self._http.post(f"/_control/{command}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, command: str, /, **fields: object) -> tuple[int, str]:
        """Send one that does not."""
        answer = await self._http.post(f"/_control/{command}", json=fields)
        return answer.status_code, answer.json()["error"]

    async def look(self, what: str) -> Any:  # noqa: ANN401 - JSON of any shape
        """Read the state or the ledger."""
        answer = await self._http.get(f"/_control/{what}")
        assert answer.status_code == 200
        return answer.json()

    async def session(self) -> Any:  # noqa: ANN401 - JSON of any shape
        """The state of session "acme"."""
        return (await self.look("state"))["sessions"]["acme"]


@pytest.fixture
def script(api: Caller) -> Script:
    """Script the gateway over HTTP."""
    return Script(api)


def test_every_command_is_documented_with_its_fields() -> None:
    page = control.__doc__ or ""
    for name, command in COMMANDS.items():
        line = next(line for line in page.splitlines() if line.startswith(f"    {name} "))
        described = line + page[page.index(line) + len(line) :].split("\n    ", 1)[0]
        assert all(field in described for field in command.fields), name


async def test_a_command_that_does_not_exist_is_404_and_names_those_that_do(script: Script) -> None:
    status, error = await script.refused("do-magic")
    assert status == 404
    assert "crash-browser" in error


@pytest.mark.parametrize(
    "fields", [{}, {"session": 1}, {"session": "acme", "sends": "maybe"}, {"session": "acme", "typo": 1}]
)
async def test_a_wrong_body_is_400_and_says_why(script: Script, fields: dict[str, object]) -> None:
    status, error = await script.refused("die", **fields)
    assert status == 400
    assert error.startswith("die: ")


async def test_what_is_impossible_now_is_409_and_says_why(script: Script) -> None:
    assert await script.refused("scan", session="acme") == (
        409,
        "scan: session acme shows no QR or pairing code; it is CLOSED",
    )


async def test_a_login_by_qr_can_be_driven(script: Script, api: Caller) -> None:
    await script.do("needs-login", session="acme")
    await api.post("start-session")
    await api.until_status("QRCODE")
    assert (await script.session())["has_login"] is False
    await script.do("scan", session="acme")
    await api.until_status("CONNECTED")


async def test_a_session_can_be_made_to_stick_and_mended(script: Script, api: Caller) -> None:
    await script.do("stick", session="acme", starts=None)
    await api.post("start-session")
    assert (await script.session())["status"] == "INITIALIZING"
    await script.do("stick", session="acme", starts=0)
    await api.post("close-session")
    await api.connect()


async def test_a_kept_profile_a_refused_secret_and_an_old_server_can_be_scripted(
    script: Script, api: Caller, gateway: SimulatedGateway
) -> None:
    await api.connect()
    await script.do("keep-profile", session="acme")
    await api.post("close-session")
    await api.post("start-session")
    assert (await script.session())["status"] == "INITIALIZING"
    await script.do("refuse-secret", session="acme", times=1)
    answers = [await api.http.post("/api/acme/secret/generate-token") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [400, 201]
    born = gateway.world.booted_at
    await script.do("age", seconds=60)
    assert gateway.world.booted_at == born - 60


async def test_every_way_of_being_a_zombie_can_be_scripted(script: Script, api: Caller) -> None:
    await api.connect()
    await script.do("die", session="acme", sends="ack0")
    assert (await script.session())["page"] == "dead"
    await script.do("revive", session="acme")
    assert (await script.session())["page"] == "alive"
    await script.do("crash-browser", session="acme")
    assert await script.session() | {"own_id": ""} == {
        "status": "CONNECTED",
        "page": "crashed",
        "listening": True,
        "has_login": True,
        "own_id": "",
        "settings": {},
        "proxy": None,
    }


async def test_a_drop_a_broken_page_and_a_lost_name_can_be_scripted(
    script: Script, api: Caller, events: Listener
) -> None:
    await api.connect()
    await script.do("drop", session="acme", keep_login=True)
    await script.do("break-pages", session="acme")
    await api.post("start-session")
    await events.next("session-error")
    await script.do("drop", session="acme")
    await script.do("lose-name", session="acme")
    await api.post("start-session")
    assert "session" not in await events.next("qrCode")


async def test_tokens_can_be_refused_and_the_secret_changed(script: Script, api: Caller) -> None:
    await script.do("refuse-tokens", session="acme", times=1)
    assert (await api.get("status-session")).status_code == 401
    assert (await api.get("status-session")).status_code == 200
    await script.do("secret", secret="another")
    assert (await api.get("status-session")).status_code == 401


async def test_faults_can_be_put_in_force_seen_and_mended(script: Script, api: Caller) -> None:
    await script.do("fault", fault={"route": "status-session", "answer": "html"})
    assert (await api.get("status-session")).status_code == 502
    [fault] = (await script.look("state"))["faults"]
    assert (fault["route"], fault["answer"]) == ("status-session", "html")
    await script.do("mend")
    assert (await api.get("status-session")).status_code == 200


async def test_people_can_be_made_to_write_everything(script: Script, api: Caller, events: Listener) -> None:
    await api.connect()
    who = {"session": "acme", "person": ANNA}
    written = await script.do("write", **who, text="hello", group="120363000000000042@g.us")
    assert (written["text"], written["chat"], written["emitted"]) == ("hello", "120363000000000042@g.us", True)
    await script.do("write", **who, kind="image", media={"base64": "AAAA", "mimetype": "image/jpeg", "size": 3})
    await script.do("write-undecryptable", **who, text="later")
    await script.do("post-story", **who)
    await script.do("owner-writes", session="acme", chat=ANNA["id"], text="by hand")
    assert len(await script.do("flood", **who, count=10)) == 10
    await script.do("react", **who, message=f"false_120363000000000042@g.us_{written['stanza']}", reaction="👍")
    direct = await script.do("write", **who, text="oops")
    await script.do("take-back", **who, stanza=direct["stanza"])
    await events.next("onrevokedmessage")
    await events.next("onreactionmessage")
    await events.until(lambda listener: len(listener.of("received-message")) == 17)


async def test_any_event_can_be_emitted(script: Script, events: Listener) -> None:
    assert await script.do("emit", event="incomingcall", payload={"sender": "1@lid"}) == {"emitted": True}
    assert await events.next("incomingcall") == {"sender": "1@lid"}
    await script.do("cut-clients")
    await events.until(lambda listener: not listener.is_connected)


async def test_numbers_can_be_denied(script: Script, api: Caller) -> None:
    await api.connect()
    await script.do("number", number="5511900000077", fate="denied")
    assert (await api.send("5511900000077", "hi")).status_code == 400


async def test_a_restart_answers_first(script: Script, api: Caller, gateway: SimulatedGateway) -> None:
    await api.connect()
    born = gateway.world.booted_at
    assert await script.do("restart", seconds=0.05, start_stored=True) == {"ok": True}
    with anyio.fail_after(PATIENCE):
        await gateway.until(lambda gateway: not gateway.is_up)
        await gateway.until(lambda gateway: gateway.world.booted_at > born and gateway.session("acme").is_running)


async def test_the_ledger_can_be_read_and_forgotten(script: Script, api: Caller) -> None:
    await api.connect()
    await script.do("write", session="acme", person=ANNA, text="question")
    await api.send("5511900000077@c.us", "answer")
    ledger = await script.look("ledger")
    assert [entry["text"] for entry in ledger["written"]] == ["question"]
    assert [entry["text"] for entry in ledger["received"]] == ["answer"]
    assert ledger["calls_of"]["acme"] == {"start-session": 1, "send-message": 1}
    assert ledger["starts"] == {"acme": 1}
    await script.do("forget-ledger")
    summary = await script.look("ledger/summary")
    assert (summary["written_total"], summary["received_total"], summary["calls"]) == (0, 0, {})


async def test_control_calls_are_not_counted_and_no_fault_touches_them(script: Script) -> None:
    await script.do("forget-ledger")
    await script.do("fault", fault={"answer": "error"})
    assert (await script.look("ledger/summary"))["calls"] == {}


async def test_a_page_that_does_not_exist_is_404_and_names_those_that_do(api: Caller) -> None:
    answer = await api.http.get("/_control/secrets")
    assert answer.status_code == 404
    assert "ledger/summary" in answer.json()["error"]
