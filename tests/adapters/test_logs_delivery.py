"""What the log says of missed messages, absent agents and sends that had to be settled: changes, not messages."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from wa_supervisor.adapters.logs import LogObserver, LogPolicy
from wa_supervisor.adapters.logs.formats import JournalFormatter
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId
from wa_supervisor.domain.observations import (
    AckTold,
    AgentWaiting,
    CaughtUp,
    FellBehind,
    GatewayChanged,
    MessagesDropped,
    Observation,
    OutcomeSettled,
)

ACME, MAIN, AGENT = IntegrationId("acme"), GatewayName("main"), AgentId("a")


class Kept(logging.Handler):
    """Keeps lines as the journal gets them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.lines.append(JournalFormatter().format(record))


class Written:
    """A log that is observed: what was written, and the clock by which it is."""

    def __init__(self, logger: logging.Logger) -> None:
        self.now = 0.0
        self.logger = logger
        self.observer = LogObserver(
            monotonic=lambda: self.now, policy=LogPolicy(lines=2, window=1.0, quiet=60.0), logger=logger
        )
        self.handler = Kept()

    def tell(self, *observations: Observation) -> list[str]:
        """Observe, and give the lines as the journal gets them."""
        for observation in observations:
            self.observer.observe(observation)
        written, self.handler.lines = self.handler.lines, []
        return written


@pytest.fixture
def log() -> Iterator[Written]:
    logger = logging.getLogger("wa_supervisor.test.delivery")
    logger.setLevel(logging.INFO)
    written = Written(logger)
    logger.addHandler(written.handler)
    yield written
    logger.removeHandler(written.handler)


def caught_up(*, recovered: int = 0, too_old: int = 0) -> CaughtUp:
    return CaughtUp(
        integration=ACME,
        gateway=MAIN,
        cause="reconnected",
        seconds=6.5,
        chats=3,
        recovered=recovered,
        too_old=too_old,
    )


def waiting(count: int, published: int = 0) -> AgentWaiting:
    return AgentWaiting(agent=AGENT, waiting=count, published=published)


def settled(found: str, by: str) -> OutcomeSettled:
    return OutcomeSettled(integration=ACME, gateway=MAIN, found=found, by=by, seconds=12.5)


@pytest.mark.parametrize(
    ("observation", "line"),
    [
        (
            caught_up(recovered=5),
            (
                "<6>missed messages were fetched integration=acme gateway=main cause=reconnected recovered=5 chats=3 "
                "seconds=6.5"
            ),
        ),
        (
            caught_up(recovered=5, too_old=2),
            (
                "<4>missed messages are too old and left out integration=acme gateway=main cause=reconnected "
                "recovered=5 too_old=2 chats=3 seconds=6.5"
            ),
        ),
        (
            FellBehind(integration=ACME, gateway=MAIN, cause="overflow"),
            "<4>session may miss messages until it has caught up integration=acme gateway=main cause=overflow",
        ),
        (
            settled("unknown", "nothing"),
            (
                "<4>it could not be found out whether a reply was sent integration=acme gateway=main found=unknown "
                "by=nothing seconds=12.5"
            ),
        ),
        (
            GatewayChanged(gateway=MAIN, what="feed_let_go", message="20000 messages wait"),
            '<4>gateway\'s event connection let go: too much waits for Redis gateway=main why="20000 messages wait"',
        ),
    ],
)
def test_what_an_operator_wants_to_know_is_one_line(log: Written, observation: Observation, line: str) -> None:
    assert log.tell(observation) == [line]


@pytest.mark.parametrize(
    "observation",
    [
        caught_up(),
        FellBehind(integration=ACME, gateway=MAIN, cause="reconnected"),
        FellBehind(integration=ACME, gateway=MAIN, cause="store"),
        settled("sent", "history"),
        settled("not_sent", "history"),
    ],
)
def test_what_is_as_it_should_be_is_told_at_debug_only(log: Written, observation: Observation) -> None:
    assert log.tell(observation) == []
    log.logger.setLevel(logging.DEBUG)
    (line,) = log.tell(observation)
    assert line.startswith("<7>")
    assert "integration=acme" in line


def test_an_ack_is_no_line_at_any_level(log: Written) -> None:
    log.logger.setLevel(logging.DEBUG)
    assert log.tell(AckTold(gateway=MAIN, fate="read")) == []


def test_an_agent_that_goes_away_is_told_once_and_once_when_nothing_waits_any_more(log: Written) -> None:
    assert log.tell(waiting(1), waiting(2), waiting(40)) == [
        "<6>messages wait for an agent that does not listen agent=a waiting=1"
    ]
    assert log.tell(waiting(30, published=10), waiting(0, published=30)) == [
        "<6>nothing waits for the agent any more agent=a published=40"
    ]
    assert log.tell(waiting(3)) == ["<6>messages wait for an agent that does not listen agent=a waiting=3"]


def test_what_was_published_before_anybody_noticed_that_it_waited_is_no_line(log: Written) -> None:
    assert log.tell(waiting(0, published=1)) == []


def test_a_full_stream_is_told_once_a_minute_with_how_much_it_has_cost(log: Written) -> None:
    one = MessagesDropped(agent=AGENT, count=1, reason="length")
    assert log.tell(*[one] * 500) == [
        "<4>messages to an agent will not be published any more agent=a count=1 reason=length"
    ]
    log.now = 60.0
    log.observer.flush()
    assert log.tell() == ["<4>messages to an agent will not be published any more agent=a count=499 reason=length"]
    log.now = 119.0
    assert log.tell(one, one) == []
    log.now = 120.0
    assert log.tell(caught_up()) == [
        "<4>messages to an agent will not be published any more agent=a count=2 reason=length"
    ]
    log.now = 1000.0
    assert log.tell(caught_up()) == []


def test_other_agents_and_reasons_are_told_beside_it(log: Written) -> None:
    told = log.tell(
        MessagesDropped(agent=AGENT, count=1, reason="length"),
        MessagesDropped(agent=AGENT, count=7, reason="age"),
    )
    assert [line.split("agent=")[1] for line in told] == ["a count=1 reason=length", "a count=7 reason=age"]


def test_many_sessions_that_missed_something_are_summed_up(log: Written) -> None:
    assert len(log.tell(*[caught_up(recovered=1)] * 412)) == 2
    log.now = 2.0
    assert log.tell(caught_up()) == ["<6>more sessions had missed messages count=410 gateway=main"]


def test_a_phone_number_for_a_name_is_masked(log: Written) -> None:
    phone = AgentId("5511988887777")
    (line,) = log.tell(AgentWaiting(agent=phone, waiting=1, published=0))
    assert "agent=5511*****777 " in line
