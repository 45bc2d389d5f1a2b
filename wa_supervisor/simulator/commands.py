"""What can be scripted over HTTP: one plain function for each command of `wa_supervisor.simulator.control`.

A command's parameters after `gateway` are the fields of its JSON body, with types and defaults; its name is the path
(`crash_browser` -> `/_control/crash-browser`). Unknown fields are refused, because a misspelt misfortune would be none.
None of the functions decides anything; they call what a script in the same process calls.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

import anyio
import msgspec

from wa_supervisor.simulator.faults import Fault
from wa_supervisor.simulator.ledger import Written
from wa_supervisor.simulator.messages import Media
from wa_supervisor.simulator.people import SMALL_PICTURE, Person

if TYPE_CHECKING:
    from wa_supervisor.simulator.gateway import SimulatedGateway

_LAST_WORDS = 0.01
"""Seconds between the answer to a command that cuts all connections and the cut."""


class PersonFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person, as `SimulatedGateway.person` takes it."""

    id: str
    name: str = "Contact"
    phone: str | None = None
    listed_as: str | None = None
    wids_as_objects: bool = False


def _who(gateway: SimulatedGateway, person: PersonFields) -> Person:
    return gateway.person(
        person.id,
        name=person.name,
        phone=person.phone,
        listed_as=person.listed_as,
        wids_as_objects=person.wids_as_objects,
    )


def _endless(times: int | None) -> float:
    return math.inf if times is None else times


# Sessions


def needs_login(gateway: SimulatedGateway, session: str) -> None:
    """The stored login is gone."""
    gateway.session(session).needs_login()


def scan(gateway: SimulatedGateway, session: str) -> None:
    """The shown QR is scanned, or the shown code entered."""
    gateway.session(session).scan()


def stick(gateway: SimulatedGateway, session: str, starts: int | None = 1) -> None:
    """The next starts get stuck."""
    gateway.session(session).stick(_endless(starts))


def keep_profile(gateway: SimulatedGateway, session: str) -> None:
    """Every start gets stuck until the server process is restarted."""
    gateway.session(session).keep_profile()


def break_pages(gateway: SimulatedGateway, session: str, pages: int = 1) -> None:
    """The next logins end in `session-error`."""
    gateway.session(session).break_pages(pages)


def crash_browser(gateway: SimulatedGateway, session: str) -> None:
    """CONNECTED, but the browser is gone."""
    gateway.session(session).crash_browser()


def die(gateway: SimulatedGateway, session: str, sends: Literal["timeout", "ack0"] = "timeout") -> None:
    """CONNECTED, but WhatsApp's socket is dead."""
    gateway.session(session).die(sends)


def revive(gateway: SimulatedGateway, session: str) -> None:
    """WhatsApp's socket is back by itself."""
    gateway.session(session).revive()


def drop(gateway: SimulatedGateway, session: str, *, keep_login: bool = False) -> None:
    """CLOSED without an event."""
    gateway.session(session).drop(keep_login=keep_login)


def refuse_tokens(gateway: SimulatedGateway, session: str, times: int | None = None) -> None:
    """401 for the next calls."""
    gateway.session(session).refuse_tokens(_endless(times))


def refuse_secret(gateway: SimulatedGateway, session: str, times: int | None = None) -> None:
    """No token is made for the session, as if the secret were wrong."""
    gateway.session(session).refuse_secret(_endless(times))


def lose_name(gateway: SimulatedGateway, session: str) -> None:
    """`qrCode` and `phoneCode` come without the session's name."""
    gateway.session(session).lose_name()


# People


def write(
    gateway: SimulatedGateway,
    session: str,
    person: PersonFields,
    text: str = "",
    kind: str = "chat",
    group: str | None = None,
    media: Media | None = None,
    extra: dict[str, Any] | None = None,
) -> Written:
    """A person sends a message of any kind."""
    return _who(gateway, person).sends(session, text, kind=kind, group=group, media=media, extra=extra)


def write_undecryptable(
    gateway: SimulatedGateway, session: str, person: PersonFields, text: str, *, decrypts: bool = True
) -> Written:
    """First as `ciphertext`, then readable."""
    return _who(gateway, person).writes_undecryptable(session, text, decrypts=decrypts)


def post_story(gateway: SimulatedGateway, session: str, person: PersonFields, media: Media = SMALL_PICTURE) -> Written:
    """A story."""
    return _who(gateway, person).posts_story(session, media)


