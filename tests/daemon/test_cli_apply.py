"""`apply --confirm`: given to the daemons, and answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from tests.daemon.cli_room import LONGEST, CliRoom, wall
from wa_supervisor.domain.status import CommandResult


@pytest.fixture
def room(redis_url: str, tmp_path: Path) -> Iterator[CliRoom]:
    with CliRoom(redis_url, tmp_path) as opened:
        yield opened


@contextmanager
def answering(room: CliRoom, *, accepted: bool, message: str) -> Iterator[list[dict[bytes, bytes]]]:
    """Answer one command as a daemon does; give what it heard."""
    heard: list[dict[bytes, bytes]] = []

    def answer() -> None:
        with redis.Redis.from_url(room.url) as line:
            streams: Any = line.xread({"wa:commands": "0-0"}, block=int(LONGEST * 1000))
            entry, fields = streams[0][1][0]
            heard.append(fields)
            result = CommandResult(id=entry.decode(), verb="confirm", at=wall(), accepted=accepted, message=message)
            line.set(f"wa:answer:{entry.decode()}", msgspec.json.encode(result))

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield heard
    finally:
        thread.join(LONGEST)


def test_what_is_held_back_is_confirmed_and_the_answer_shown(room: CliRoom) -> None:
    room.announce()
    with answering(room, accepted=True, message="45 sessions that the wish lost are stopped now") as heard:
        shown = room.run("apply", "--confirm", "--reason", "moved away")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == "confirm accepted: 45 sessions that the wish lost are stopped now\n"
    (fields,) = heard
    assert (fields[b"verb"], fields[b"reason"]) == (b"confirm", b"moved away")
    assert not fields.get(b"integration_id")


def test_a_refusal_says_why_and_is_1(room: CliRoom) -> None:
    room.announce()
    with answering(room, accepted=False, message="nothing is held back"):
        shown = room.run("apply", "--confirm")
    assert (shown.code, shown.out, shown.err) == (1, "", "error: confirm refused: nothing is held back\n")


def test_a_daemon_that_does_not_answer_is_said_and_is_5(room: CliRoom) -> None:
    room.announce()
    shown = room.run("apply", "--confirm")
    assert shown.code == 5
    assert "no daemon answered within 2 s" in shown.err


def test_without_a_daemon_there_is_nobody_to_confirm_to(room: CliRoom) -> None:
    shown = room.run("apply", "--confirm")
    assert shown.code == 4
    assert "no daemon is alive to confirm anything" in shown.err


def test_nothing_is_confirmed_by_mistake(room: CliRoom) -> None:
    shown = room.run("apply")
    assert shown.code == 2
    assert "--confirm" in shown.err
