"""Where the server is: the operator's URL and password, read into a value. Knows no library.

`redis://[user][:password]@host:port/db`, `rediss://` for TLS, `unix:///path?db=n`. Of the URL's options the database
and those of TLS count (`ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_check_hostname`); time-outs and retries are
this package's own business. The value never shows a secret: neither in its `repr` nor in an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from wa_supervisor.adapters.redis.refusals import Server
from wa_supervisor.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How an encrypted connection is made. Without files the system's authorities are trusted."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    checks_hostname: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """One server and one of its databases."""

    host: str = "localhost"
    port: int = 6379
    socket: str | None = None
    """Path of a unix socket; takes the place of host and port."""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None

    @property
    def server(self) -> Server:
        """The server as it is named in sentences."""
        where = self.socket or f"{self.host}:{self.port}"
        return Server(label=f"{where} (database {self.database})", secret=self.password)


def read_address(url: str, password: str | None = None) -> RedisAddress:
    """Read a URL; `password` takes the place of one in it. Raises `ConfigurationError` for a URL that is none."""
    try:
        return _read(urlsplit(url), password)
    except ValueError:
        # The words of the cause may hold a piece of a password that was not %-encoded: neither kept nor shown.
        text = 'redis.url: is not an address; give e.g. "redis://127.0.0.1:6379/0"'
        raise ConfigurationError([text]) from None


def _read(parts: SplitResult, password: str | None) -> RedisAddress:
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(parts.scheme)
    options = dict(parse_qsl(parts.query))
    is_socket = parts.scheme == "unix"
    path = "" if is_socket else parts.path.strip("/")
    return RedisAddress(
        host=parts.hostname or "localhost",
        port=parts.port or 6379,
        socket=unquote(parts.path) if is_socket else None,
        database=int(options.get("db") or path or 0),
        username=unquote(parts.username) if parts.username else None,
        password=password or (unquote(parts.password) if parts.password else None) or options.get("password"),
        tls=_tls(options) if parts.scheme == "rediss" else None,
    )


def _tls(options: Mapping[str, str]) -> Tls:
    return Tls(
        ca_certs=options.get("ssl_ca_certs"),
        certfile=options.get("ssl_certfile"),
        keyfile=options.get("ssl_keyfile"),
        checks_hostname=options.get("ssl_check_hostname", "yes").lower() not in {"no", "false", "0"},
    )
