"""Catching up, decided: which chats have something that was missed, and which of their messages it is.

Pure: rows and messages of the gateway, marks of ours and the time are handed in. `floor` is the time (seconds since the
epoch) before which nothing is fetched any more: the session was not ours yet, or it is longer ago than is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from wa_supervisor.domain.chat_history import ChatRow, Found
from wa_supervisor.domain.chats import ChatKind, chat_kind
from wa_supervisor.domain.marks import Mark
from wa_supervisor.domain.message_ids import read_message_id
from wa_supervisor.domain.messages import InboundMessage
from wa_supervisor.domain.names import ChatId, StanzaId

_OF_INTEREST = frozenset({ChatKind.PERSON, ChatKind.LID, ChatKind.GROUP})

CLOCKS_APART = 5
"""Seconds by which the clocks of this machine and of WhatsApp may differ unnoticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A chat that has, or may have, something that was missed."""

    row: ChatRow
    mark: Mark | None


def is_behind(row: ChatRow, mark: Mark | None, floor: float) -> bool:
    """Whether anything of this chat may have been missed and is to be fetched."""
    is_silent = bool(row.at) and row.at < floor - CLOCKS_APART
    if is_silent or chat_kind(row.chat) not in _OF_INTEREST:
        return False
    return mark is None or is_beyond(row, mark)


def is_beyond(row: ChatRow, mark: Mark) -> bool:
    """Whether the chat has gone on since the mark was set; true if that cannot be told."""
    if row.last is not None and row.last.stanza == stanza_of(mark):
        return False
    return not row.at or row.at >= mark.at - CLOCKS_APART


def chats_behind(rows: Iterable[ChatRow], marks: Mapping[ChatId, Mark], floor: float) -> list[Behind]:
    """Give the chats to look into, those first that were silent longest."""
    found = [Behind(row=row, mark=marks.get(row.chat)) for row in rows if is_behind(row, marks.get(row.chat), floor)]
    return sorted(found, key=lambda behind: behind.row.at)


def chats_lost(rows: Iterable[ChatRow], marks: Mapping[ChatId, Mark], floor: float) -> list[Behind]:
    """Give the chats that went on after their marks but so long ago that nothing of it is fetched any more."""
    return [
        Behind(row=row, mark=marks[row.chat])
        for row in rows
        if row.chat in marks
        and row.at
        and not is_behind(row, marks[row.chat], floor)
        and is_beyond(row, marks[row.chat])
    ]


def is_last_page(rows: Sequence[ChatRow], fresh: int, count: int, floor: float) -> bool:
    """Whether the chats after this page need no look: there are none, or they have been silent since before `floor`.

    `fresh` is how many of the rows were not on an earlier page: a gateway that has forgotten the chat from which the
    page was to begin starts over, and would do so for ever.
    """
    # Rows that could not be read are not here, so a page may be full with some fewer.
    return len(rows) <= count // 2 or not fresh or (0 < rows[-1].at < floor - CLOCKS_APART)


def anchor_of(mark: Mark, chat: ChatId) -> str:
    """Spell the mark's message as the history of `chat` spells it: a lid where the event had a number, perhaps."""
    read = read_message_id(mark.message_id)
    if read is None or read.chat == chat:
        return mark.message_id
    return replace(read, chat=chat, given="").serialized


def stanza_of(mark: Mark) -> StanzaId | None:
    """Give the stanza of the mark's message."""
    read = read_message_id(mark.message_id)
    return read.stanza if read else None


def reaches(found: Sequence[Found], mark: Mark | None, floor: float) -> bool:
    """Whether messages read backwards go back far enough: to the mark, or to what is too old."""
    if not found:
        return True
    stanza = stanza_of(mark) if mark else None
    if stanza is not None and any(each.place is not None and each.place.id.stanza == stanza for each in found):
        return True
    times = [each.place.at for each in found if each.place is not None and each.place.at]
    return bool(times) and times[0] < floor - CLOCKS_APART


def missed_of(found: Sequence[Found], mark: Mark | None) -> list[Found]:
    """Give those after the mark of messages that were read backwards; all, if the mark is not among them."""
    stanza = stanza_of(mark) if mark else None
    for at in range(len(found) - 1, -1, -1):
        place = found[at].place
        if stanza is not None and place is not None and place.id.stanza == stanza:
            return list(found[at + 1 :])
    return list(found)


def without(page: Sequence[Found], known: Sequence[Found]) -> list[Found]:
    """Give those of a page that are not known already: pages may overlap."""
    stanzas = {each.place.id.stanza for each in known if each.place is not None}
    return [each for each in page if each.place is not None and each.place.id.stanza not in stanzas]


def is_too_old(message: InboundMessage, floor: float) -> bool:
    """Whether a missed message is older than what is handed over."""
    return 0 < message.sent_at < floor - CLOCKS_APART
