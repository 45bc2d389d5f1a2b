"""SIGHUP: which of the new settings are followed at once, and which wait for a restart.

Followed at once: the gateways (only sessions of a gateway that changed are begun anew), the defaults for records, the
log. Everything else is compared, and what differs is named in a warning of its own, so that the operator knows that a
restart is due.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from wa_supervisor.config import Settings

_logger = logging.getLogger(__name__)

AT_ONCE = frozenset(
    {"gateways", "wish.default_gateway", "wish.default_session", "daemon.log_level", "daemon.log_format"}
)
"""Keys, or whole sections, that a reload follows."""


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Give the keys whose change only a restart follows, sorted."""
    return sorted(key for key in _changed(old, new) if not _is_followed(key))


def changed_gateways(old: Settings, new: Settings) -> frozenset[str]:
    """Give the names of gateways that are new or differ."""
    return frozenset(name for name, given in new.gateways.items() if old.gateways.get(name) != given)


def followed(old: Settings, new: Settings) -> list[str]:
    """Give the keys that differ and are followed at once, sorted."""
    return sorted(key for key in _changed(old, new) if _is_followed(key))


def tell_reload(begun: Settings, old: Settings, new: Settings) -> None:
    """Say in the log what a reload from `old` to `new` did, and what waits for a restart of the daemon begun so."""
    extra = {"followed": ", ".join(followed(old, new)) or "nothing: it is as before"}
    _logger.info("configuration reloaded", extra=extra)
    if waiting := needs_restart(begun, new):
        _logger.warning("settings changed that only a restart follows", extra={"needs_restart": ", ".join(waiting)})


def tell_notices(notices: Iterable[str]) -> None:
    """Say what is allowed and perhaps not meant: in the same words at a start and at a reload."""
    for notice in notices:
        _logger.warning("notice about the configuration", extra={"why": notice})


def _changed(old: Settings, new: Settings) -> set[str]:
    before, after = old.flat(), new.flat()
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _is_followed(key: str) -> bool:
    return key in AT_ONCE or key.partition(".")[0] in AT_ONCE
