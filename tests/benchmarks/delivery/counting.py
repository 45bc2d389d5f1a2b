"""What became of every message, counted at both ends: pure functions over what was seen.

Every text is written once in a run and begins with its number (`n000123`), which the answer repeats; whoever has the
number knows the message. What is seen, where, and by whom it is told:

    written     the ledger of the gateway: a person wrote it
    handed      the agent's input stream in Redis: the daemon handed it over
    heard       the log of the agent's process: the agent got it, from the stream or from the channel
    answered    the agent's output stream, or the log of an agent on the channel: it put its answer there
    received    the ledger: the person got the answer
    letters     the stream of dead letters

`fates` joins them, one `Fate` for each written message; `tally` adds up any set of fates. A message that was handed
over and yet not heard by an agent on the *channel* may be nobody's fault but the channel's: what is published to a
socket whose reader dies is gone, and Redis keeps nothing of it. That is so when it was published within `AROUND` of the
moment at which the agent was killed, its connection to Redis broke, or Redis itself died; such losses are counted by
their cause, beside `lost`. An agent on the stream has no such excuse. Replies on the channel are the same in the other
direction: they need a daemon that listens at that moment.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

AROUND = 1.0
"""Seconds around a break within which what was on its way over a channel is gone with the socket: buffers of the
kernel, of Redis and of the client hold it for far less."""

RESUMING = 3.0
"""Seconds after an agent's return within which the daemon publishes what waited for it: it looks every second, and
publishes page by page. And seconds after Redis's or the daemon's return within which it listens to the agents again."""

HOLDING = 30.0
"""Seconds for which a daemon may have an answer in memory: a session that is away, or an answer before it whose fate is
not known yet."""

_NUMBER = re.compile(r"\bn\d{6,}\b")


def number_of(text: str) -> str | None:
    """Give the number of the message that a text is, names or answers."""
    found = _NUMBER.search(text)
    return found[0] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A message that a person wrote. Seconds here and below are of the machine's monotonic clock."""

    number: str
    session: str
    chat: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """That something with a number was seen somewhere."""

    number: str
    at: float
    chat: str = ""
    is_marked: bool = False
    """Of what is heard: redelivered, by the stream, to an agent that had not acknowledged it. Of what is handed over:
    recovered, by catching up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter."""

    number: str | None
    reason: str
    is_unknown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """That somebody was away, or could not be reached, for a while."""

    who: str
    """`agents-1` (a process of them), `wire agent-redis`, `redis`, `redis stopped`, `daemon`,
    `daemon stopped`, `wire daemon-redis`."""
    began: float
    ended: float

    def covers(self, moment: float, *, before: float = AROUND, after: float = AROUND) -> bool:
        """Whether a moment is in it, or close to it."""
        return self.began - before <= moment <= self.ended + after


@dataclass(slots=True, kw_only=True)
class Sightings:
    """All that was seen."""

    written: list[Written] = field(default_factory=list)
    """In the order in which they reached WhatsApp."""
    handed: list[Seen] = field(default_factory=list)
    heard: list[Seen] = field(default_factory=list)
    """In each agent's order."""
    answered: list[Seen] = field(default_factory=list)
    received: list[Seen] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)


class Loss(StrEnum):
    """How a message or its answer was lost."""

    NONE = ""
    NOT_HANDED_OVER = "not_handed_over"
    """It is not even in the agent's stream."""
    NOT_HEARD = "not_heard"
    """It is in the stream and there is no excuse: the agent reads the stream, or its channel was all right."""
    AGENT_DIED = "agent_died"
    AGENT_CUT = "agent_cut"
    REDIS_DIED = "redis_died"
    NOT_ANSWERED = "not_answered"
    """Of answers: the agent heard the message and nothing was seen of its answer."""
    NOBODY_LISTENED = "daemon_not_listening"
    """Of answers on the channel: the daemon was dead, stopped or cut off when it was published."""
    DAEMON_DIED = "daemon_died"
    """Of answers on the channel: the daemon was killed some time after it was published, and had it in memory."""
    NOT_SENT = "not_sent"
    """Of answers: the agent put it there, and that is the last that was seen of it."""


CHANNELS_OWN = frozenset({Loss.AGENT_DIED, Loss.AGENT_CUT, Loss.REDIS_DIED})
"""What nobody but the channel is to blame for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one message."""

    number: str
    session: str
    chat: str
    written_at: float
    by_stream: bool
    """Whether its agent reads the stream."""
    group: str
    """The process of its agent."""
    handed: int = 0
    handed_at: float | None = None
    is_recovered: bool = False
    heard: int = 0
    """Without what was redelivered."""
    redelivered: int = 0
    is_out_of_order: bool = False
    """Heard after one that was written later in the same chat."""
    answers: int = 0
    received: int = 0
    received_elsewhere: int = 0
    """By somebody else's chat."""
    letters: tuple[Letter, ...] = ()
    lost: Loss = Loss.NONE
    reply_lost: Loss = Loss.NONE
    answered_at: float | None = None

    @property
    def is_heard(self) -> bool:
        """Whether the agent got it at all."""
        return self.heard + self.redelivered > 0

    @property
    def is_replied(self) -> bool:
        """Whether there is an answer, wherever it went."""
        return self.answers > 0 or self.received > 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be expected: answered and received, given up, or lost by the channel's nature."""
        if not self.is_heard:
            return self.lost in CHANNELS_OWN
        return self.received > 0 or bool(self.letters) or self.reply_lost not in {Loss.NOT_SENT, Loss.NOT_ANSWERED}

    @property
    def duplicates_to_agent(self) -> int:
        """How often the agent got it again without having died over it."""
        return max(0, self.heard - 1)

    @property
    def duplicates_to_person(self) -> int:
        """How often the person got the answer again without the agent having answered again."""
        return max(0, self.received - max(1, self.answers))


