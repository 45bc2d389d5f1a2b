"""Values that are fine one by one and wrong together, as one table of arithmetic and three rules about names.

Pure: takes all settings as a flat mapping of dotted keys, returns what does not fit. A contradiction names every key
that takes part, so that whoever changed one of them learns of the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from pydantic import SecretStr

Flat = Mapping[str, object]
"""Dotted key (`gateways.main.url`) -> value, complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Keys that do not fit together; the first is the one that the text speaks about."""

    keys: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AtMost:
    """`key` must not be more than `share` times `of`; a star stands for every gateway's name."""

    key: str
    of: str
    share: float = 1.0
    why: str


ARITHMETIC = (
    AtMost(
        key="redis.command_timeout",
        of="daemon.shutdown_timeout",
        share=0.5,
        why="a stopping daemon must still be able to write down what it did not finish",
    ),
    AtMost(
        key="gateways.*.request_timeout",
        of="gateways.*.send_timeout",
        why="a send takes longer than any other request",
    ),
    AtMost(
        key="gateways.*.reconnect_initial",
        of="gateways.*.reconnect_max",
        why="the first wait is the shortest one",
    ),
    AtMost(
        key="wish.debounce",
        of="wish.resync",
        why="waiting for more notifications must not take longer than reading anyway",
    ),
    AtMost(
        key="sessions.poll_starting",
        of="sessions.start_timeout",
        share=1 / 3,
        why="a start must be looked at several times before it counts as stuck",
    ),
    AtMost(
        key="sessions.poll_starting",
        of="sessions.poll_connected",
        why="a starting session is looked at more often than a connected one",
    ),
    AtMost(
        key="sessions.poll_connected",
        of="sessions.healthy_after",
        why="a session that was not looked at cannot be called healthy",
    ),
    AtMost(
        key="sessions.alive_evidence",
        of="sessions.healthy_after",
        why="a session cannot be called healthy on traffic from before the spell",
    ),
    AtMost(
        key="sessions.backoff_initial",
        of="sessions.backoff_max",
        why="the first wait is the shortest one",
    ),
    AtMost(
        key="inbound.queue_per_session",
        of="inbound.queue_total",
        why="one session's messages are among those of all",
    ),
    AtMost(
        key="inbound.catch_up_horizon",
        of="inbound.seen_ttl",
        share=0.9,
        why="a message that is fetched must still be known if it was handed over before",
    ),
    AtMost(
        key="inbound.catch_up_settle",
        of="inbound.catch_up_routine",
        why="the second look comes before the next one without a cause",
    ),
    AtMost(
        key="inbound.unheard_longest",
        of="inbound.owner_ttl",
        why="the answer to a message that waited must still find the session of its chat",
    ),
    AtMost(
        key="outbound.backoff_initial",
        of="outbound.backoff_max",
        why="the first wait is the shortest one",
    ),
    AtMost(
        key="outbound.hold_longest",
        of="inbound.owner_ttl",
        why="a reply that waits must still find the session of its chat",
    ),
    AtMost(
        key="outbound.settle_quiet",
        of="outbound.settle_longest",
        why="a send must certainly have ended before looking for it is given up",
    ),
    AtMost(
        key="outbound.sweep",
        of="outbound.claim_after",
        why="a reply must be looked for before it can count as abandoned",
    ),
    AtMost(
        key="typing.refresh",
        of="typing.longest",
        why="a renewal that comes after the end is none",
    ),
    AtMost(
        key="sessions.suspect_at",
        of="sessions.certain_at",
        why="what is certain has been suspected before",
    ),
    AtMost(
        key="gateways.*.hold_initial",
        of="gateways.*.hold_max",
        why="the first hold is the shortest one",
    ),
    AtMost(
        key="status.refresh",
        of="status.ttl",
        share=1 / 3,
        why="one lost renewal must not make a healthy session Unknown",
    ),
)


def contradictions(flat: Flat) -> tuple[Contradiction, ...]:
    """Return everything in `flat` that does not fit together, in the order of the table, then the rules."""
    rules = (_arithmetic, _two_passwords, _unknown_default_gateway, _names_alike, _same_server)
    return tuple(found for rule in rules for found in rule(flat))


def gateway_names(flat: Flat) -> list[str]:
    """Return the names of the gateways that have a key in `flat`."""
    return list(dict.fromkeys(key.split(".")[1] for key in flat if fnmatchcase(key, "gateways.*.*")))


def folded(name: str) -> str:
    """Return what is left of a gateway's name in an environment variable, where case and dashes are lost."""
    return name.lower().replace("-", "_")


def _arithmetic(flat: Flat) -> Iterator[Contradiction]:
    for rule in ARITHMETIC:
        for name in gateway_names(flat) if "*" in rule.key else [""]:
            key, of = rule.key.replace("*", name), rule.of.replace("*", name)
            value, bound = flat[key], flat[of]
            if isinstance(value, int | float) and isinstance(bound, int | float) and value > bound * rule.share:
                yield Contradiction(keys=(key, of), text=_too_much(value, bound, of, rule))


def _too_much(value: float, bound: float, of: str, rule: AtMost) -> str:
    share = {1.0: "", 0.9: "nine tenths of ", 0.5: "half of ", 1 / 3: "a third of "}[rule.share]
    most = math.floor(bound * rule.share * 1000) / 1000  # rounded down, so that following the advice is enough
    return f"{value:.10g} is more than {share}{of} ({bound:.10g}): {rule.why}; give at most {most:.10g}"


def _two_passwords(flat: Flat) -> Iterator[Contradiction]:
    held = (flat["redis.url"], flat["redis.password"])
    url, password = (each.get_secret_value() if isinstance(each, SecretStr) else "" for each in held)
    if password and urlsplit(url).password:
        text = "is given while redis.url holds a password too; remove one of the two"
        yield Contradiction(keys=("redis.password", "redis.url"), text=text)


def _unknown_default_gateway(flat: Flat) -> Iterator[Contradiction]:
    wanted, names = flat["wish.default_gateway"], gateway_names(flat)
    if wanted and names and wanted not in names:
        text = f'"{wanted}" is no gateway; give one of {", ".join(names)}, or add a section [gateways.{wanted}]'
        yield Contradiction(keys=("wish.default_gateway",), text=text)


def _names_alike(flat: Flat) -> Iterator[Contradiction]:
    first: dict[str, str] = {}
    for name in gateway_names(flat):
        other = first.setdefault(folded(name), name)
        if other != name:
            text = f"differs from gateways.{other} in case or dashes only, which environment variables lose; rename one"
            yield Contradiction(keys=(f"gateways.{name}", f"gateways.{other}"), text=text)


def _same_server(flat: Flat) -> Iterator[Contradiction]:
    first: dict[tuple[object, ...], str] = {}
    for name in gateway_names(flat):
        key = f"gateways.{name}.url"
        other = first.setdefault(_server(str(flat[key])), key)
        if other != key:
            text = f"is the same server as {other}, so every message would come twice; remove one of the two gateways"
            yield Contradiction(keys=(key, other), text=text)


def _server(url: str) -> tuple[object, ...]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.hostname, port, parts.path
