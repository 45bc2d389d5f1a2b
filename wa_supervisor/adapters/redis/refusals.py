"""What the server refuses, and that it cannot be reached, as sentences for the operator. Knows no library.

A sentence names the server, what happened and what to do. It never holds a password, a payload or a chat: of a command
only its name and its first key are told, and the server's own words are cut where they repeat arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from wa_supervisor.domain.errors import StoreUnavailableError


class RefusalError(StoreUnavailableError):
    """The server answered a command with an error; `code` is its first word (`WRONGTYPE`, `NOSCRIPT`)."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server as it is named in sentences."""

    label: str
    secret: str | None = field(default=None, repr=False)
    """Struck out wherever it would appear."""

    def refused(self, code: str, words: str, doing: str) -> RefusalError:
        """It answered with an error."""
        advice = _ADVICE.get(code, "refused a command")
        return RefusalError(f"Redis at {self.label} {advice} ({doing}: {self._clean(words)})", code=code)

    def unreachable(self, words: str, doing: str) -> StoreUnavailableError:
        """The connection cannot be made, or broke."""
        advice = "see whether it runs and whether redis.url is right"
        told = f"Redis at {self.label} cannot be reached ({doing}: {self._clean(words)})"
        return StoreUnavailableError(f"{told}; {advice}")

    def silent(self, doing: str, within: float | None) -> StoreUnavailableError:
        """It did not answer."""
        limit = f"within {within:g} s" if within else "in time"
        advice = "see whether it hangs or the way to it is blocked"
        return StoreUnavailableError(f"Redis at {self.label} did not answer {limit} ({doing}); {advice}")

    def _clean(self, words: str) -> str:
        words = _ARGUMENTS.sub("", words)[:300]
        return words.replace(self.secret, "***") if self.secret else words


def code_of(words: str) -> str:
    """Give the code that an error reply begins with; `ERR` if it has none."""
    first = words.partition(" ")[0]
    return first if first.isupper() and first.isalpha() else "ERR"


_ARGUMENTS = re.compile(r"(?:, with args beginning with| script: ).*", re.DOTALL)
"""Where the server begins to repeat what it was given."""

_CLUSTER = "is a node of a cluster, which is not supported; give a single server in redis.url"

_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "NOAUTH": "wants a password; give redis.password",
        "WRONGPASS": "refuses the password; correct redis.password, or the user in redis.url",
        "NOPERM": "does not permit it; give the user the permission (ACL SETUSER; channels need &*)",
        "LOADING": "is still loading its data; wait until it has",
        "OOM": "is full; raise its maxmemory or free memory, and keep its maxmemory-policy at noeviction",
        "READONLY": "is a read-only replica; give the address of the primary in redis.url",
        "MASTERDOWN": "is a replica that has lost its primary; give the address of the primary in redis.url",
        "MISCONF": "cannot write to its disk and takes no changes; look at its log and at the free space",
        "NOREPLICAS": "has too few replicas to take changes; look at min-replicas-to-write",
        "WRONGTYPE": "has a value of another type under that name; rename or delete that key",
        "BUSY": "is busy with a script of somebody else; wait, or stop it with SCRIPT KILL",
        **dict.fromkeys(("MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN"), _CLUSTER),
    }
)
