"""What the log says, in which form, and what it never says."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator, Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wa_supervisor.adapters.logs import LogFormat, LogObserver, LogPolicy, is_journal, masked_chat, set_up_logging
from wa_supervisor.adapters.logs.formats import JournalFormatter, JsonFormatter, TextFormatter
from wa_supervisor.adapters.logs.repeats import MOST_KNOWN, Repeats
from wa_supervisor.domain.errors import GatewayAnswerError, StoreUnavailableError
from wa_supervisor.domain.lifecycle import Cause, State
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.observations import (
    Abandoned,
    CommandAnswered,
    DuplicateDropped,
    EventsDropped,
    EventUnattributed,
    GatewayAnswered,
    GatewayChanged,
    LeasesChanged,
    MessageHandedOver,
    MessageLeftOut,
    Observation,
    Reconciled,
    ReplyDead,
    ReplySent,
    SessionMoved,
    Trouble,
    WishGuarded,
)
from wa_supervisor.domain.status import Transition

MAIN = GatewayName("main")
ACME = IntegrationId("acme")
OWN = "wa_supervisor.test"
PHONE = "5511988887777"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self.records.append(record)

    def lines(self) -> list[str]:
        """Give what was written as the journal gets it, priority first, and forget it."""
        written, self.records = [JournalFormatter().format(record) for record in self.records], []
        return written


@pytest.fixture
def kept() -> Kept:
    """Give what takes the records of `observer`."""
    return Kept()


@pytest.fixture
def clock() -> Clock:
    """Give a clock that the test moves."""
    return Clock()


@pytest.fixture
def logger(kept: Kept) -> Iterator[logging.Logger]:
    """Give a logger whose records are kept."""
    own = logging.getLogger(f"{OWN}.observer")
    own.setLevel(logging.INFO)
    own.addHandler(kept)
    yield own
    own.removeHandler(kept)


@pytest.fixture
def observer(clock: Clock, logger: logging.Logger) -> LogObserver:
    """Give an observer that writes two lines of a kind in a second."""
    return LogObserver(monotonic=clock, policy=LogPolicy(lines=2, window=1.0), logger=logger)


@pytest.fixture
def _restored() -> Iterator[None]:
    """Put logging back as it was."""
    root, ours, pool = (logging.getLogger(name) for name in (None, "wa_supervisor", "psycopg.pool"))
    before = root.level, list(root.handlers), ours.level
    yield
    pool.setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    ours.setLevel(before[2])


def record(
    message: str = "session held", *, level: int = logging.WARNING, name: str = OWN, **extra: object
) -> logging.LogRecord:
    """Give a record as logging makes it."""
    return logging.getLogger(name).makeRecord(name, level, "f.py", 1, message, (), None, extra=extra)


def failed(message: str = "it broke", **extra: object) -> logging.LogRecord:
    """Give a record with an exception."""
    made = logging.makeLogRecord({"name": OWN, "levelno": logging.ERROR, "levelname": "ERROR", "msg": message, **extra})
    try:
        raise ValueError(f"no answer for {PHONE}@c.us")
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    return made


def moved(target: State, *, integration: str = "acme", gateway: str | None = "main", attempt: int = 0) -> SessionMoved:
    """Give a step of a session's life."""
    step = Transition(
        at=1.0,
        source=State.STARTING,
        target=target,
        cause=Cause.HOLD,
        reason="GatewayDown",
        message="gateway main does not answer",
        attempt=attempt,
        lasted=1.25,
    )
    return SessionMoved(
        integration=IntegrationId(integration),
        session=SessionName("s"),
        gateway=GatewayName(gateway) if gateway else None,
        transition=step,
    )


def test_text_is_one_line_of_time_level_message_and_fields() -> None:
    line = TextFormatter(is_coloured=False).format(record(integration="acme", lasted=1.5, unknown=None, fine=True))
    shown = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} warning  session held integration=acme lasted=1.5 fine=yes"
    assert re.fullmatch(shown, line)


def test_text_for_a_terminal_colours_the_level_alone() -> None:
    assert " \x1b[33mwarning \x1b[0m session held" in TextFormatter(is_coloured=True).format(record())


