"""Commands as they go over the wire, and as they are told to a person. Knows no library and no connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wa_supervisor.adapters.redis.keys import to_text

Command = Sequence[bytes]
"""A command's name and its arguments."""


def pack(commands: Iterable[Command]) -> bytes:
    """Write commands in the server's own notation."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in command]
    return b"".join(parts)


def describe(command: Command) -> str:
    """Name a command and its first key; never anything else, because arguments may be secret or private."""
    is_script = command[0] in {b"EVALSHA", b"EVAL"}
    shown = command[3:4] if is_script else command[1:2]
    if command[0] in {b"XGROUP", b"CONFIG", b"SCRIPT"}:
        shown = command[1:3]
    elif command[0] in {b"XREADGROUP", b"AUTH"}:
        shown = ()
    return to_text(b" ".join((command[0], *shown)))[:120]
