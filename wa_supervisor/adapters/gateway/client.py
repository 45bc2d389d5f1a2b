"""Calls to one wppconnect-server: port `Gateway` over httpx.

Source of every form and surprise: wppconnect-server 2.10.4. It lives as long as the daemon uses the gateway, inside one
event loop, and ends with `aclose`. Nothing is repeated except a call whose token was refused, once, with a fresh one.

Deliberately never called: `logout-session` and `clear-session-data` (a lost login may never come back), `start-all`
and `unhealthy` (they harm everybody's sessions, whatever the secret), `qrcode-session` (it serves stale codes).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import quote, urlencode

import msgspec

from wa_supervisor.adapters.gateway.tokens import Tokens
from wa_supervisor.adapters.gateway.wire import Answer, Call, NothingAskedError, SupersededError, Wire, WirePolicy
from wa_supervisor.domain.chat_history import ChatRow, Found, oldest_first, read_chat_row, read_found
from wa_supervisor.domain.chats import ChatKind, chat_kind, is_sendable, send_flags
from wa_supervisor.domain.errors import (
    GatewayAnswerError,
    GatewayUnreachableError,
    PermanentError,
    TokenRefusedError,
)
from wa_supervisor.domain.gateway import (
    GatewayHealth,
    GatewayStatus,
    Proxy,
    SessionAccess,
    SessionReport,
    StartOptions,
)
from wa_supervisor.domain.names import ChatId, GatewayName, StanzaId
from wa_supervisor.domain.sending import NotSent, Repeat, SendOutcome, Unknown, outcome_of_answer
from wa_supervisor.engine.ports import MayLeave, always

HEALTH_TIMEOUT = 10.0
"""Seconds for `healthz`: it does nothing, so a gateway that takes longer is in no state to be asked anything."""

_NAMEABLE = frozenset({ChatKind.PERSON, ChatKind.LID})
"""Chats whose messages can be named beforehand: in groups an id names its participant too."""

_LISTED = frozenset({ChatKind.PERSON, ChatKind.LID, ChatKind.GROUP})
"""Chats that are of interest in a list: nobody answers stories, channels and broadcast lists."""

_SHORT_LID = 14
"""Digits up to which the gateway takes a lid for a phone number where it ignores `isLid`."""


class _Health(msgspec.Struct):
    uptime: float


class _Status(msgspec.Struct):
    status: str | None
    urlcode: object = None


class _Check(msgspec.Struct):
    status: bool


class _Messages(msgspec.Struct):
    response: list[object]


class _NumberStatus(msgspec.Struct):
    response: dict[str, object]


class _Any(msgspec.Struct):
    """Some JSON object: that it is one is all that matters."""


class HttpGateway:
    """One gateway. See `wa_supervisor.engine.ports.Gateway`.

    `secret` makes tokens for sessions that bring none, `token` is for them if there is no secret. Time-outs are seconds
    of silence; `send_timeout` is for sends, `request_timeout` for everything else.
    """

    def __init__(
        self,
        name: GatewayName,
        url: str,
        *,
        secret: str | None = None,
        token: str | None = None,
        requests_at_once: int = WirePolicy().requests_at_once,
        request_timeout: float = 30.0,
        send_timeout: float = 90.0,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._wire = Wire(name, url, WirePolicy(requests_at_once=requests_at_once), verify)
        self._tokens = Tokens(self._wire, secret=secret, default=token, within=request_timeout)
        self._request_timeout = request_timeout
        self._send_timeout = send_timeout

    def __repr__(self) -> str:
        return f"<HttpGateway {self.name} {self._wire.url}>"

    @property
    def name(self) -> GatewayName:
        """The operator's name for it."""
        return self._wire.name

    async def aclose(self) -> None:
        """Close all connections; nothing can be called afterwards."""
        await self._wire.aclose()

    async def health(self) -> GatewayHealth:
        """Ask `healthz`."""
        call = Call(method="GET", path="/healthz", what="healthz", within=HEALTH_TIMEOUT, takes_turn=False)
        answer = await self._wire.exchange(call)
        return GatewayHealth(uptime=answer.read(_Health).uptime)

    async def start(self, access: SessionAccess, options: StartOptions) -> None:
        """Start the session's browser."""
        (await self._ask(access, "POST", "start-session", _start_body(options))).read(_Any)

    async def report(self, access: SessionAccess) -> SessionReport:
        """Ask `status-session`."""
        found = (await self._ask(access, "GET", "status-session")).read(_Status)
        status = GatewayStatus.read(found.status)
        # The server remembers the code after it was used or given up.
        is_on_offer = status is GatewayStatus.QRCODE and isinstance(found.urlcode, str)
        return SessionReport(status=status, url_code=str(found.urlcode) if is_on_offer else None)

    async def is_connected(self, access: SessionAccess) -> bool:
        """Ask `check-connection-session`."""
        return (await self._ask(access, "GET", "check-connection-session")).read(_Check).status

    async def close(self, access: SessionAccess) -> None:
        """Close the session's browser and keep its login."""
        answer = await self._ask(access, "POST", "close-session", {})
        is_reset = answer.status == 500 and bool(answer.fields)  # a stuck session: it fails to close, and is reset
        if not is_reset:
            answer.read(_Any)
        self._tokens.forget(access.session)

    async def send_text(
        self,
        access: SessionAccess,
        chat: ChatId,
        text: str,
        *,
        stanza: StanzaId | None = None,
        may_leave: MayLeave = always,
    ) -> SendOutcome:
        """Send one text; what may go wrong is an outcome."""
        if not is_sendable(chat):
            # A comma or a second number in it would send to several, or to a stranger.
            return NotSent(reason="UnsendableChat", message="this is no chat to send to", repeat=Repeat.NEVER)
        body: dict[str, object] = {"phone": chat, "message": text, **send_flags(chat)}
        if stanza is not None and chat_kind(chat) in _NAMEABLE:
            body["options"] = {"messageId": f"true_{chat}_{stanza}"}
        try:
            answer = await self._ask(
                access, "POST", "send-message", body, within=self._send_timeout, may_leave=may_leave
            )
        except SupersededError as error:
            return NotSent(reason="Superseded", message=str(error), repeat=Repeat.NEVER)
        except NothingAskedError as error:
            return NotSent(reason=error.reason, message=str(error), repeat=Repeat.LATER)
        except (GatewayUnreachableError, PermanentError) as error:
            return NotSent(reason=error.reason, message=str(error), repeat=Repeat.WHEN_CONNECTED)
        except GatewayAnswerError as error:
            return Unknown(reason="NoAnswer", message=str(error))
        return outcome_of_answer(answer.status, answer.body)

    async def set_typing(self, access: SessionAccess, chat: ChatId, on: bool) -> None:
        """Show or hide "typing", in chats where the gateway would show it to the right person."""
        if _shows_typing(chat):
            body = {"phone": chat, "value": on, **send_flags(chat)}
            (await self._ask(access, "POST", "typing", body)).read(_Any)

    async def chats(self, access: SessionAccess, *, count: int, start: ChatId | None = None) -> Sequence[ChatRow]:
        """Ask `list-chats`, and ask on while a full page has hardly any people and groups.

        Callers take a page with few rows for the last one, and one full of channels is not.
        """
        found, seen = list[ChatRow](), set[ChatId]()
        while True:
            wanted = count + 1 if seen else count  # a page begins with the last chat of the one before
            rows = await self._page_of_chats(access, wanted, start)
            named = [row for row in map(read_chat_row, rows) if row is not None]
            fresh = [row for row in named if row.chat not in seen]
            seen.update(row.chat for row in fresh)
            found += [row for row in fresh if chat_kind(row.chat) in _LISTED]
            if not fresh or len(rows) < wanted or len(found) > count // 2:
                return found[:count]
            start = named[-1].chat

    async def _page_of_chats(self, access: SessionAccess, count: int, start: ChatId | None) -> list[object]:
        body: dict[str, object] = {"count": count, "direction": "after"}
        if start is not None:
            body["id"] = start
        return (await self._ask(access, "POST", "list-chats", body)).read(list[object])

    async def messages(
        self, access: SessionAccess, chat: ChatId, *, count: int, after: str | None = None, before: str | None = None
    ) -> Sequence[Found]:
        """Ask `get-messages`; what fails there is answered with 401, which is not about the token."""
        query = {"count": str(count), "direction": "after" if after else "before"}
        anchor = after or before
        if anchor is not None:
            query["id"] = anchor
        route = f"get-messages/{quote(chat, safe='@')}?{urlencode(query)}"
        answer = await self._ask(access, "GET", route, what="get-messages")
        return oldest_first([read_found(row, self.name, access.session) for row in answer.read(_Messages).response])

    async def number_exists(self, access: SessionAccess, chat: ChatId) -> bool:
        """Ask `check-number-status`."""
        number = chat.partition("@")[0]
        answer = await self._ask(access, "GET", f"check-number-status/{quote(number)}", what="check-number-status")
        found = answer.read(_NumberStatus).response
        return bool(found.get("numberExists")) and found.get("canReceiveMessage") is not False

    async def _ask(
        self,
        access: SessionAccess,
        method: Literal["GET", "POST"],
        route: str,
        body: Mapping[str, object] | None = None,
        *,
        what: str | None = None,
        within: float | None = None,
        may_leave: MayLeave | None = None,
    ) -> Answer:
        call = Call(
            method=method,
            path=f"/api/{quote(access.session, safe='')}/{route}",
            what=what or route,
            within=within or self._request_timeout,
            body=body,
            may_leave=may_leave,
        )
        token = await self._tokens.of(access)
        answer = await self._wire.exchange(replace(call, token=token))
        if not _refuses_token(answer):
            return answer
        fresh = await self._tokens.of(access, refused=token)
        answer = await self._wire.exchange(replace(call, token=fresh))
        if _refuses_token(answer):
            raise TokenRefusedError(
                f"gateway {self.name} refuses the token of session {access.session}, and a fresh one too: "
                "is the name right, and gateways.*.secret its secretKey?"
            )
        return answer


def _start_body(options: StartOptions) -> dict[str, object]:
    # Never empty: an empty body leaves what was stored before in force.
    body: dict[str, object] = {"waitQrCode": False}
    if options.phone is not None:
        body["phone"] = options.phone
    if options.proxy is not None:
        body["proxy"] = _proxy(options.proxy)
    return body


def _proxy(proxy: Proxy) -> dict[str, str]:
    fields = {"url": proxy.url, "username": proxy.username, "password": proxy.password}
    return {key: value for key, value in fields.items() if value is not None}


def _shows_typing(chat: ChatId) -> bool:
    """Whether "typing" reaches this chat: the gateway ignores `isLid` there, and a short lid becomes a stranger."""
    match chat_kind(chat):
        case ChatKind.PERSON | ChatKind.GROUP:
            return True
        case ChatKind.LID:
            return len(chat.partition("@")[0]) > _SHORT_LID
        case _:
            return False


def _refuses_token(answer: Answer) -> bool:
    """Tell the 401 about the token from others: `get-messages` fails with 401 too, and so does a proxy."""
    if answer.status != 401:
        return False
    said = (answer.fields.get("error"), answer.fields.get("message"))
    return any(isinstance(text, str) and "token" in text.casefold() for text in said)
