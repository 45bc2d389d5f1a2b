"""What the server may forget when it dies, read from its own settings. Pure: who asks hands the answers in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """How the server keeps what it is told; `None` where it does not say."""

    appendonly: bool | None
    appendfsync: str | None
    save: str | None
    maxmemory_policy: str | None
    maxmemory: int | None

    @property
    def keeps_nearly_all(self) -> bool:
        """Whether at most a second of what it was told can be forgotten."""
        evicts = bool(self.maxmemory) and self.maxmemory_policy not in (None, "noeviction")
        return bool(self.appendonly) and self.appendfsync in (None, "everysec", "always") and not evicts

    def weaknesses(self) -> tuple[str, ...]:
        """Say, each in a sentence, what can be lost with these settings, and what mends it."""
        said: list[str] = []
        if self.appendonly is False:
            since = "it was started (there are no snapshots either)" if self.save == "" else "the last snapshot"
            said.append(f"Redis forgets everything since {since} when it dies; CONFIG SET appendonly yes")
        elif self.appendonly and self.appendfsync == "everysec":
            said.append(
                "Redis may forget the last second when it dies: messages of it are handed over again, replies of it "
                "are lost; CONFIG SET appendfsync always closes that, at the price of a disk write for each batch"
            )
        elif self.appendonly and self.appendfsync == "no":
            said.append(
                "Redis may forget half a minute when its machine dies; CONFIG SET appendfsync everysec, or always"
            )
        if self.maxmemory and self.maxmemory_policy not in (None, "noeviction"):
            said.append(
                f"Redis removes keys when it is full ({self.maxmemory_policy}), messages and marks among them; "
                "CONFIG SET maxmemory-policy noeviction"
            )
        return tuple(said)


def read_persistence(config: Mapping[str, str], info: str) -> Persistence:
    """Read `CONFIG GET` answers and the text of `INFO persistence`; either may be empty, where it is not permitted."""
    facts = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    enabled = config.get("appendonly") or {"1": "yes", "0": "no"}.get(facts.get("aof_enabled", ""))
    memory = config.get("maxmemory", "")
    return Persistence(
        appendonly=None if enabled is None else enabled == "yes",
        appendfsync=config.get("appendfsync"),
        save=config.get("save"),
        maxmemory_policy=config.get("maxmemory-policy"),
        maxmemory=int(memory) if memory.isdecimal() else None,
    )
