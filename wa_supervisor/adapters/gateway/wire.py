"""One call to a gateway and its answer: httpx's words for what goes wrong turned into ours.

    GatewayUnreachableError     the request certainly did not leave
    NothingAskedError           it was not even tried, as too many calls are under way, or there is no token
    GatewayAnswerError          it may have had its effect: no answer in time, a broken connection, nonsense

`Wire` lives as long as its gateway's client and has the one httpx client of it. It knows neither routes nor tokens, and
repeats nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal, NoReturn, TypeVar, cast

import httpx
import msgspec

from wa_supervisor.adapters.gateway.attempt import HeldBackError
from wa_supervisor.adapters.gateway.transport import MAY_LEAVE, AiohttpTransport, TransportPolicy
from wa_supervisor.adapters.gateway.turns import Turns
from wa_supervisor.domain.errors import (
    GatewayAnswerError,
    GatewayGarbledError,
    GatewayTimeoutError,
    GatewayUnreachableError,
)
from wa_supervisor.domain.names import GatewayName

T = TypeVar("T")

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.LocalProtocolError, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class WirePolicy:
    """How a gateway is called."""

    requests_at_once: int = 16
    """Calls in the part that costs the gateway processor time; more would wait there."""

    turn_longest: float = 2.0
    """Seconds after which a call no longer counts as such: far more than bcrypt takes even when sixteen wait for two
    cores, far less than a hung page's 180."""

    connections: int = 256
    """Connections in all, hung ones included: some four for each of the tens of sessions that a server has."""

    connect_timeout: float = 5.0
    """Seconds for name resolution, TCP and TLS; the gateway is near, and the kernel repeats a lost packet after 1."""

    write_timeout: float = 30.0
    """Seconds for 64 KiB of a body: Node reads as fast as it comes unless it is gone."""


class NothingAskedError(GatewayAnswerError):
    """Nothing was asked of the gateway: what was wanted certainly had no effect."""


class SupersededError(NothingAskedError):
    """At the last instant it was not certain that it still should be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `within`: seconds of silence after which the answer is given up."""

    method: Literal["GET", "POST"]
    path: str = field(repr=False)
    what: str
    """The route's name, for messages."""
    within: float
    body: Mapping[str, object] | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    takes_turn: bool = True
    """Whether it costs the gateway processor time."""
    may_leave: Callable[[], bool] | None = field(default=None, repr=False)
    """Asked just before the first byte of the body is written."""
    hides_path: bool = False
    """Whether the path holds the secret, so that no exception that names it may be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the gateway answered, whatever the status."""

    gateway: GatewayName
    what: str
    status: int
    content: bytes = field(repr=False)
    retry_after: float | None = None

    @property
    def body(self) -> object:
        """The decoded JSON; None if it is none."""
        try:
            return cast("object", msgspec.json.decode(self.content))
        except (msgspec.DecodeError, RecursionError):
            return None

    @property
    def fields(self) -> Mapping[str, object]:
        """The decoded JSON object; empty if it is none."""
        body = self.body
        return cast("dict[str, object]", body) if isinstance(body, dict) else {}

    @property
    def is_success(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300

    def read(self, kind: type[T]) -> T:
        """Read a success of this form. Raises `GatewayAnswerError` for anything else."""
        if not self.is_success:
            self.fail()
        try:
            return msgspec.json.decode(self.content, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            text = f"gateway {self.gateway} answered {self.what} with something unreadable ({error})"
            raise GatewayGarbledError(text, retry_after=self.retry_after) from error

    def fail(self) -> NoReturn:
        """Raise `GatewayAnswerError` with the gateway's own words, if it gave any; garbled, if it is no JSON object."""
        said = next((value for key in ("message", "error") if isinstance(value := self.fields.get(key), str)), "")
        text = f"gateway {self.gateway} answered {self.what} with {self.status}"
        kind = GatewayAnswerError if isinstance(self.body, dict) else GatewayGarbledError
        raise kind(f"{text}: {said[:200]}" if said else text, retry_after=self.retry_after)


class Wire:
    """The way to one gateway."""

    def __init__(self, name: GatewayName, url: str, policy: WirePolicy, verify: ssl.SSLContext | bool) -> None:
        self.name = name
        self.url = url
        self._policy = policy
        self._turns = Turns(policy.requests_at_once, longest=policy.turn_longest)
        transport = AiohttpTransport(policy=TransportPolicy(connections=policy.connections), verify=verify)
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._http = httpx.AsyncClient(transport=transport, base_url=url, cookies=no_cookies)

    async def exchange(self, call: Call) -> Answer:
        """Make the call once. See the module for what it raises."""
        if not call.takes_turn:
            return await self._exchange(call)
        try:
            async with self._turns.turn(call.within):
                return await self._exchange(call)
        except TimeoutError as error:
            text = f"gateway {self.name} has more to do than it can: {call.what} had no turn in {call.within:g} s"
            raise NothingAskedError(text) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _exchange(self, call: Call) -> Answer:
        try:
            response = await self._http.request(
                call.method,
                call.path,
                content=_encoded(call.body),
                headers=_headers(call),
                timeout=self._limits(call),
                extensions={} if call.may_leave is None else {MAY_LEAVE: call.may_leave},
            )
        except httpx.RequestError as error:
            failure = self._failure(call, error)
            # The cause names the path; a secret in it would be in every traceback.
            raise failure from (None if call.hides_path else error)
        return Answer(
            gateway=self.name,
            what=call.what,
            status=response.status_code,
            content=response.content,
            retry_after=_seconds(response.headers.get("Retry-After")),
        )

    def _failure(self, call: Call, error: httpx.RequestError) -> Exception:
        if isinstance(error, HeldBackError):
            return SupersededError(f"{call.what} was not asked of gateway {self.name}: {error}")
        if isinstance(error, _NOT_SENT):
            return GatewayUnreachableError(f"gateway {self.name} cannot be reached at {self.url}: {error}")
        if isinstance(error, httpx.PoolTimeout):
            return NothingAskedError(f"gateway {self.name} hangs: {self._policy.connections} calls wait for it")
        if isinstance(error, httpx.ReadTimeout):
            return GatewayTimeoutError(f"gateway {self.name} did not answer {call.what} in {call.within:g} s")
        return GatewayAnswerError(f"gateway {self.name} broke off while answering {call.what}: {error}")

    def _limits(self, call: Call) -> httpx.Timeout:
        return httpx.Timeout(
            connect=self._policy.connect_timeout,
            write=self._policy.write_timeout,
            read=call.within,
            pool=call.within,
        )


def _encoded(body: Mapping[str, object] | None) -> bytes | None:
    return None if body is None else msgspec.json.encode(body)


def _headers(call: Call) -> dict[str, str]:
    # Never a Content-Type without a body: some of the gateway's answers then never come.
    headers = {} if call.body is None else {"Content-Type": "application/json"}
    return headers if call.token is None else headers | {"Authorization": f"Bearer {call.token}"}


def _seconds(header: Any) -> float | None:  # noqa: ANN401  # httpx's headers are untyped
    return float(header) if isinstance(header, str) and header.isascii() and header.isdigit() else None