def test_the_journal_gets_a_priority_on_every_line_and_no_time() -> None:
    lines = JournalFormatter().format(failed(integration="acme")).splitlines()
    assert lines[0] == "<3>it broke integration=acme"
    assert lines[1] == "<3>Traceback (most recent call last):"
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_the_journals_priority_is_syslogs(level: int, priority: int) -> None:
    assert JournalFormatter().format(record("", level=level)) == f"<{priority}>"


def test_json_is_one_object_with_every_field() -> None:
    line = JsonFormatter().format(failed(integration="acme", count=3, time="taken", strange={1}))
    assert "\n" not in line
    read = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", read.pop("time"))
    error = read.pop("error")
    assert read == {
        "level": "error",
        "logger": OWN,
        "message": "it broke",
        "integration": "acme",
        "count": 3,
        "time_": "taken",
        "strange": [1],
    }
    assert error["type"] == "ValueError"
    assert "no answer" in error["message"]
    assert "Traceback" in error["traceback"]


def test_a_library_is_named_and_we_are_not() -> None:
    assert JournalFormatter().format(record(name="aiohttp.server")) == "<4>session held logger=aiohttp.server"
    assert JournalFormatter().format(record(name="wa_supervisor.engine.gate")) == "<4>session held"


FORMATTERS = [TextFormatter(is_coloured=False), JournalFormatter(), JsonFormatter()]


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_numbers_and_secrets_are_masked_wherever_they_stand(formatter: logging.Formatter) -> None:
    line = formatter.format(failed(why=f"to {PHONE}@c.us", header="Bearer abc", url="redis://a:hunter2@localhost"))
    for hidden in (PHONE, "abc", "hunter2"):
        assert hidden not in line
    assert "5511*****777@c.us" in line


def test_debug_shows_what_it_has_to() -> None:
    line = JournalFormatter().format(record(level=logging.DEBUG, chat=f"{PHONE}@c.us"))
    assert line == f"<7>session held chat={PHONE}@c.us"


ANYTHING = st.one_of(st.text(), st.text().map("{}\n<0>forged".format), st.integers(), st.floats(), st.binary())


@pytest.mark.parametrize("formatter", FORMATTERS[:2])
@settings(deadline=None)  # nothing here depends on how busy the machine is
@given(value=ANYTHING)
def test_no_value_breaks_a_line_or_moves_a_cursor(formatter: logging.Formatter, value: object) -> None:
    line = formatter.format(record(value=value))
    assert len(line.splitlines()) == 1
    assert line.isprintable()


@settings(deadline=None)  # nothing here depends on how busy the machine is
@given(value=ANYTHING)
def test_every_value_stays_within_its_json_object(value: object) -> None:
    line = JsonFormatter().format(record(value=value))
    assert "\n" not in line
    assert "value" in json.loads(line)


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_a_message_of_several_lines_from_a_library_is_one_line(formatter: logging.Formatter) -> None:
    assert len(formatter.format(record("first\nsecond", name="warnings")).splitlines()) == 1


@pytest.mark.parametrize("value", ["\udc80", 2**70, float("nan"), {1: "number as key"}])
def test_json_writes_even_what_is_no_json(value: object) -> None:
    assert json.loads(JsonFormatter().format(record(value=value)))["message"] == "session held"


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize(
    ("log_format", "begins"), [("text", "20"), ("auto", "20"), ("json", '{"time"'), ("journal", "<6>")]
)
def test_each_format_can_be_chosen(log_format: LogFormat, begins: str) -> None:
    stream = io.StringIO()
    set_up_logging("info", log_format, stream=stream, environ={})
    logging.getLogger(OWN).info("daemon ready")
    assert stream.getvalue().startswith(begins)


@pytest.mark.usefixtures("_restored")
def test_our_level_is_ours_alone_and_libraries_speak_from_warning_on() -> None:
    stream = io.StringIO()
    set_up_logging("debug", "journal", stream=stream, environ={})
    logging.getLogger(OWN).debug("ours")
    logging.getLogger("httpx").info("GET http://gateway/api/secret")
    logging.getLogger("httpx").warning("theirs")
    assert stream.getvalue() == "<7>ours\n<4>theirs logger=httpx\n"


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_library_that_warns_of_every_try_is_heard_when_it_is_more_than_that(level: str) -> None:
    stream = io.StringIO()
    set_up_logging(level, "journal", stream=stream, environ={})
    logging.getLogger("psycopg.pool").warning("error connecting in 'wa-supervisor'")
    logging.getLogger("psycopg.pool").error("worse")
    assert stream.getvalue() == "<3>worse logger=psycopg.pool\n"


