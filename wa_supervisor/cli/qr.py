"""QR and pairing codes drawn with characters. Pure."""

from __future__ import annotations

import segno

_QUIET = 2
"""Modules of empty border; the standard wants 4, and phones read 2 beside a plain background."""

_BLOCKS = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
"""Upper and lower module -> character with the ones that are true in the foreground colour."""

_BLACK_ON_WHITE, _RESET = "\x1b[30;107m", "\x1b[0m"


def qr_lines(text: str, *, colour: bool) -> list[str]:
    """Draw `text` as a QR code, two modules in each character.

    With colour it is black on white whatever the terminal's own colours; without, the light modules are drawn, which
    is right on a dark background. Raises `ValueError` for a text that no code holds.
    """
    rows = [[bool(module) is colour for module in row] for row in _code(text).matrix_iter(border=_QUIET)]
    if len(rows) % 2:
        rows.append([not colour] * len(rows[0]))
    lines = [
        "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
    return [f"{_BLACK_ON_WHITE}{line}{_RESET}" for line in lines] if colour else lines


def qr_width(text: str) -> int:
    """Give how many columns the code takes."""
    return int(_code(text).symbol_size(border=_QUIET)[0])


def code_lines(code: str) -> list[str]:
    """Draw a pairing code large enough to be read across a desk: spread out, in a frame."""
    spread = "   ".join(code)
    edge = "─" * (len(spread) + 6)
    blank = " " * (len(spread) + 6)
    return [f"┌{edge}┐", f"│{blank}│", f"│   {spread}   │", f"│{blank}│", f"└{edge}┘"]


def _code(text: str) -> segno.QRCode:
    return segno.make(text, error="l", micro=False, boost_error=False)
