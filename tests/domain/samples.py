"""The recorded payloads of `tests/payloads`, by file name, and the message objects that they contain.

Read once at import and never changed: a test that changes one copies it first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

PAYLOADS = Path(__file__).parent.parent / "payloads"

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One file."""

    name: str
    """The file's name without `.json`."""
    event: str
    """As the file says it: an event of Socket.IO or a webhook, or a call with its status."""
    payload: Any

    @property
    def event_name(self) -> str:
        """The first word of `event`: for an event, its name on the wire."""
        return self.event.split(" ", 1)[0]


def _read(path: Path) -> Sample:
    content = json.loads(path.read_text(encoding="utf-8"))
    return Sample(name=path.stem, event=content["event"], payload=content["payload"])


SAMPLES: Mapping[str, Sample] = MappingProxyType(
    {path.stem: _read(path) for path in sorted(PAYLOADS.glob("*.json"))},
)


def payload(name: str) -> Any:  # noqa: ANN401  # the samples are JSON of any shape; that is their point
    """Give the payload of one file."""
    return SAMPLES[name].payload


def received(message: Mapping[str, Any], session: str | None = None) -> dict[str, object]:
    """Wrap a message object as `received-message` carries it."""
    return {"response": {**message, **({"session": session} if session else {})}}


def message_objects() -> Iterator[tuple[str, Message]]:
    """Give every whole message of a session that a sample contains, under the file's name and its place in there."""
    for name, sample in SAMPLES.items():
        if name.startswith("received-message"):
            yield name, sample.payload["response"]
        elif name.startswith(("message-object", "onmessage")):
            yield name, sample.payload
        elif name.startswith("http-"):
            yield from _rows(name, sample.payload)


def _rows(name: str, answer: object) -> Iterator[tuple[str, Message]]:
    rows = cast("Message", answer).get("response") if isinstance(answer, dict) else None
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        if isinstance(row, dict) and "body" in row:
            yield f"{name}[{index}]", row
        elif isinstance(row, dict):
            yield from ((f"{name}[{index}].messages[{at}]", one) for at, one in enumerate(row.get("messages", [])))
