"""Tokens that look like the real ones: bcrypt's form, another one each time, valid until the secret changes.

The real server hashes session and secret with bcrypt, which costs it about 50 ms of one core for every authenticated
call. Here the digest is cheap and the cost is a setting (`Timings.auth`), waited for on `Manners.auth_cores` places.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

_PREFIX = "$2b$10$"
_SALT = 22


def mint(session: str, secret: str) -> str:
    """A fresh token for the session, with `/` and `+` replaced as the server does for paths."""
    salt = secrets.token_urlsafe(_SALT)[:_SALT].replace("-", ".").replace("_", ".")
    return f"{_PREFIX}{salt}{_digest(session, secret, salt)}"


def is_valid(token: str, session: str, secret: str) -> bool:
    """Whether the token was minted for this session under this secret."""
    salt = token[len(_PREFIX) : len(_PREFIX) + _SALT]
    return hmac.compare_digest(token.encode(), f"{_PREFIX}{salt}{_digest(session, secret, salt)}".encode())


def _digest(session: str, secret: str, salt: str) -> str:
    raw = hashlib.blake2b(f"{salt}{session}{secret}".encode(), digest_size=23).digest()
    return base64.b64encode(raw).decode().rstrip("=").replace("/", "_").replace("+", "-")
