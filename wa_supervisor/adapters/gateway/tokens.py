"""Sessions' tokens: given by the operator or made with the gateway's secret, and kept, for making one is dear.

A token stays valid until the server's secret changes; a refused one is replaced once, by whoever is refused first, and
the others take the new one. Lives as long as the gateway's client; a session's token is forgotten when it is closed.
Asking for a token is also the only safe way to try a secret: other routes have their effect with a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

import anyio
import msgspec

from wa_supervisor.adapters.gateway.wire import Answer, Call, NothingAskedError, Wire
from wa_supervisor.domain.errors import GatewayAnswerError, TokenRefusedError, WrongSecretError
from wa_supervisor.domain.gateway import SessionAccess
from wa_supervisor.domain.names import SessionName


class _Made(msgspec.Struct):
    token: str


@dataclass(slots=True)
class _Kept:
    given: str | None = field(repr=False)
    token: str | None = field(repr=False)
    making: anyio.Lock = field(default_factory=anyio.Lock)


class Tokens:
    """The tokens of one gateway's sessions. `default` is for sessions that bring none; `within` in seconds."""

    def __init__(self, wire: Wire, *, secret: str | None, default: str | None, within: float) -> None:
        self._wire = wire
        self._secret = secret
        self._default = default
        self._within = within
        self._kept: dict[SessionName, _Kept] = {}

    async def of(self, access: SessionAccess, *, refused: str | None = None) -> str:
        """Give the session's token, another one than `refused`.

        Raises `WrongSecretError`, `TokenRefusedError`, `GatewayUnreachableError`, or `NothingAskedError` when the
        gateway does not give one now: in each case nothing had any effect.
        """
        kept = self._kept.get(access.session)
        given = access.token or self._default
        if kept is None or kept.given != given:
            kept = self._kept[access.session] = _Kept(given, self._usable(access, given))
        if kept.token is None or kept.token == refused:
            await self._make(access.session, kept, refused)
        assert kept.token is not None  # noqa: S101  # `_make` raises when it makes none
        return kept.token

    def forget(self, session: SessionName) -> None:
        """Keep no token of a session that is gone."""
        self._kept.pop(session, None)

    async def _make(self, session: SessionName, kept: _Kept, refused: str | None) -> None:
        async with kept.making:
            if kept.token is None or kept.token == refused:
                kept.token = await self._ask(session, was_refused=refused is not None)

    async def _ask(self, session: SessionName, *, was_refused: bool) -> str:
        if self._secret is None:
            raise self._no_secret(session, was_refused=was_refused)
        call = Call(
            method="POST",
            path=f"/api/{quote(session, safe='')}/{quote(self._secret, safe='')}/generate-token",
            what="generate-token",
            within=self._within,
            hides_path=True,
        )
        try:
            answer = await self._wire.exchange(call)
            return self._read(answer)
        except NothingAskedError:
            raise
        except GatewayAnswerError as error:
            raise NothingAskedError(str(error), retry_after=error.retry_after) from error

    def _read(self, answer: Answer) -> str:
        if answer.status in {400, 401, 403} and "secret" in str(answer.fields.get("message")).casefold():
            raise WrongSecretError(
                f"gateway {self._wire.name} refuses the secret: set gateways.{self._wire.name}.secret to its secretKey"
            )
        token = answer.read(_Made).token
        if not _is_token(token):
            raise GatewayAnswerError(f"gateway {self._wire.name} made a token that is none")
        return token

    def _usable(self, access: SessionAccess, given: str | None) -> str | None:
        if given is not None and not _is_token(given):
            raise TokenRefusedError(f"the token of session {access.session} is none: it has other than plain letters")
        return given

    def _no_secret(self, session: SessionName, *, was_refused: bool) -> Exception:
        name = self._wire.name
        if was_refused:
            return TokenRefusedError(
                f"gateway {name} refuses the token of session {session}, and without gateways.{name}.secret there is "
                "no other: give the record a fresh token or set the secret"
            )
        return WrongSecretError(
            f"gateway {name} has no secret, and session {session} brings no token: set gateways.{name}.secret"
        )


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and text != ""
