"""What `doctor` found: one finding for each thing it looked at, drawn for people and written for machines. Pure.

A finding is fine, or says what is amiss and the line that mends it. It never holds a secret: whatever comes from
elsewhere passes through here and loses passwords in addresses and tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from urllib.parse import quote

import click
import msgspec

from wa_supervisor.cli.table import GAP
from wa_supervisor.cli.words import cells, one_line, padded, wrapped
from wa_supervisor.domain.masking import HIDDEN, redacted

SCHEMA = 1
"""Grows when a reader of the JSON would have to change."""

_LEAST_SECRET = 4
"""Characters of a secret that is struck out; a shorter one is in every other word."""

_LEAST_ROOM = 20
"""Columns for the words at least, however narrow the terminal."""


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, with less than it could, or less safely."""
    PROBLEM = "problem"
    """The daemon cannot do its work."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one look showed. Made by `fine`, `doubtful` and `wrong`."""

    check: str
    """What was looked at: `redis.persistence`, `gateways.main`."""
    verdict: Verdict
    message: str
    mend: str | None = None
    """What mends it, as a line to follow or to type; nothing where all is well."""


def fine(check: str, message: str) -> Finding:
    """Say that all is well."""
    return Finding(check=check, verdict=Verdict.OK, message=_harmless(message))


def doubtful(check: str, message: str, mend: str) -> Finding:
    """Give a warning."""
    return Finding(check=check, verdict=Verdict.WARNING, message=_harmless(message), mend=_harmless(mend))


def wrong(check: str, message: str, mend: str) -> Finding:
    """Name a problem."""
    return Finding(check=check, verdict=Verdict.PROBLEM, message=_harmless(message), mend=_harmless(mend))


def parted(sentence: str, mark: str = "; ") -> tuple[str, str]:
    """Part an error's sentence into what happened and what to do about it."""
    happened, found, advice = sentence.partition(mark)
    return (happened, advice) if found else (sentence, "see the log of the daemon and of that server")


def _harmless(text: str) -> str:
    return redacted(one_line(text))


def without(secrets: Iterable[str], findings: Sequence[Finding]) -> list[Finding]:
    """Strike secrets out wherever a server repeated one, plain or as in an address."""
    struck = sorted({form for secret in secrets if len(secret) >= _LEAST_SECRET for form in _forms(secret)}, key=len)

    def clean(text: str) -> str:
        return functools.reduce(lambda left, secret: left.replace(secret, HIDDEN), reversed(struck), text)

    return [
        msgspec.structs.replace(each, message=clean(each.message), mend=each.mend and clean(each.mend))
        for each in findings
    ]


def _forms(secret: str) -> Iterator[str]:
    yield from (secret, quote(secret, safe=""))


def worst(findings: Sequence[Finding]) -> Verdict:
    """Give the verdict about everything."""
    found = {finding.verdict for finding in findings}
    return next((each for each in (Verdict.PROBLEM, Verdict.WARNING) if each in found), Verdict.OK)


def as_json(findings: Sequence[Finding]) -> bytes:
    """Write them as one document."""
    document = {"schema": SCHEMA, "verdict": worst(findings), "checks": findings}
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def draw(findings: Sequence[Finding], *, width: int | None, colour: bool) -> str:
    """Draw them, with a line end after every line; what mends something stands below it."""
    label = max((cells(finding.check) for finding in findings), default=0)
    return "".join(f"{line.rstrip()}\n" for finding in findings for line in _lines(finding, label, width, colour))


def _lines(finding: Finding, label: int, width: int | None, colour: bool) -> Iterator[str]:
    word = padded(finding.verdict, len(Verdict.PROBLEM))
    styled = click.style(word, fg=_COLOURS[finding.verdict]) if colour else word
    indent = len(word) + GAP + label + GAP
    first, *others = _fitted(finding.message, indent, width)
    yield f"{styled}{' ' * GAP}{padded(finding.check, label)}{' ' * GAP}{first}"
    mend = _fitted(f"-> {finding.mend}", indent, width) if finding.mend else []
    yield from (" " * indent + line for line in (*others, *mend))


def _fitted(text: str, indent: int, width: int | None) -> list[str]:
    return [text] if width is None else wrapped(text, max(width - indent, _LEAST_ROOM))


_COLOURS = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "red"}