async def flood(
    gateway: SimulatedGateway, session: str, person: PersonFields, count: int, text: str = "message"
) -> list[str]:
    """Many texts at once; their stanza ids."""
    return [entry.stanza for entry in await _who(gateway, person).flood(session, count, text)]


def react(gateway: SimulatedGateway, session: str, person: PersonFields, message: str, reaction: str) -> None:
    """A reaction to a message; empty: taken back."""
    _who(gateway, person).reacts(session, message, reaction)


def take_back(gateway: SimulatedGateway, session: str, person: PersonFields, stanza: str) -> None:
    """A direct message is revoked."""
    _who(gateway, person).takes_back(session, stanza)


def owner_writes(gateway: SimulatedGateway, session: str, chat: str, text: str) -> Written:
    """The account's owner writes on the phone."""
    return gateway.owner_writes(session, chat, text)


def pin(gateway: SimulatedGateway, session: str, chat: str, *, on: bool = True) -> None:
    """The owner pins a chat to the top of the list."""
    gateway.session(session).page.history.pin(chat, on=on)


def number(gateway: SimulatedGateway, number: str, fate: Literal["missing", "denied", "fine"]) -> None:
    """What look-ups say about a phone number."""
    gateway.number_is(number, fate)


# The gateway


def fault(gateway: SimulatedGateway, fault: Fault) -> None:
    """Put a fault in force."""
    gateway.script(fault)


def mend(gateway: SimulatedGateway) -> None:
    """Take back every fault."""
    gateway.mend()


def emit(gateway: SimulatedGateway, event: str, payload: Any = None) -> dict[str, bool]:  # noqa: ANN401 - any JSON
    """Any event, as it is."""
    return {"emitted": gateway.emit(event, payload)}


def secret(gateway: SimulatedGateway, secret: str) -> None:
    """Another secret; no token is valid any more."""
    gateway.change_secret(secret)


def age(gateway: SimulatedGateway, seconds: float) -> None:
    """Let the server process have been up for longer."""
    gateway.age(seconds)


def lose_events(gateway: SimulatedGateway, seconds: float = 0.0, times: int = 0, session: str | None = None) -> None:
    """Messages are kept and not emitted, for a while or so many of them."""
    gateway.lose_events(seconds, times=times, session=session)


def cut_clients(gateway: SimulatedGateway) -> None:
    """Cut the Socket.IO connections."""
    gateway.cut_clients()


def restart(gateway: SimulatedGateway, seconds: float = 0.0, start_stored: bool | None = None) -> None:
    """Die and come back, after answering; down for `seconds` in between."""

    async def die_and_come_back() -> None:
        await anyio.sleep(_LAST_WORDS)
        await gateway.go_down()
        await anyio.sleep(seconds)
        await gateway.come_back(start_stored=start_stored)

    gateway.background.start_soon(die_and_come_back)


def forget_ledger(gateway: SimulatedGateway) -> None:
    """Start a new page of the ledger."""
    gateway.ledger.forget()


_FUNCTIONS: tuple[Callable[..., object], ...] = (
    needs_login,
    scan,
    stick,
    keep_profile,
    break_pages,
    crash_browser,
    die,
    revive,
    drop,
    refuse_tokens,
    refuse_secret,
    lose_name,
    write,
    write_undecryptable,
    post_story,
    flood,
    react,
    take_back,
    owner_writes,
    pin,
    number,
    fault,
    mend,
    emit,
    secret,
    age,
    lose_events,
    cut_clients,
    restart,
    forget_ledger,
)


class Command:
    """A function and the shape of the body that calls it."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.name = function.__name__.replace("_", "-")
        self._function = function
        hints = get_type_hints(function, localns={"SimulatedGateway": object})
        fields = [
            (name, hints[name]) if given.default is given.empty else (name, hints[name], given.default)
            for name, given in list(inspect.signature(function).parameters.items())[1:]
        ]
        self.fields = tuple(field[0] for field in fields)
        """Names of the fields of its body."""
        body = msgspec.defstruct(function.__name__, fields, kw_only=True, forbid_unknown_fields=True)
        self._decode = msgspec.json.Decoder(body).decode

    async def carry_out(self, gateway: SimulatedGateway, body: bytes) -> object:
        """Call it. Raises `msgspec.DecodeError` for a wrong body and `RuntimeError` for what is impossible now."""
        wanted = self._decode(body)
        result = self._function(gateway, **{name: getattr(wanted, name) for name in wanted.__struct_fields__})
        return await result if inspect.isawaitable(result) else result


COMMANDS = {command.name: command for command in map(Command, _FUNCTIONS)}
"""Path below `/_control/` -> command."""