def fates(seen: Sightings, stream_sessions: frozenset[str], groups: Mapping[str, str]) -> list[Fate]:
    """Give the fate of every written message; `groups` has the process of each session's agent."""
    handed, heard = _by_number(seen.handed), _by_number(seen.heard)
    answered, received = _by_number(seen.answered), _by_number(seen.received)
    letters: dict[str, list[Letter]] = defaultdict(list)
    for letter in seen.letters:
        letters[letter.number or ""].append(letter)
    late = out_of_order(seen.written, seen.heard)
    found = []
    for each in seen.written:
        number = each.number
        fresh = [one for one in heard[number] if not one.is_marked]
        there = [one for one in received[number] if one.chat == each.chat]
        fate = Fate(
            number=number,
            session=each.session,
            chat=each.chat,
            written_at=each.at,
            by_stream=each.session in stream_sessions,
            group=groups[each.session],
            handed=len(handed[number]),
            handed_at=_first(handed[number]),
            is_recovered=any(one.is_marked for one in handed[number]),
            heard=len(fresh),
            redelivered=len(heard[number]) - len(fresh),
            is_out_of_order=number in late,
            answers=len(answered[number]),
            answered_at=_first(answered[number]),
            received=len(there),
            received_elsewhere=len(received[number]) - len(there),
            letters=tuple(letters[number]),
        )
        found.append(_with_losses(fate, _first(heard[number]), seen.outages))
    return found


def out_of_order(written: Iterable[Written], heard: Iterable[Seen]) -> frozenset[str]:
    """Give the numbers that were first heard after one that was written later in the same chat."""
    place = {each.number: (each.chat, each.session, at) for at, each in enumerate(written)}
    latest: dict[tuple[str, str], int] = {}
    known: set[str] = set()
    late = set()
    for each in heard:
        if each.number in known or each.number not in place:
            continue
        known.add(each.number)
        chat, session, at = place[each.number]
        if at < latest.get((chat, session), -1):
            late.add(each.number)
        latest[chat, session] = max(at, latest.get((chat, session), -1))
    return frozenset(late)


def _first(seen: Sequence[Seen]) -> float | None:
    return seen[0].at if seen else None


def _by_number(seen: Iterable[Seen]) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = defaultdict(list)
    for each in seen:
        found[each.number].append(each)
    return found


def _with_losses(fate: Fate, heard_at: float | None, outages: Sequence[Outage]) -> Fate:
    if heard_at is None:
        return replace(fate, lost=_loss(fate, outages))
    if fate.received or fate.letters:
        return fate
    if fate.by_stream:
        return replace(fate, reply_lost=Loss.NOT_ANSWERED if fate.answered_at is None else Loss.NOT_SENT)
    if fate.answered_at is None:
        excuses = {fate.group: Loss.AGENT_DIED, "wire agent-redis": Loss.AGENT_CUT, "redis": Loss.REDIS_DIED}
        return replace(fate, reply_lost=_around(heard_at, outages, excuses) or Loss.NOT_ANSWERED)
    excuses = {fate.group: Loss.AGENT_DIED, "wire agent-redis": Loss.AGENT_CUT, **_DEAF}
    excuse = _around(fate.answered_at, outages, excuses)
    died = (each for each in outages if each.who == "daemon" and 0 < each.began - fate.answered_at <= HOLDING)
    return replace(fate, reply_lost=excuse or (Loss.DAEMON_DIED if any(died) else Loss.NOT_SENT))


_DEAF = {
    "daemon": Loss.NOBODY_LISTENED,
    "daemon stopped": Loss.NOBODY_LISTENED,
    "wire daemon-redis": Loss.NOBODY_LISTENED,
    "redis stopped": Loss.NOBODY_LISTENED,
    "redis": Loss.REDIS_DIED,
}
"""When a daemon does not listen, and why."""


def _around(moment: float, outages: Iterable[Outage], excuses: Mapping[str, Loss]) -> Loss | None:
    """Give why an answer of this moment was lost, if there is an excuse."""
    for each in outages:
        if each.who in excuses and each.covers(moment, after=RESUMING):
            return excuses[each.who]
    return None


