"""The border to redis-py: every exception of the library becomes a `StoreUnavailableError`, its cause kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from redis import exceptions

from wa_supervisor.adapters.redis.refusals import RefusalError, Server, code_of
from wa_supervisor.domain.errors import StoreUnavailableError

_REPLIES = (exceptions.ResponseError, exceptions.AuthenticationError, exceptions.BusyLoadingError)
"""Error replies; the library counts the last two among broken connections."""

_CODES: Mapping[type[Exception], str] = MappingProxyType(
    {
        exceptions.NoScriptError: "NOSCRIPT",
        exceptions.OutOfMemoryError: "OOM",
        exceptions.ReadOnlyError: "READONLY",
        exceptions.NoPermissionError: "NOPERM",
        exceptions.BusyLoadingError: "LOADING",
        exceptions.MovedError: "MOVED",
        exceptions.AskError: "ASK",
        exceptions.ClusterCrossSlotError: "CROSSSLOT",
        exceptions.ClusterDownError: "CLUSTERDOWN",
        exceptions.MasterDownError: "MASTERDOWN",
    }
)
"""The library takes the code off the text of these."""


@contextmanager
def border(server: Server, doing: str, *, within: float | None = None) -> Iterator[None]:
    """Turn exceptions of the library into ours. `doing` and `within` (seconds) are for the sentence."""
    try:
        yield
    except (exceptions.RedisError, exceptions.RedisClusterException, OSError, UnicodeError) as error:
        raise _ours(error, server, doing, within) from error


def refusal(error: Exception, server: Server, doing: str) -> RefusalError:
    """Give ours for an error reply."""
    words = str(error)
    code = _CODES.get(type(error)) or code_of(words)
    if isinstance(error, exceptions.AuthenticationError):
        code = "NOAUTH" if "required" in words.lower() else "WRONGPASS"
    return server.refused(code, words, doing)


def _ours(error: Exception, server: Server, doing: str, within: float | None) -> StoreUnavailableError:
    inner = error.__cause__  # on a unix socket the library wraps what the server says to a login
    if isinstance(error, exceptions.ConnectionError) and isinstance(inner, _REPLIES):
        return refusal(inner, server, doing)
    if isinstance(error, _REPLIES):
        return refusal(error, server, doing)
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return server.silent(doing, within)
    return server.unreachable(str(error) or type(error).__name__, doing)
