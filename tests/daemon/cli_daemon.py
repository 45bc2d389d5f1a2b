"""A daemon for tests of the command line that does nothing but answer commands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import redis

from tests.daemon.cli_room import LONGEST, CliRoom, wall
from wa_supervisor.domain.status import CommandResult

Judge = Callable[[str, str], tuple[bool, str]]
"""From a verb and an integration's id to whether it is accepted, and why."""


def accepting(verb: str, name: str) -> tuple[bool, str]:
    """Accept everything."""
    return True, f"{verb} of {name} begun"


@contextmanager
def answering(room: CliRoom, judge: Judge = accepting) -> Iterator[None]:
    """Answer what is commanded until the end of the block."""
    is_over = threading.Event()
    thread = threading.Thread(target=_answer, args=(room.url, judge, is_over))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(LONGEST)


def _answer(url: str, judge: Judge, is_over: threading.Event) -> None:
    after: Any = "0-0"
    with redis.Redis.from_url(url) as line:
        while not is_over.is_set():
            streams: Any = line.xread({"wa:commands": after}, block=20)
            for after, fields in streams[0][1] if streams else ():
                answer_to(line, after.decode(), fields, judge)


def answer_to(line: redis.Redis, command: str, fields: dict[bytes, bytes], judge: Judge) -> CommandResult:
    """Answer one command, as a daemon does."""
    verb, name = fields[b"verb"].decode(), fields[b"integration_id"].decode()
    is_accepted, message = judge(verb, name)
    answer = CommandResult(id=command, verb=verb, at=wall(), accepted=is_accepted, message=message)
    line.set(f"wa:answer:{command}", msgspec.json.encode(answer), nx=not is_accepted)
    return answer
