"""docs/operations.md says nothing that is not there: its metrics are in a scrape, its words are in the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance.harness import admin_url, command, daemon, fetch, write_config
from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.simulator import simulated_gateway

ROOT = Path(__file__).parents[2]

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

PROGRAM = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "wa_supervisor").rglob("*.py"))

NOT_OF_SESSIONS = frozenset(
    {
        "Error",
        "TemporaryFailure",
        "PermanentFailure",
        "Zombie",
        "GatewayUnreachable",
        "ConfigurationInvalid",
        "FeedLost",
        "CutOff",
    }
)
"""Reasons of errors that never become a session's: the general ones, and those that are a whole gateway's."""


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


def section(title: str) -> str:
    return PAGE.partition(f"# {title}\n")[2].partition("\n#")[0]


def first_cells(title: str) -> set[str]:
    """Give the words in the first cells of the table below a title."""
    rows = [line.split("|")[1] for line in section(title).splitlines() if line.startswith("| ")]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def reasons_of(kind: type[WaSupervisorError]) -> set[str]:
    own = {kind.reason} if kind.__module__ == WaSupervisorError.__module__ else set()
    return own.union(*map(reasons_of, kind.__subclasses__()))


def test_every_state_is_on_the_page() -> None:
    assert {state.value for state in State} <= first_cells("Reading a state")


def test_every_reason_on_the_page_is_in_the_program() -> None:
    reasons = first_cells("Reasons")
    assert len(reasons) > 30
    assert {reason for reason in reasons if f'"{reason}"' not in PROGRAM} == set()


def test_every_error_that_a_session_can_have_is_on_the_page() -> None:
    assert reasons_of(WaSupervisorError) - NOT_OF_SESSIONS - first_cells("Reasons") == set()


@pytest.mark.anyio
@pytest.mark.acceptance
async def test_every_metric_and_command_on_the_page_is_there(tmp_path: Path, redis_url: str) -> None:
    async with simulated_gateway() as gateway:
        config = write_config(tmp_path, {"main": gateway}, redis_url)
        async with daemon(config) as started:
            scraped = (await fetch(f"{await admin_url(config)}/metrics")).text
            await started.end()
    told = set(re.findall(r"\bwa_[a-z_]+", PAGE))
    assert {name for name in told if f"# TYPE {name} " not in scraped} == set()
    _, commands, _ = await command(None, "--help")
    called = set(re.findall(r"`wa-supervisor ([a-z]+)", PAGE))
    assert called
    assert {name for name in called if f"\n  {name} " not in commands} == set()
