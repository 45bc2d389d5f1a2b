"""The table of `status`: the same at every width, and it obeys nobody but the terminal's width.

With WA_TEST_WRITE_GOLDEN=1 the files in `golden/` are written instead of compared.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.daemon.cli_room import make_status, wall
from wa_supervisor.cli.sessions import SessionView, overview
from wa_supervisor.cli.table import COLUMNS, WIDE_COLUMNS, Column, draw, table, why
from wa_supervisor.cli.words import cells
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.status import SessionStatus, Traffic

GOLDEN = Path(__file__).parent / "golden"
NOW = 1000.0

STATUSES = (
    make_status("acme", traffic=Traffic(messages_in=1234, messages_out=1180), since=NOW - 90_000),
    make_status(
        "bolt",
        State.BACKOFF,
        reason="GatewayError",
        message="gateway 503",
        attempt=7,
        restarts=7,
        next_attempt_at=NOW + 42,
        since=NOW - 300,
    ),
    make_status(
        "cargo-berlin",
        State.AWAITING_LOGIN,
        reason="LoginNeeded",
        message="scan the QR code with the phone: wa-supervisor login cargo-berlin (try 2 of 3)",
        since=NOW - 12,
    ),
    make_status("dune", observed_at=NOW - 240, since=NOW - 7000),
    make_status(
        "echo", State.PAUSED, reason="Paused", message="moving house", agent_id=AgentId("agent-with-long-name")
    ),
    make_status(
        "flux",
        State.INVALID,
        reason="InvalidRecord",
        message="pausd: no such key; did you mean 'paused'?",
        session=None,
        gateway=None,
    ),
)
RECORDS: dict[str, bytes] = {
    **{str(status.id): b"{}" for status in STATUSES},
    "golf": b'{"agent_id": "agent-2", "session": "golf", "gateway": "second"}',
}


def views(statuses: Sequence[SessionStatus] = STATUSES, records: dict[str, bytes] | None = None) -> list[SessionView]:
    told: dict[str, SessionStatus] = {status.id: status for status in statuses}
    return list(overview(RECORDS if records is None else records, told, (), NOW).sessions)


@pytest.mark.parametrize("width", [40, 80, 200, None])
def test_table_looks_like_the_golden_one(width: int | None) -> None:
    shown = draw(views(), width=width)
    golden = GOLDEN / f"status-{width or 'pipe'}.txt"
    if os.environ.get("WA_TEST_WRITE_GOLDEN") == "1":
        golden.write_text(shown)
    assert shown == golden.read_text()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_golden_line_is_wider_than_its_terminal(width: int) -> None:
    lines = (GOLDEN / f"status-{width}.txt").read_text().splitlines()
    assert max(map(cells, lines)) <= width


def test_wide_form_has_every_column_on_one_line_each() -> None:
    lines = draw(views(), width=None, columns=WIDE_COLUMNS).splitlines()
    assert len(lines) == 1 + len(RECORDS)
    assert all(column.title in lines[0] for column in WIDE_COLUMNS)


texts = st.text(max_size=60)
some_statuses = st.builds(
    make_status,
    texts.filter(bool),
    st.sampled_from(State),
    message=texts,
    reason=texts,
    agent_id=texts.map(AgentId) | st.none(),
    observed_at=st.floats(0, 2000),
    since=st.floats(0, 2000),
    next_attempt_at=st.floats(0, 2000) | st.none(),
    attempt=st.integers(0, 10**6),
    restarts=st.integers(0, 10**9),
)


@given(st.lists(some_statuses, min_size=1, max_size=5, unique_by=lambda status: status.id), st.integers(40, 250))
def test_whatever_is_told_the_table_fits_and_is_printable(statuses: list[SessionStatus], width: int) -> None:
    shown = draw(views(statuses, {}), width=width)
    for line in shown.splitlines():
        assert cells(line) <= width
        assert line.isprintable()


def test_escape_sequences_of_records_and_messages_do_not_reach_the_terminal() -> None:
    evil = make_status("\x1b]0;owned\x07", State.BACKOFF, message="\x1b[2Jgone\r\nrow", reason="R")
    shown = draw(views([evil], {}), width=200)
    assert not set(shown) & {"\x1b", "\x07", "\r"}
    assert len(shown.splitlines()) == 2


def test_colour_stands_around_the_state_and_nowhere_else() -> None:
    plain, coloured = (draw(views(), width=200, colour=colour) for colour in (False, True))
    assert "\x1b[32mrunning" in coloured
    assert "\x1b[31mUnknown (4 min old)" in coloured
    assert "\x1b" not in plain


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"state": State.BACKOFF, "message": "gateway 503"}, "gateway 503"),
        ({"state": State.BACKOFF, "message": "", "reason": "GatewayError"}, "GatewayError"),
        ({"state": State.BACKOFF, "message": "gateway 503", "attempt": 1}, "gateway 503"),
        ({"state": State.BACKOFF, "message": "x", "attempt": 2}, "x, 2 tries"),
        ({"state": State.BACKOFF, "message": "x", "next_attempt_at": NOW + 3000}, "x, next in 50 min"),
        ({"state": State.BACKOFF, "message": "x", "next_attempt_at": NOW - 1}, "x, next now"),
        ({"reason": "Zombie", "message": "doubtful"}, "doubtful"),
        ({"observed_at": 0.0}, "was running: connected"),
    ],
)
def test_why_says_the_reason_and_what_comes_next(fields: dict[str, object], words: str) -> None:
    (view,) = views([msgspec.structs.replace(make_status("a"), **fields)], {"a": b"{}"})
    assert why(view) == words


def test_least_telling_columns_go_first_and_name_and_state_stay() -> None:
    def titles(width: int) -> list[str]:
        head = draw(views(), width=width).splitlines()[0]
        return [column.title for column in COLUMNS if column.title in head]

    shown = [titles(width) for width in (90, 80, 60, 50, 40)]
    assert all(set(narrow) <= set(wide) for wide, narrow in pairwise(shown))
    assert {"SESSION", "STATE"} <= set(shown[-1])
    assert isinstance(COLUMNS[0], Column)


def test_statuses_known_at_first_hand_are_drawn_as_they_are_now() -> None:
    shown = table([make_status("acme", observed_at=wall()), make_status("old", observed_at=wall() - 600)])
    assert [line.split()[3] for line in shown.splitlines()] == ["STATE", "running", "Unknown"]
