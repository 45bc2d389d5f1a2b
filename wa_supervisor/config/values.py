"""Kinds of settings: what a text, a number of seconds, a name or an address must look like, and is shown as.

Every kind is an annotated type, so a section names it and adds only its range. Numbers are strict: `"4"` is not `4`
in a file; the environment's words become numbers before they come here. Nothing here reads files or the environment.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, NoReturn
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, Strict
from pydantic_core import PydanticCustomError

from wa_supervisor.domain.names import GatewayName

HIDDEN = "********"
"""What stands for a secret wherever settings are shown."""

NAME = r"^[A-Za-z0-9_-]{1,40}$"
"""A gateway's name; it becomes part of environment variables, credentials and metrics."""

NAME_OR_NONE = r"^[A-Za-z0-9_-]{0,40}$"
"""A name of a gateway or session, or nothing; the gateway itself allows no other characters in a session's name."""

DAEMON_ID = r"^[A-Za-z0-9_.-]{0,64}$"
"""A daemon's name, as host names are; it becomes part of a Redis key."""

KEY_PREFIX = r"^[A-Za-z0-9_.-]{1,20}(:[A-Za-z0-9_.-]{1,20}){0,3}$"
"""A Redis prefix: nothing that a pattern (`*?[]`) or a cluster (`{}`) would take for its own."""

PATTERN_PROSE = {
    NAME: 'is not a name; give 1 to 40 letters, digits, "_" or "-"',
    NAME_OR_NONE: 'is not a name; give up to 40 letters, digits, "_" or "-"',
    DAEMON_ID: 'is not a name; give up to 64 letters, digits, ".", "_" or "-"',
    KEY_PREFIX: 'is not a prefix; give letters, digits, ".", "_" or "-", with single ":" between parts',
}
"""What each pattern asks for, in words."""


class Section(BaseModel):
    """Common manners of every table of the file: frozen, no unknown keys, and no value in an error's text."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def refuse(problem: str) -> NoReturn:
    """Turn a value down; `problem` reads on from the value: `is not ...; give ...`."""
    raise PydanticCustomError("refused", "{problem}", {"problem": problem})


def mask_url(url: str) -> str:
    """Return the address with its password, and every query value named like one, replaced by asterisks."""
    if url and "://" not in url:
        return HIDDEN
    without_password = re.sub(r"://([^:@/]*):.*@", rf"://\1:{HIDDEN}@", url)
    return re.sub(r"(?i)([?&][^=&]*pass[^=&]*=)[^&]*", rf"\1{HIDDEN}", without_password)


def _plain(value: str) -> str:
    if not value.isprintable():
        refuse("has control characters or bytes that are not UTF-8; give plain text on one line")
    return value


def _plain_secret(value: SecretStr) -> SecretStr:
    _plain(value.get_secret_value())
    return value


def _split(url: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    wrong = f'is not an address of the form {" or ".join(f"{scheme}://" for scheme in schemes)}; give e.g. "{example}"'
    try:
        parts = urlsplit(url)
    except ValueError:
        refuse(wrong)
    if parts.scheme not in schemes:
        refuse(wrong)
    if url.count("@") != parts.netloc.count("@") or url.count("@") > 1:
        refuse('has an "@" in an odd place; write "@", "/", "?" and "#" of a password as %40, %2F, %3F and %23')
    return parts


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        refuse("has a port that is not a number from 1 to 65535; a password's special characters must be %-encoded")


def _redis_url(value: SecretStr) -> SecretStr:
    example = "redis://127.0.0.1:6379/0"
    parts = _split(value.get_secret_value(), ("redis", "rediss", "unix"), example)
    if parts.scheme == "unix":
        return (
            value
            if parts.path.strip("/")
            else refuse('names no socket; give e.g. "unix:///run/valkey/valkey.sock?db=0"')
        )
    _port(parts)
    if not parts.hostname:
        refuse(f'names no host; give e.g. "{example}"')
    if not re.fullmatch(r"/?\d{0,4}", parts.path):
        refuse(f'must end in the number of a database; give e.g. "{example}"')
    return value


def _postgres_url(value: SecretStr) -> SecretStr:
    url = re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", value.get_secret_value())
    if url:
        _split(url, ("postgresql", "postgres"), "postgresql://hub@127.0.0.1:5432/hub")
    return SecretStr(url)


def _gateway_url(url: str) -> str:
    example = 'give e.g. "http://127.0.0.1:21465"'
    try:
        parts = urlsplit(url)
    except ValueError:
        refuse(f"is not an http(s) URL; {example}")
    if parts.scheme not in {"http", "https"} or not parts.hostname or " " in url:
        refuse(f"is not an http(s) URL; {example}")
    if parts.username is not None:
        refuse(f"must not hold a user or password, because requests carry the session's token instead; {example}")
    if parts.query or parts.fragment:
        refuse(f'must end before "?" and "#"; {example}')
    _port(parts)
    return url.rstrip("/")


def _socketio_path(path: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~/%-]*[A-Za-z0-9._~%-]/?", path):
        refuse('is not a path of the gateway; give e.g. "/socket.io/"')
    return f"/{path.strip('/')}/"


def _loopback(host: str) -> str:
    try:
        inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        refuse(
            'is not this machine; give "127.0.0.1" or "::1", because the admin server asks nobody for a password yet'
        )
    return host


def _whole_path(path: str) -> str:
    if path.startswith("~"):
        refuse('starts with "~", which only a shell expands; write the whole path')
    return path


Seconds = Annotated[float, Strict()]
Share = Annotated[float, Strict()]
Number = Annotated[float, Strict()]
Count = Annotated[int, Strict()]
Switch = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), AfterValidator(_plain)]
Secret = Annotated[SecretStr, AfterValidator(_plain_secret)]
SecretFile = Annotated[str, Strict(), AfterValidator(_plain)]
Folder = Annotated[str, Strict(), AfterValidator(_plain), AfterValidator(_whole_path)]
DaemonId = Annotated[str, Strict(), Field(pattern=DAEMON_ID)]
Prefix = Annotated[str, Strict(), Field(pattern=KEY_PREFIX)]
GatewayKey = Annotated[GatewayName, Strict(), Field(pattern=NAME)]
NameOrNone = Annotated[str, Strict(), Field(pattern=NAME_OR_NONE)]
RedisUrl = Annotated[SecretStr, AfterValidator(_plain_secret), AfterValidator(_redis_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_plain_secret), AfterValidator(_postgres_url)]
GatewayUrl = Annotated[str, Strict(), AfterValidator(_plain), AfterValidator(_gateway_url)]
SocketioPath = Annotated[str, Strict(), AfterValidator(_plain), AfterValidator(_socketio_path)]
LoopbackHost = Annotated[str, Strict(), AfterValidator(_plain), AfterValidator(_loopback)]
