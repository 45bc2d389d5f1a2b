"""One integration: the operator's record, read into a value or refused with a reason that names the key.

The record is JSON in the field of the wish hash: `agent_id`, `session` (the hub's `sessionName` and `session_name` are
accepted) and `gateway`, and optional keys; the table `_KEYS` has them all. A key that is not in the table makes the
record invalid: a misspelt `pausd` must not leave a session running that was meant to be paused.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import msgspec

from wa_supervisor.domain.gateway import Proxy
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName

SESSION_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
"""The gateway puts session names into paths and folders and splits them at `:`."""

MAX_RECORD_BYTES = 16_384
"""A record is a few hundred bytes; one above this is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """A wish: this agent has this number, as this session at this gateway."""

    id: IntegrationId
    agent_id: AgentId
    session: SessionName
    gateway: GatewayName
    token: str | None = field(default=None, repr=False)
    paused: bool = False
    pause_reason: str = ""
    paused_until: float | None = None
    """Seconds since the epoch at which the pause ends by itself; `None`: it lasts until it is taken back."""
    phone: str | None = field(default=None, repr=False)
    """Digits: log in by pairing code for this number instead of by QR."""
    proxy: Proxy | None = None
    typing: bool = True
    """Whether people see "typing" until the reply."""
    revision: str = ""
    """Digest of the record; a status says which revision it speaks of."""

    def is_paused(self, now: float) -> bool:
        """Whether the pause holds at `now`, in seconds since the epoch."""
        return self.paused and (self.paused_until is None or now < self.paused_until)

    @property
    def claim(self) -> tuple[GatewayName, SessionName]:
        """What only one integration can have."""
        return self.gateway, self.session


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidIntegration:
    """A record that cannot be followed, and why."""

    id: IntegrationId
    reason: str
    message: str
    revision: str = ""
    agent_id: AgentId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a record may leave out."""

    gateways: frozenset[GatewayName]
    gateway: GatewayName | None = None
    session: SessionName | None = None


class _WrongKeyError(ValueError):
    pass


def read_integration(field_name: str, record: bytes, defaults: Defaults) -> Integration | InvalidIntegration:
    """Read one field of the wish hash. Never raises: a bad record is an `InvalidIntegration` with its reason."""
    name = IntegrationId(field_name)
    revision = hashlib.blake2s(record, digest_size=6).hexdigest()
    agent_id: AgentId | None = None
    try:
        _name("id", name)
        given = _decode(record)
        agent_id = _agent_id_if_any(given)
        fields = _read_fields(given)
        integration = _build(name, revision, fields, defaults)
    except _WrongKeyError as error:
        return InvalidIntegration(
            id=name, reason="InvalidRecord", message=str(error), revision=revision, agent_id=agent_id
        )
    if integration.gateway not in defaults.gateways:
        known = ", ".join(sorted(defaults.gateways)) or "none"
        message = f"gateway: no gateway {integration.gateway!r} is configured; known: {known}"
        return InvalidIntegration(
            id=name, reason="UnknownGateway", message=message, revision=revision, agent_id=agent_id
        )
    return integration


def _decode(record: bytes) -> dict[str, object]:
    if len(record) > MAX_RECORD_BYTES:
        raise _WrongKeyError(f"the record has {len(record)} bytes; at most {MAX_RECORD_BYTES} are read")
    try:
        given = msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _WrongKeyError(f"the record is not JSON: {error}") from error
    except RecursionError as error:
        raise _WrongKeyError("the record is nested too deeply") from error
    if not isinstance(given, dict):
        raise _WrongKeyError('the record must be a JSON object such as {"agent_id": "...", "session": "..."}')
    return cast("dict[str, object]", given)


def _read_fields(given: Mapping[str, object]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for key, value in given.items():
        target = _ALIASES.get(key, key)
        reader = _KEYS.get(target)
        if reader is None:
            raise _WrongKeyError(f"{_shown(key)}: no such key{_did_you_mean(key)}")
        if target in fields and fields[target] != value:
            raise _WrongKeyError(f"{key}: given twice under two names, with different values")
        if value is not None:
            fields[target] = reader(key, value)
    return fields


def _build(name: IntegrationId, revision: str, fields: dict[str, object], defaults: Defaults) -> Integration:
    fields.pop("integration_type", None)
    fields.setdefault("session", defaults.session)
    fields.setdefault("gateway", defaults.gateway)
    for key, hint in (("agent_id", "the agent"), ("session", "the session's name"), ("gateway", "a gateway")):
        if fields.get(key) is None:
            raise _WrongKeyError(f"{key}: missing; name {hint}")
    return Integration(id=name, revision=revision, **fields)  # type: ignore[arg-type]  # _KEYS gives each its type


def _shown(key: str) -> str:
    return (key if key.isprintable() else ascii(key))[:60]


def _did_you_mean(key: str) -> str:
    close = difflib.get_close_matches(key, [*_KEYS, *_ALIASES], n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(_KEYS))}"


def _agent_id_if_any(given: Mapping[str, object]) -> AgentId | None:
    value = given.get("agent_id")
    return AgentId(value) if isinstance(value, str) and _is_name(value) else None


_LONGEST_NAME = 200


def _is_name(value: str) -> bool:
    return bool(value.strip()) and len(value) <= _LONGEST_NAME and value.isprintable()


def _name(key: str, value: object) -> str:
    if not isinstance(value, str) or not _is_name(value):
        raise _WrongKeyError(f"{key}: must be a text of 1 to {_LONGEST_NAME} printable characters")
    return value


def _session(key: str, value: object) -> str:
    if not isinstance(value, str) or not SESSION_NAME.fullmatch(value):
        raise _WrongKeyError(f"{key}: must be 1 to 40 letters, digits, '_' or '-', as the gateway needs it")
    return value


def _bool(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _WrongKeyError(f"{key}: must be true or false")
    return value


_LAST_YEAR = 253_402_300_800.0
"""Seconds since the epoch up to the year 10000: what lies beyond is no time of day but a mistake, milliseconds say."""


def _moment(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_YEAR:
        raise _WrongKeyError(f"{key}: must be a time in seconds since 1970, such as 1790000000")
    return float(value)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > 500:
        raise _WrongKeyError(f"{key}: must be a text of at most 500 characters")
    return value


def _phone(key: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{7,15}", value, re.ASCII):
        raise _WrongKeyError(f"{key}: must be 7 to 15 digits with the country code, without '+'")
    return value


def _token(key: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,500}", value):
        raise _WrongKeyError(f"{key}: must be the token that the gateway gave for this session")
    return value


def _whatsapp(key: str, value: object) -> str:
    if value != "whatsapp":
        raise _WrongKeyError(f"{key}: must be 'whatsapp'")
    return "whatsapp"


def _proxy(key: str, value: object) -> Proxy:
    if not isinstance(value, dict):
        raise _WrongKeyError(f"{key}: must be an object with 'url' and, where needed, 'username' and 'password'")
    given = cast("dict[str, object]", value)
    fields = {name: part for name, part in given.items() if part is not None}
    wrong = [name for name, part in fields.items() if name not in _PROXY_KEYS or not isinstance(part, str)]
    if wrong:
        raise _WrongKeyError(f"{key}.{_shown(wrong[0])}: not understood; known: {', '.join(_PROXY_KEYS)}, each a text")
    if not _PROXY_URL.fullmatch(cast("str", fields.get("url", ""))):
        raise _WrongKeyError(f"{key}.url: must be an address such as http://10.0.0.1:3128, without a user or password")
    return Proxy(**cast("dict[str, str]", fields))


_PROXY_KEYS = ("url", "username", "password")
_PROXY_URL = re.compile(r"[!-?A-~]{1,500}")

_KEYS: Mapping[str, Callable[[str, object], object]] = {
    "agent_id": _name,
    "session": _session,
    "gateway": _session,
    "token": _token,
    "paused": _bool,
    "pause_reason": _text,
    "paused_until": _moment,
    "phone": _phone,
    "proxy": _proxy,
    "typing": _bool,
    "integration_type": _whatsapp,
}

_ALIASES: Mapping[str, str] = {"sessionName": "session", "session_name": "session"}
