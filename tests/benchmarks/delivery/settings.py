"""The daemon's configuration for a run: every wait short, so that minutes show what hours would.

The seconds here are no promise and no advice; what is measured is what gets lost or doubled, and that must not depend
on them. Those with a reason beyond "short":

    lease_ttl 3, claim_after 4        below the time for which a daemon is stopped, so that another one takes over
    send_timeout, request_timeout 2   below the lateness of the late sends
    settle_quiet 6                    above the lateness of the late sends: what is not found then was not sent
    settle_longest 90                 what may have been sent and cannot be found out in that time is a dead letter
                                      that says so
    min_gap, jitter 0, per_minute     people's patience is not what is measured; without this the pace would be
    typing off                        four more requests for each message, which two processors have not got
    poll_*, probe_*, reconnect_*      so that a break is noticed and mended within the pause between two faults
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.chaos.stage import SECRET

LATE = 3.5
"""Seconds by which late sends are late: more than `send_timeout`, less than `settle_quiet`."""

Section = Mapping[str, object]

_GATEWAY: Section = {
    "secret": SECRET,
    "starts_at_once": 20,
    "start_interval": 0.01,
    "request_timeout": 2.0,
    "send_timeout": 2.0,
    "reconnect_initial": 0.2,
    "reconnect_max": 1.0,
    "probe_interval": 0.5,
    "admissions": 100.0,
    "failing_window": 5.0,
    "hold_initial": 0.5,
    "hold_max": 2.0,
    "flapping_half_life": 5.0,
}

_SECTIONS: Mapping[str, Section] = {
    "daemon": {"log_format": "json", "lease_ttl": 3.0, "shutdown_timeout": 8.0},
    "redis": {"connect_timeout": 2.0, "command_timeout": 2.0},
    "postgres": {"timeout": 2.0},
    "wish": {"resync": 3.0},
    "sessions": {
        "poll_starting": 0.3,
        "poll_connected": 1.5,
        "alive_evidence": 1.0,
        "start_timeout": 5.0,
        "healthy_after": 5.0,
        "backoff_initial": 0.2,
        "backoff_max": 2.0,
        "budget_half_life": 10.0,
        "quarantine_probe": 10.0,
    },
    "inbound": {"catch_up_settle": 1.0, "catch_up_routine": 20.0},
    "outbound": {
        "ack_timeout": 2.0,
        "backoff_max": 2.0,
        "hold_longest": 120.0,
        "sweep": 0.5,
        "claim_after": 4.0,
        "min_gap": 0.0,
        "jitter": 0.0,
        "per_minute": 6000,
        "settle_quiet": 6.0,
        "settle_longest": 90.0,
    },
    "typing": {"enabled": False},
    "status": {"ttl": 6.0, "refresh": 1.0},
    "admin": {"port": 0},
}


def configuration(daemon: str, *, redis: str, postgres: str, gateways: Mapping[str, str]) -> str:
    """Give the file of one daemon; `gateways` has the address of each."""
    tables = {f"gateways.{name}": {"url": url, **_GATEWAY} for name, url in gateways.items()}
    ours: Mapping[str, Section] = {"daemon": {"id": daemon}, "redis": {"url": redis}, "postgres": {"url": postgres}}
    sections = {name: {**section, **ours.get(name, {})} for name, section in _SECTIONS.items()}
    return "\n".join(_table(name, section) for name, section in {**sections, **tables}.items())


def _table(name: str, section: Section) -> str:
    lines = [f"{key} = {_written(value)}" for key, value in section.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
