"""How sure it is that a session only looks alive, from what is known of it.

The gateway's word is a memory and not a fact; its look at the page does not see a dead connection to WhatsApp. What
remains is evidence, and each piece makes it so many times more likely that the session is a zombie:

- its page is not connected: a crashed browser, or a page that is offline for a moment;
- messages that the gateway took and WhatsApp never acknowledged;
- silence, against the traffic that there usually is. People come and go in waves, so the odds of silence fall off
  slowly (Lomax distribution) and not exponentially.

Whatever comes from WhatsApp (a message, an ack) proves the session alive and makes all of it void. Silence alone never
keeps replies from being sent: they are the quickest way to find out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

PRIOR = 0.001
"""Odds that a session is a zombie before anything is known: one in a thousand looks."""

PAGE_GONE = 1000.0
"""A page that is not connected is this much more often a zombie's than a living session's."""

PAGE_GONE_AGAIN = 3.5
"""The same of each further look a moment later: the third makes it certain."""

SILENT_SEND = 40.0
"""A message without WhatsApp's ack is this much more often a zombie's: a living phone line acks nearly all at once."""

ENOUGH = 20
"""Pieces of one kind beyond which more say nothing new, and the arithmetic has its bounds."""

WAVES = 2.0
"""Shape of the distribution of silence: the smaller, the longer people are expected to be quiet."""

SUSPECTED_LONGEST = 60.0
"""Seconds without any sign of life after which a suspicion counts as certain: nothing is sent meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a session since it last proved itself alive."""

    pages_gone: int = 0
    """Looks in a row that found its page not connected."""
    silent_sends: int = 0
    """Messages that WhatsApp did not acknowledge."""
    silence: float = 0.0
    """Seconds since the last message or ack."""
    rate: float = 0.0
    """Minutes with traffic that are expected in a second, from before the silence; 0: nothing is expected."""


class Verdict(Enum):
    """What to think of a session."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    ZOMBIE = "zombie"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """A verdict, and how sure it is (0 to 1) that the session only looks alive."""

    verdict: Verdict
    sureness: float


def sureness(evidence: Evidence) -> float:
    """Give how sure it is that the session is a zombie, from 0 to 1."""
    odds = PRIOR * math.pow(SILENT_SEND, min(evidence.silent_sends, ENOUGH))
    if evidence.pages_gone:
        odds *= PAGE_GONE * math.pow(PAGE_GONE_AGAIN, min(evidence.pages_gone, ENOUGH) - 1)
    odds *= math.pow(1 + evidence.rate * evidence.silence / WAVES, WAVES)
    return odds / (1 + odds)


def judge(evidence: Evidence, *, suspect_at: float, certain_at: float, suspected_for: float) -> Opinion:
    """Say what to think of a session that has been suspected for so many seconds."""
    sure = sureness(evidence)
    if sure >= certain_at:
        return Opinion(verdict=Verdict.ZOMBIE, sureness=sure)
    if not evidence.pages_gone and (sure < suspect_at or not evidence.silent_sends):
        return Opinion(verdict=Verdict.ALIVE, sureness=sure)
    is_over = suspected_for >= SUSPECTED_LONGEST
    return Opinion(verdict=Verdict.ZOMBIE if is_over else Verdict.SUSPECT, sureness=sure)


def in_words(evidence: Evidence, sure: float) -> str:
    """Say what speaks against the session, and how sure that is."""
    found = []
    if evidence.pages_gone:
        found.append(f"its page is not connected ({_times(evidence.pages_gone, 'look')})")
    if evidence.silent_sends:
        found.append(f"WhatsApp acknowledged none of {_times(evidence.silent_sends, 'message')}")
    expected = evidence.rate * evidence.silence
    if expected >= 1:
        found.append(
            f"silent for {_minutes(evidence.silence)} in which traffic was expected {_times(expected, 'time')}"
        )
    return f"{', '.join(found) or 'nothing speaks against it'}; {min(sure, 0.999):.0%} sure that it only looks alive"


def _times(count: float, what: str) -> str:
    return f"{count:.0f} {what}{'' if round(count) == 1 else 's'}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