@pytest.mark.usefixtures("_restored")
def test_setting_up_again_replaces_and_does_not_double() -> None:
    first, second = io.StringIO(), io.StringIO()
    set_up_logging("info", "journal", stream=first, environ={})
    set_up_logging("error", "journal", stream=second, environ={})
    logging.getLogger(OWN).warning("quiet")
    logging.getLogger(OWN).error("loud")
    logging.getLogger("httpx").warning("quiet too")
    assert (first.getvalue(), second.getvalue()) == ("", "<3>loud\n")


@pytest.mark.usefixtures("_restored")
def test_warnings_of_python_go_the_same_way() -> None:
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        set_up_logging("info", "journal", stream=stream, environ={})
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert stream.getvalue().startswith('<4>"')
    assert "DeprecationWarning: old" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.usefixtures("_restored")
def test_the_journal_is_recognised_by_its_socket() -> None:
    ours, journal = socket.socketpair()
    with ours, journal, ours.makefile("w") as stream:
        status = os.fstat(ours.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(stream, environ)
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not is_journal(stream, {})
        assert not is_journal(io.StringIO(), environ)
        set_up_logging("info", "auto", stream=stream, environ=environ)
        logging.getLogger(OWN).info("daemon ready")
        assert journal.recv(100) == b"<6>daemon ready\n"


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize(
    ("stream", "environ", "is_coloured"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(stream: io.StringIO, environ: dict[str, str], is_coloured: bool) -> None:
    set_up_logging("info", "auto", stream=stream, environ=environ)
    logging.getLogger(OWN).info("daemon ready")
    assert ("\x1b[" in stream.getvalue()) is is_coloured


@pytest.mark.usefixtures("_restored")
def test_a_level_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        set_up_logging("loud", "text", stream=io.StringIO(), environ={})


@pytest.mark.parametrize(
    ("target", "priority"),
    [
        (State.RUNNING, 6),
        (State.HELD, 6),
        (State.DEGRADED, 4),
        (State.BACKOFF, 4),
        (State.QUARANTINED, 3),
        (State.INVALID, 3),
    ],
)
def test_a_transition_is_one_line_whose_level_says_how_bad_it_is(
    observer: LogObserver, kept: Kept, target: State, priority: int
) -> None:
    observer.observe(moved(target))
    fields = "integration=acme session=s gateway=main was=starting lasted=1.25 reason=GatewayDown"
    why = "gateway main does not answer"
    assert kept.lines() == [f'<{priority}>session {target.value} {fields} why="{why}"']


PER_MESSAGE: Sequence[Observation] = (
    MessageHandedOver(integration=ACME, gateway=MAIN, listeners=1, latency=0.002),
    DuplicateDropped(integration=ACME, gateway=MAIN),
    MessageLeftOut(gateway=MAIN, reason="story", detail="chat"),
    ReplySent(integration=ACME, gateway=MAIN, latency=0.3, attempts=1),
    EventUnattributed(gateway=MAIN, event="onack"),
)


@pytest.mark.parametrize("observation", PER_MESSAGE)
def test_single_messages_are_told_at_debug_only(
    observer: LogObserver, kept: Kept, logger: logging.Logger, observation: Observation
) -> None:
    observer.observe(observation)
    assert kept.lines() == []
    logger.setLevel(logging.DEBUG)
    observer.observe(observation)
    (line,) = kept.lines()
    assert line.startswith("<7>")
    assert "gateway=main" in line


@pytest.mark.parametrize(
    ("observation", "line"),
    [
        (
            ReplyDead(agent=AgentId("a"), integration=ACME, gateway=MAIN, reason="Http500", is_unknown=True),
            "<4>reply became a dead letter agent=a integration=acme gateway=main reason=Http500 may_have_been_sent=yes",
        ),
        (
            GatewayChanged(gateway=MAIN, what="gate_closed", message="3 of 4 sessions failed"),
            '<4>gateway\'s gate closed; its sessions are held gateway=main why="3 of 4 sessions failed"',
        ),
        (
            GatewayChanged(gateway=MAIN, what="feed_connected", message=""),
            "<6>gateway's event connection stands gateway=main",
        ),
        (
            Reconciled(seconds=0.0125, wanted=3, invalid=1, changed=2, error=None),
            "<6>wish followed wanted=3 invalid=1 changed=2 seconds=0.013",
        ),
        (
            Trouble(where="people", message="no answer", error=StoreUnavailableError("gone"), integration=ACME),
            '<4>trouble where=people why="no answer" error_type=StoreUnavailableError integration=acme',
        ),
        (Trouble(where="wish", message="mostly gone"), '<4>trouble where=wish why="mostly gone"'),
        (
            Abandoned(integration=ACME, what="send", count=2),
            "<3>work abandoned at the deadline integration=acme what=send count=2",
        ),
        (
            CommandAnswered(integration=ACME, verb="restart", by="ana", is_accepted=True, message="restarting"),
            "<6>command accepted verb=restart integration=acme by=ana why=restarting",
        ),
        (
            CommandAnswered(integration=None, verb="fly", by="", is_accepted=False, message="no such command"),
            '<4>command refused verb=fly why="no such command"',
        ),
        (EventsDropped(count=12), "<4>events dropped: Redis did not take them in time count=12"),
    ],
)
def test_what_an_operator_must_know_is_one_line(
    observer: LogObserver, kept: Kept, observation: Observation, line: str
) -> None:
    observer.observe(observation)
    assert kept.lines() == [
        line.replace('"gateway\'s gate closed; its sessions are held"', "gateway's gate closed; its sessions are held")
    ]


def test_an_unexpected_error_comes_with_its_traceback(observer: LogObserver, kept: Kept) -> None:
    group = BaseExceptionGroup("many", [GatewayAnswerError("500"), KeyError("surprise"), KeyboardInterrupt()])
    observer.observe(Trouble(where="session", message="crashed", error=group))
    (line,) = kept.lines()
    assert line.startswith("<3>trouble where=session why=crashed error_type=BaseExceptionGroup\n<3>")
    assert "KeyError: 'surprise'" in line


def test_a_group_of_expected_errors_is_expected(observer: LogObserver, kept: Kept) -> None:
    group = ExceptionGroup("many", [GatewayAnswerError("500"), StoreUnavailableError("gone")])
    observer.observe(Trouble(where="session", message="both gone", error=group))
    assert kept.lines() == ['<4>trouble where=session why="both gone" error_type=ExceptionGroup']


def test_a_round_that_changes_nothing_is_not_told(observer: LogObserver, kept: Kept) -> None:
    observer.observe(Reconciled(seconds=0.01, wanted=3, invalid=0, changed=0, error=None))
    assert kept.lines() == []


def test_failing_rounds_are_told_when_it_begins_when_the_reason_changes_and_when_it_ends(
    observer: LogObserver, kept: Kept
) -> None:
    for error in ("gone", "gone", "refused", None, None):
        observer.observe(Reconciled(seconds=0.01, wanted=1, invalid=0, changed=0, error=error))
    assert kept.lines() == [
        "<4>wish could not be read; what runs goes on why=gone",
        "<4>wish could not be read; what runs goes on why=refused",
        "<6>wish followed again wanted=1 invalid=0 changed=0 seconds=0.01",
    ]


def test_many_of_a_kind_become_one_line_after_the_second(observer: LogObserver, kept: Kept, clock: Clock) -> None:
    for number in range(414):
        observer.observe(moved(State.HELD, integration=f"n{number}"))
    observer.observe(moved(State.HELD, gateway="spare"))
    observer.observe(moved(State.BACKOFF))
    assert [line.split(" integration")[0] for line in kept.lines()] == [
        "<6>session held",
        "<6>session held",
        "<6>session held",
        "<4>session backoff",
    ]
    clock.now = 1.0
    observer.observe(moved(State.HELD))
    assert [line.split(" integration")[0] for line in kept.lines()] == [
        "<6>more sessions held count=412 gateway=main",
        "<6>session held",
    ]


def test_what_was_counted_is_told_by_any_later_observation_or_at_the_end(
    observer: LogObserver, kept: Kept, clock: Clock
) -> None:
    for _ in range(5):
        observer.observe(Trouble(where="people", message="no database"))
    kept.lines()
    clock.now = 5.0
    observer.observe(Reconciled(seconds=0.01, wanted=3, invalid=0, changed=0, error=None))
    assert kept.lines() == ["<4>more troubles count=3 where=people"]
    for _ in range(3):
        observer.observe(moved(State.HELD, gateway=None))
    kept.lines()
    observer.flush()
    observer.flush()
    assert kept.lines() == ["<6>more sessions held count=1"]


def away(integration: IntegrationId | None = None, what: str = "gone") -> Trouble:
    return Trouble(where="status", message=f"try: {what}", error=StoreUnavailableError(what), integration=integration)


def test_the_same_trouble_tried_again_is_told_once_a_minute_with_how_often(
    observer: LogObserver, kept: Kept, clock: Clock
) -> None:
    for second in range(130):
        clock.now = float(second)
        observer.observe(away(what=f"gone for {second} s"))
    assert kept.lines() == [
        '<4>trouble where=status why="try: gone for 0 s" error_type=StoreUnavailableError',
        '<4>trouble where=status why="try: gone for 60 s" error_type=StoreUnavailableError times=60',
        '<4>trouble where=status why="try: gone for 120 s" error_type=StoreUnavailableError times=60',
    ]


def test_troubles_of_others_and_of_other_kinds_are_no_repetition(observer: LogObserver, kept: Kept) -> None:
    observer.observe(away())
    observer.observe(away(ACME))
    observer.observe(Trouble(where="status", message="m", error=GatewayAnswerError("500")))
    observer.observe(away())
    observer.flush()
    first, second, more = kept.lines()
    assert "integration=" not in first
    assert "integration=acme" in second
    assert more == "<4>more troubles count=1 where=status"  # the third; the last one was told already


def test_what_nobody_foresaw_is_told_each_time(observer: LogObserver, kept: Kept) -> None:
    for _ in range(2):
        observer.observe(Trouble(where="session", message="crashed", error=KeyError("surprise")))
    assert len(kept.lines()) == 2


def test_no_more_repetitions_are_remembered_than_a_bound() -> None:
    repeats = Repeats(lambda: 0.0, 60.0)
    for number in range(MOST_KNOWN + 1):
        assert repeats.to_tell(number) == 1
    assert repeats.to_tell(MOST_KNOWN) is None
    assert repeats.to_tell(0) == 1


def test_a_wish_that_is_held_back_is_told_when_that_begins_changes_and_ends(observer: LogObserver, kept: Kept) -> None:
    for held_back in (6, 6, 4, 0, 0):
        observer.observe(WishGuarded(stops_wanted=8, held_back=held_back, message="half of it is gone"))
    assert kept.lines() == [
        '<4>wish lost much at once and is not followed whole stops=8 held_back=6 why="half of it is gone"',
        '<4>wish lost much at once and is not followed whole stops=8 held_back=4 why="half of it is gone"',
        '<6>wish is followed whole again stops=8 held_back=0 why="half of it is gone"',
    ]


def test_leases_are_told_when_they_change(observer: LogObserver, kept: Kept) -> None:
    for held, elsewhere in ((0, 0), (3, 0), (3, 0), (2, 1)):
        observer.observe(LeasesChanged(held=held, elsewhere=elsewhere))
    assert kept.lines() == ["<6>leases changed held=3 elsewhere=0", "<6>leases changed held=2 elsewhere=1"]


def test_how_fast_a_gateway_answers_is_no_line_at_any_level(
    observer: LogObserver, kept: Kept, logger: logging.Logger
) -> None:
    logger.setLevel(logging.DEBUG)
    observer.observe(GatewayAnswered(gateway=MAIN, seconds=0.05))
    assert kept.lines() == []


@pytest.mark.parametrize("kind", get_args(Observation))
def test_every_kind_of_observation_has_a_line_or_is_left_out_on_purpose(observer: LogObserver, kind: type) -> None:
    assert kind in observer._writers


def test_a_phone_number_for_a_name_is_masked(observer: LogObserver, kept: Kept) -> None:
    observer.observe(moved(State.RUNNING, integration=PHONE))
    (line,) = kept.lines()
    assert "integration=5511*****777 " in line
    assert masked_chat(f"{PHONE}@c.us") == "5511*****777@c.us"


def test_an_observation_that_cannot_be_logged_disturbs_nobody(observer: LogObserver, kept: Kept) -> None:
    observer.observe(GatewayChanged(gateway=MAIN, what="exploded", message=""))
    (line,) = kept.lines()
    assert line.startswith("<3>observation could not be logged kind=GatewayChanged\n")
