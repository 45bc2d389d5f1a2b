"""Kinds of lines: what may stand for each other when there are too many of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wa_supervisor.domain.masking import masked_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Lines that may stand for each other."""

    level: int
    summary: str
    """Stands for those that were counted and not written."""
    gateway: str | None = None
    where: str | None = None


class Write(Protocol):
    """Writes a line of a kind, or counts it."""

    def __call__(
        self, kind: Kind, message: str, fields: Mapping[str, object], error: BaseException | None = None
    ) -> None: ...


def shown_name(name: str | None) -> str | None:
    """Give an operator's name for something as a log may have it."""
    return None if name is None else masked_name(name)
