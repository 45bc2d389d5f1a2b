"""Records of the wish as an operator changes and sees them. Pure; what a record may say is the domain's to judge.

A change keeps every key that it is not about, also one that nobody knows. Secrets are given by files or stdin and are
never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from wa_supervisor.cli.failing import CommandError
from wa_supervisor.domain.integration import Defaults, read_integration
from wa_supervisor.domain.masking import HIDDEN, masked_digits, redacted

Record = dict[str, object]

SESSION_SPELLINGS = ("session", "sessionName", "session_name")
"""One setting: setting it under one name must take the others out."""

_JSON_KEYS = frozenset({"paused", "paused_until", "typing", "proxy"})
"""Keys whose values are JSON; those of others are text, whatever they look like."""


def decoded(name: str, record: bytes) -> Record:
    """Read a record to change it. Raises `CommandError` for one that is no JSON object."""
    try:
        given = msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(name) from error
    if not isinstance(given, dict):
        raise _unreadable(name)
    return cast("Record", given)


def _unreadable(name: str) -> CommandError:
    return CommandError(f"{name}: its record is not a JSON object, so nothing in it can be changed; remove and add it")


def encoded(record: Mapping[str, object]) -> bytes:
    """Write a record."""
    return msgspec.json.encode(record)


def revision_of(name: str, record: bytes) -> str:
    """Give the revision that a status of this record speaks of."""
    return read_integration(name, record, Defaults(gateways=frozenset())).revision


def with_keys(record: Mapping[str, object], changes: Mapping[str, object]) -> Record:
    """Set keys, and take out those whose new value is `None`."""
    gone = {key for key, value in changes.items() if value is None}
    if any(name in changes for name in SESSION_SPELLINGS):
        gone.update(name for name in SESSION_SPELLINGS if name not in changes)
    kept = {key: value for key, value in record.items() if key not in gone}
    return kept | {key: value for key, value in changes.items() if value is not None}


def read_change(text: str) -> tuple[str, object]:
    """Read `KEY=VALUE`; nothing behind the `=` stands for taking the key out. Raises `CommandError`."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise CommandError(f"{text!r} is not KEY=VALUE; write e.g. typing=false, or pause_reason= to take a key out")
    if not value:
        return key, None
    if key == "token":
        raise CommandError("a secret never stands on a command line; use --token-file FILE (- is stdin)")
    return key, _read_value(key, value)


def _read_value(key: str, text: str) -> object:
    if key not in _JSON_KEYS:
        return text
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    if isinstance(value, dict) and "password" in value:
        raise CommandError("a secret never stands on a command line; use --proxy-file FILE (- is stdin)")
    return value


def masked_record(record: bytes) -> object:
    """Give a record for showing: what is or may be a secret as asterisks, phone numbers by their ends."""
    try:
        given = msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return HIDDEN
    return _masked(given, _SHOWN) if isinstance(given, dict) else HIDDEN


def _masked(record: Mapping[str, object], shown: Mapping[str, Callable[[object], object]]) -> Record:
    # A key that is not known may be a misspelt secret.
    return {key: value if value is None else shown.get(key, _hidden)(value) for key, value in record.items()}


def _hidden(value: object) -> object:
    del value
    return HIDDEN


def _plain(value: object) -> object:
    if isinstance(value, str):
        return redacted(value)
    return value if isinstance(value, bool) else HIDDEN


def _number(value: object) -> object:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else HIDDEN


def _digits(value: object) -> object:
    return masked_digits(value) if isinstance(value, str) else HIDDEN


def _proxy(value: object) -> object:
    return _masked(value, {"url": _plain, "username": _plain}) if isinstance(value, dict) else HIDDEN


_SHOWN: Mapping[str, Callable[[object], object]] = {
    **dict.fromkeys(("agent_id", "gateway", "paused", "pause_reason", "typing", "integration_type"), _plain),
    **dict.fromkeys(SESSION_SPELLINGS, _plain),
    "paused_until": _number,
    "phone": _digits,
    "proxy": _proxy,
}
