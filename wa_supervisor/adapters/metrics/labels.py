"""Label values that are safe to keep for ever: bounded in number, escaped, and never a phone number.

Prometheus keeps every value it has once seen. So words that somebody else chooses are counted and cut off at a limit,
and a name in which an operator has put a phone number is shown like `5511*****777-9f3a21bc`.
"""

from __future__ import annotations

import hashlib

from wa_supervisor.domain.masking import masked_name

OTHER = "other"
"""What every word beyond the limit is called."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Words:
    """The values of one label whose words come from elsewhere: at most `limit`, then `other`."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, word: str) -> str:
        """Give the label value for `word`."""
        short = word[:64]
        if short not in self._known:
            if len(self._known) >= self._limit:
                return OTHER
            self._known.add(short)
        return short


class Names:
    """Names of sessions, integrations and agents as label values.

    A phone number in a name keeps its ends; a digest takes the place of the rest so that two names stay two. The digest
    is keyed, because the few hidden digits could be found by trying; with a key of one process, such a series begins
    anew when the daemon does.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, name: str | None) -> str:
        """Give `name` as it may stand between the quotes of a label, an empty text for `None`."""
        return escaped(self.plain(name)) if name else ""

    def plain(self, name: str) -> str:
        """Give `name` for whoever escapes it himself."""
        return masked_name(name, self._mark)

    def _mark(self, digits: str) -> str:
        return "-" + hashlib.blake2s(digits.encode(), key=self._key, digest_size=4).hexdigest()


def escaped(value: str) -> str:
    """Give `value` as it may stand between the quotes of a label."""
    return value.translate(_ESCAPES)