def _loss(fate: Fate, outages: Sequence[Outage]) -> Loss:
    if fate.handed_at is None:
        return Loss.NOT_HANDED_OVER
    if fate.by_stream:
        return Loss.NOT_HEARD
    moments = _published(fate.handed_at, outages, fate.group)
    for outage, cause in _excuses(outages, fate.group):
        if any(outage.covers(moment) for moment in moments):
            return cause
    return Loss.NOT_HEARD


def _excuses(outages: Iterable[Outage], group: str) -> Iterator[tuple[Outage, Loss]]:
    """Give when a channel loses what is published on it: at the instant of a death, and as long as a wire is broken."""
    for each in outages:
        if each.who == group:
            yield replace(each, ended=each.began), Loss.AGENT_DIED
        elif each.who == "wire agent-redis":
            yield each, Loss.AGENT_CUT  # Redis may take the agent for a listener until it notices
        elif each.who == "redis":
            yield replace(each, ended=each.began), Loss.REDIS_DIED


def _published(handed_at: float, outages: Sequence[Outage], group: str) -> list[float]:
    """Give when it may have been published: at once, or, if nobody listened, when somebody did again."""
    back = [each.ended for each in outages if each.who in {group, "wire agent-redis"} and each.covers(handed_at)]
    return [handed_at, *(end + step * RESUMING / 6 for end in back for step in range(7))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums over messages; the names are those of the printed object."""

    sent: int
    handed_over: int
    lost: int
    lost_by_cause: dict[str, int]
    lost_pubsub_agent_died: int
    lost_pubsub_agent_cut: int
    lost_pubsub_redis_died: int
    duplicates_to_agent: int
    redelivered_to_agent: int
    handed_over_twice: int
    """In the agent's stream more than once."""
    recovered_by_catch_up: int
    out_of_order: int
    replies: int
    replies_lost: int
    replies_lost_by_cause: dict[str, int]
    replies_lost_pubsub: int
    replies_lost_pubsub_by_cause: dict[str, int]
    answered_twice_by_agent: int
    duplicates_to_person: int
    to_wrong_chat: int
    dead_letters: dict[str, int]
    unknown_dead_letters: int
    dead_letters_received: int
    """Dead letters whose answer the person got all the same."""


def tally(found: Iterable[Fate]) -> Tally:
    """Add up these fates."""
    all_of = list(found)
    lost = Counter(each.lost for each in all_of if each.lost)
    stream = Counter(each.reply_lost for each in all_of if each.by_stream and each.reply_lost)
    channel = Counter(each.reply_lost for each in all_of if not each.by_stream and each.reply_lost)
    letters = [letter for each in all_of for letter in each.letters]
    return Tally(
        sent=len(all_of),
        handed_over=sum(each.is_heard for each in all_of),
        lost=sum(count for loss, count in lost.items() if loss not in CHANNELS_OWN),
        lost_by_cause=_named(lost),
        lost_pubsub_agent_died=lost[Loss.AGENT_DIED],
        lost_pubsub_agent_cut=lost[Loss.AGENT_CUT],
        lost_pubsub_redis_died=lost[Loss.REDIS_DIED],
        duplicates_to_agent=sum(each.duplicates_to_agent for each in all_of),
        redelivered_to_agent=sum(each.redelivered for each in all_of),
        handed_over_twice=sum(max(0, each.handed - 1) for each in all_of),
        recovered_by_catch_up=sum(each.is_recovered for each in all_of),
        out_of_order=sum(each.is_out_of_order for each in all_of),
        replies=sum(each.is_replied for each in all_of),
        replies_lost=stream.total(),
        replies_lost_by_cause=_named(stream),
        replies_lost_pubsub=channel.total(),
        replies_lost_pubsub_by_cause=_named(channel),
        answered_twice_by_agent=sum(max(0, each.answers - 1) for each in all_of),
        duplicates_to_person=sum(each.duplicates_to_person for each in all_of),
        to_wrong_chat=sum(each.received_elsewhere for each in all_of),
        dead_letters=dict(sorted(Counter(letter.reason for letter in letters).items())),
        unknown_dead_letters=sum(letter.is_unknown for letter in letters),
        dead_letters_received=sum(len(each.letters) for each in all_of if each.received),
    )


def _named(losses: Counter[Loss]) -> dict[str, int]:
    return {loss.value: count for loss, count in sorted(losses.items())}


def missed(found: Tally) -> list[str]:
    """Say, each in a sentence, why these sums are not all right."""
    said = {
        f"{found.lost} messages never reached their agent: {found.lost_by_cause}": found.lost,
        f"{found.replies_lost} answers by stream are lost: {found.replies_lost_by_cause}": found.replies_lost,
        f"{found.duplicates_to_agent} messages came to an agent again": found.duplicates_to_agent,
        f"{found.duplicates_to_person} answers came to a person again": found.duplicates_to_person,
        f"{found.to_wrong_chat} answers came to somebody else": found.to_wrong_chat,
    }
    return [sentence for sentence, count in said.items() if count]
