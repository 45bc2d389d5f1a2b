"""What may be shown of numbers, names and secrets to whoever reads logs and metrics.

A phone number keeps its ends, so that somebody who knows it finds it and nobody else learns it. Only how something is
shown changes: nothing that comes from here may be used to find or to send anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HIDDEN = "*****"
"""What stands for digits that are not shown; of no particular length."""

_NUMBER = re.compile(r"(?<![0-9])[0-9]{9,20}(?![0-9])", re.ASCII)
_IDENTIFIER = re.compile(r"(?=[^a-f]*[a-f])[0-9a-f-]{16,64}", re.ASCII | re.IGNORECASE)
_CHAT = re.compile(r"(?<![0-9A-Za-z-])([0-9][0-9-]{4,63})(?::\d+)?(@(?:c\.us|s\.whatsapp\.net|lid|g\.us|newsletter))")
_SECRETS = re.compile(
    r"""(?P<before>\bbearer\s+)[^\s"'\\,;]+ | (?P<user>://[^\s:/@"]*:)[^\s@/"]+(?=@) | \$2[aby]\$\d\d\$[\w./-]{20,}""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def masked_digits(digits: str) -> str:
    """Show the ends of a number: `5511988887777` as `5511*****777`; a short one not at all."""
    return f"{digits[:4]}{HIDDEN}{digits[-3:]}" if len(digits) >= 11 else HIDDEN


def masked_chat(chat: str) -> str:
    """Show a chat id with its suffix, as `5511*****777@c.us`; old group ids begin with a number too."""
    user, at, suffix = chat.rpartition("@")
    return f"{masked_digits(user)}{at}{suffix}" if at else masked_digits(suffix)


def masked_name(name: str, mark: Callable[[str], str] = lambda _: "") -> str:
    """Show an operator's name for something, with the phone numbers in it masked; `mark` says what follows each.

    Names of hexadecimal digits (UUIDs, object ids) are no phone numbers, whatever their digits.
    """
    if _IDENTIFIER.fullmatch(name):
        return name
    return _NUMBER.sub(lambda found: masked_digits(found.group()) + mark(found.group()), name)


def redacted(text: str) -> str:
    """Show a text of unknown origin, an error's say, with chat ids, bearer tokens and passwords in addresses masked."""
    if "@" in text:
        text = _CHAT.sub(lambda found: masked_digits(found[1]) + found[2], text)
    return _SECRETS.sub(lambda found: (found["before"] or found["user"] or "") + HIDDEN, text)
