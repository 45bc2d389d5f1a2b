"""psycopg's exceptions in our words: what happened, at which database, and what to do about it.

Two tables, from what the server says to what an operator does, and functions over them. A password never appears:
libpq does not print it, and what it prints of an address that it cannot read is left out. Nor do values of rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg.conninfo import conninfo_to_dict

from wa_supervisor.domain.errors import ConfigurationError, StoreUnavailableError

_RUNS = "see that the server runs and that the address leads to it"
_LOGIN = "correct user and password of the address, or let the role in with pg_hba.conf"
_DATABASE = "create the database, or correct its name in the address"
_ROOM = "give the server more room, or the daemon fewer connections"

_BY_STATE: Mapping[str, str] = {
    "08": _RUNS,
    "25006": "give the address of the primary: this server is read-only",
    "28": _LOGIN,
    "3D000": _DATABASE,
    "42501": "GRANT the role SELECT, INSERT and UPDATE on users, SELECT and INSERT on agent_user_authorizations, and "
    "USAGE on their sequences",
    "42P01": "create users and agent_user_authorizations, or let a role that may create tables start the daemon",
    "42703": "point the address or the search_path to the hub's tables: these are others",
    "53": _ROOM,
    "57": "nothing, unless it stays so: the server was stopped or restarted, or ended the query",
}
"""SQLSTATE, or its class, to what an operator does about it."""

_BY_WORDS: Mapping[str, str] = {
    "authentication failed": _LOGIN,
    "pg_hba.conf": _LOGIN,
    "no password supplied": _LOGIN,
    " does not exist": _DATABASE,
    "too many": _ROOM,
    "remaining connection slots": _ROOM,
}
"""The same for refused connections, which come without an SQLSTATE."""

_OTHER = "look into the server's log"


def read_conninfo(url: str) -> dict[str, str]:
    """Take a libpq address apart, or raise `ConfigurationError` without showing any of it."""
    try:
        return {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error as error:
        ssl = ' (write "sslmode" for "ssl")' if 'parameter: "ssl"' in str(error) else ""
        mistake = (
            f"postgres.url is not an address that libpq can read{ssl}; give e.g. postgresql://hub@127.0.0.1:5432/hub"
        )
        raise ConfigurationError([mistake]) from None  # its text quotes the address, and that may be the password


def place(conninfo: Mapping[str, str]) -> str:
    """Say which database an address means, without user and password."""
    host = conninfo.get("host") or conninfo.get("hostaddr") or "the default socket"
    port = f":{conninfo['port']}" if "port" in conninfo and not host.startswith("/") else ""
    return f"{conninfo.get('dbname') or 'the default database'} at {host}{port}"


def unavailable(error: BaseException, conninfo: Mapping[str, str]) -> StoreUnavailableError:
    """Turn an exception of psycopg, its pool or the socket into ours; the caller keeps the cause with `from`."""
    text = _words(error)
    if password := conninfo.get("password"):
        text = text.replace(password, "********")
    return StoreUnavailableError(f"PostgreSQL ({place(conninfo)}) cannot be used: {text}. What to do: {_advice(error)}")


def no_answer(seconds: float, conninfo: Mapping[str, str]) -> StoreUnavailableError:
    """Say that time was up."""
    return StoreUnavailableError(
        f"PostgreSQL ({place(conninfo)}) did not answer within {seconds:g} s. What to do: {_RUNS} and is not overloaded"
    )


def _words(error: BaseException) -> str:
    # The primary message alone: the detail quotes values, which are people's names and numbers.
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((primary or str(error)).split()).removesuffix(".") or type(error).__name__


def _advice(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    if state:
        return _BY_STATE.get(state) or _BY_STATE.get(state[:2], _OTHER)
    words = str(error)
    return next((advice for fragment, advice in _BY_WORDS.items() if fragment in words), _RUNS)
