"""SIGHUP: which of the new settings are followed at once, and which wait for a restart.

Followed at once: the gateways (only sessions of a gateway that changed are begun anew), the defaults for records, the
log. Everything else is compared, and what differs is named, so that the operator knows that a restart is due.
"""

from __future__ import annotations

from wa_supervisor.config import Settings

AT_ONCE = frozenset(
    {"gateways", "wish.default_gateway", "wish.default_session", "daemon.log_level", "daemon.log_format"}
)
"""Keys, or whole sections, that a reload follows."""


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Give the keys whose change only a restart follows, sorted."""
    before, after = old.flat(), new.flat()
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return sorted(key for key in changed if not _is_followed(key))


def changed_gateways(old: Settings, new: Settings) -> frozenset[str]:
    """Give the names of gateways that are new or differ."""
    return frozenset(name for name, given in new.gateways.items() if old.gateways.get(name) != given)


def _is_followed(key: str) -> bool:
    return key in AT_ONCE or key.partition(".")[0] in AT_ONCE
