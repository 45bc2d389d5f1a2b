"""Every fault once against the real daemon, with every message counted; and that the counting itself is right.

The run takes a minute and a half, so it is for continuous integration: set WA_TEST_REQUIRE_ALL=1, or
WA_TEST_DELIVERY=1 for this alone. It is the command that anybody can run, in a process of its own. Counts are asserted,
never times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from tests.benchmarks.delivery import counting
from tests.benchmarks.delivery.__main__ import SHORT
from tests.benchmarks.delivery.agents import Line, read_line
from tests.benchmarks.delivery.counting import Fate, Letter, Loss, Outage, Seen, Sightings, Written, fates, tally
from tests.benchmarks.delivery.misfortune import PLAYS
from tests.benchmarks.delivery.people import CHATS, Number
from tests.benchmarks.delivery.play import SPACING
from tests.benchmarks.delivery.schedule import RECIPES, REST, Cast, Kind, alone, mixed
from tests.benchmarks.delivery.settings import LATE, configuration
from tests.benchmarks.delivery.wires import Way, wired
from tests.servers import is_everything_required, why_no_servers
from wa_supervisor.config import load_settings
from wa_supervisor.domain.names import GatewayName

ROOT = Path(__file__).parents[2]
CAST = Cast(gateways=("g1", "g2"), agents=("channel-1", "stream-1"), sessions=("s000", "s001"))

is_wanted = is_everything_required() or os.environ.get("WA_TEST_DELIVERY") == "1"
takes_minutes = pytest.mark.skipif(not is_wanted, reason="takes minutes; set WA_TEST_DELIVERY=1 to run it")
needs_servers = pytest.mark.skipif(bool(why_no_servers()) and not is_everything_required(), reason=why_no_servers())


@pytest.mark.acceptance
@takes_minutes
@needs_servers
def test_after_every_fault_nothing_is_lost_and_nothing_came_twice() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.delivery", "--json", "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    found = json.loads(done.stdout)
    wrong = ("lost", "replies_lost", "duplicates_to_agent", "duplicates_to_person", "to_wrong_chat")
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0), (found["examples"], done.stderr)
    assert found["missed"] == [], done.stderr
    assert set(found["faults"]) == {kind.value for kind in Kind}
    assert done.returncode == 0


# Plans


def test_a_plan_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert alone(1, CAST, Kind.REDIS_KILL, 5) == alone(1, CAST, Kind.REDIS_KILL, 5)
    assert alone(1, CAST, Kind.REDIS_KILL, 5) != alone(2, CAST, Kind.REDIS_KILL, 5)
    assert mixed(1, CAST, tuple(Kind), seconds=60, spacing=3) != mixed(2, CAST, tuple(Kind), seconds=60, spacing=3)


def test_alone_a_kind_comes_so_many_times_to_everybody_and_in_every_way() -> None:
    faults = alone(1, CAST, Kind.CUT_DAEMON_GATEWAY, 8)
    assert len(faults) == 8
    assert {fault.target for fault in faults} == set(CAST.gateways)
    assert {fault.detail for fault in faults} == set(RECIPES[Kind.CUT_DAEMON_GATEWAY].details)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_is_among_mixed_faults_and_nobody_has_two_at_once(seed: int) -> None:
    faults = mixed(seed, CAST, tuple(Kind), seconds=SHORT["minutes"] * 60, spacing=SPACING)
    assert {fault.kind for fault in faults} == set(Kind)
    free_at: dict[str, float] = {}
    for fault in faults:
        assert fault.after >= free_at.get(fault.target, 0.0)
        free_at[fault.target] = fault.after + fault.lasts + REST


def test_every_kind_has_a_recipe_and_somebody_who_plays_it() -> None:
    assert set(RECIPES) == set(PLAYS) == set(Kind)


def test_the_configuration_is_one_that_the_daemon_takes_and_late_is_later_than_it_waits(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    given = configuration("first", redis="redis://h/0", postgres="postgresql://h/db", gateways={"g1": "http://h:1"})
    file.write_text(given, encoding="utf-8")
    settings = load_settings(file, {}).settings
    assert settings.daemon.id == "first"
    assert settings.gateways[GatewayName("g1")].send_timeout < LATE
    assert settings.daemon.lease_ttl < RECIPES[Kind.DAEMON_SIGSTOP].shortest
    assert settings.outbound.claim_after < RECIPES[Kind.DAEMON_SIGSTOP].shortest


def test_every_chat_of_every_session_is_a_chat_of_its_own() -> None:
    numbers = [Number(session=f"s{index}", agent="a", gateway="g1", index=index) for index in range(3)]
    bodies = [number.body(chat, "n000001") for number in numbers for chat in range(CHATS)]
    chats = {str(body.get("group")) + str(body["person"]) for body in bodies}
    assert len(chats) == len(bodies)
    assert {str(chat).partition("@")[2][:4] for chat in chats if "lid" in chat}


# Counting


def written(*numbers: str, session: str = "s1", chat: str = "c1", at: float = 100.0) -> list[Written]:
    """Give messages to one chat, in this order."""
    return [Written(number=each, session=session, chat=chat, at=at) for each in numbers]


def seen(*numbers: str, at: float = 100.0, is_marked: bool = False, chat: str = "c1") -> list[Seen]:
    """Give sightings, in this order."""
    return [Seen(number=each, at=at, is_marked=is_marked, chat=chat) for each in numbers]


def fate(sightings: Sightings, *, by_stream: bool = True) -> Fate:
    """Give the fate of the only message."""
    streaming = frozenset({"s1"}) if by_stream else frozenset[str]()
    (found,) = fates(sightings, streaming, {"s1": "agents"})
    return found


def whole() -> Sightings:
    """Give one message that went all the way."""
    return Sightings(
        written=written("n1"), handed=seen("n1"), heard=seen("n1"), answered=seen("n1"), received=seen("n1")
    )


@pytest.mark.parametrize("by_stream", [True, False])
def test_a_message_that_went_all_the_way_is_all_right(by_stream: bool) -> None:
    found = fate(whole(), by_stream=by_stream)
    sums = tally([found])
    assert found.is_settled
    assert (sums.sent, sums.handed_over, sums.replies) == (1, 1, 1)
    assert counting.missed(sums) == []


@pytest.mark.parametrize("by_stream", [True, False])
def test_what_is_not_in_the_stream_is_lost_whoever_died(by_stream: bool) -> None:
    outages = [Outage(who="agents", began=99, ended=101), Outage(who="redis", began=99, ended=101)]
    found = fate(Sightings(written=written("n1"), outages=outages), by_stream=by_stream)
    assert found.lost is Loss.NOT_HANDED_OVER
    assert not found.is_settled
    assert counting.missed(tally([found])) == ["1 messages never reached their agent: {'not_handed_over': 1}"]


@pytest.mark.parametrize(
    ("outage", "handed_at", "lost"),
    [
        (("agents", 100.5, 103.0), 100.0, Loss.AGENT_DIED),
        (("agents", 99.5, 103.0), 100.0, Loss.AGENT_DIED),
        (("agents", 110.0, 113.0), 100.0, Loss.NOT_HEARD),
        (("agents", 97.0, 103.0), 100.0, Loss.NOT_HEARD),  # nobody listened: it should have waited
        (("somebody else", 100.5, 103.0), 100.0, Loss.NOT_HEARD),
        (("wire agent-redis", 97.0, 103.0), 100.0, Loss.AGENT_CUT),  # it seemed to listen
        (("wire agent-redis", 97.0, 98.0), 100.0, Loss.NOT_HEARD),
        (("redis", 100.2, 103.0), 100.0, Loss.REDIS_DIED),
        (("daemon", 99.9, 103.0), 100.0, Loss.NOT_HEARD),
    ],
)
def test_what_was_published_is_the_channels_loss_only_when_something_broke_just_then(
    outage: tuple[str, float, float], handed_at: float, lost: Loss
) -> None:
    who, began, ended = outage
    about = Sightings(
        written=written("n1"),
        handed=seen("n1", at=handed_at),
        outages=[Outage(who=who, began=began, ended=ended)],
    )
    assert fate(about, by_stream=False).lost is lost
    assert fate(about, by_stream=True).lost is Loss.NOT_HEARD
    assert tally([fate(about, by_stream=False)]).lost == (lost is Loss.NOT_HEARD)


def test_what_waited_for_an_agent_is_the_channels_loss_when_that_agent_dies_as_it_is_published() -> None:
    outages = [Outage(who="agents", began=98.0, ended=102.0), Outage(who="agents", began=104.0, ended=106.0)]
    about = Sightings(written=written("n1"), handed=seen("n1", at=100.0), outages=outages)
    assert fate(about, by_stream=False).lost is Loss.AGENT_DIED
    about.outages = outages[:1]
    assert fate(about, by_stream=False).lost is Loss.NOT_HEARD


def test_hearing_again_is_a_duplicate_unless_it_was_redelivered() -> None:
    again = whole()
    again.heard += seen("n1")
    assert tally([fate(again)]).duplicates_to_agent == 1
    redelivered = whole()
    redelivered.heard += seen("n1", is_marked=True)
    sums = tally([fate(redelivered)])
    assert (sums.duplicates_to_agent, sums.redelivered_to_agent) == (0, 1)
    alone = replace_heard(seen("n1", is_marked=True))
    assert (fate(alone).is_heard, tally([fate(alone)]).duplicates_to_agent) == (True, 0)


def replace_heard(heard: list[Seen]) -> Sightings:
    """Give one message that went all the way, heard like this."""
    return replace(whole(), heard=heard)


def test_receiving_again_is_a_duplicate_unless_the_agent_answered_again() -> None:
    again = whole()
    again.received += seen("n1")
    assert tally([fate(again)]).duplicates_to_person == 1
    again.answered += seen("n1")
    sums = tally([fate(again)])
    assert (sums.duplicates_to_person, sums.answered_twice_by_agent) == (0, 1)


def test_an_answer_in_another_chat_is_lost_here_and_wrong_there() -> None:
    found = fate(replace(whole(), received=seen("n1", chat="c2")))
    sums = tally([found])
    assert (sums.to_wrong_chat, sums.replies_lost) == (1, 1)


@pytest.mark.parametrize(
    ("by_stream", "changes", "loss", "is_settled"),
    [
        (True, {}, Loss.NOT_SENT, False),
        (True, {"answered": []}, Loss.NOT_ANSWERED, False),
        (True, {"letters": [Letter(number="n1", reason="HeldTooLong", is_unknown=False)]}, Loss.NONE, True),
        (True, {"outages": [Outage(who="daemon", began=99, ended=101)]}, Loss.NOT_SENT, False),
        (False, {}, Loss.NOT_SENT, False),
        (False, {"outages": [Outage(who="daemon", began=99, ended=101)]}, Loss.NOBODY_LISTENED, True),
        (False, {"outages": [Outage(who="agents", began=99, ended=101)]}, Loss.AGENT_DIED, True),
        (False, {"outages": [Outage(who="daemon", began=110, ended=111)]}, Loss.DAEMON_DIED, True),
        (False, {"outages": [Outage(who="daemon stopped", began=110, ended=111)]}, Loss.NOT_SENT, False),
        (False, {"outages": [Outage(who="daemon", began=90, ended=91)]}, Loss.NOT_SENT, False),
        (True, {"outages": [Outage(who="daemon", began=110, ended=111)]}, Loss.NOT_SENT, False),
        (False, {"answered": []}, Loss.NOT_ANSWERED, False),
        (False, {"answered": [], "outages": [Outage(who="agents", began=99, ended=101)]}, Loss.AGENT_DIED, True),
        (False, {"answered": [], "outages": [Outage(who="daemon", began=99, ended=101)]}, Loss.NOT_ANSWERED, False),
    ],
)
def test_an_answer_that_never_came_is_lost_by_somebody(
    by_stream: bool, changes: Mapping[str, Any], loss: Loss, is_settled: bool
) -> None:
    found = fate(replace(whole(), received=[], **changes), by_stream=by_stream)
    assert (found.reply_lost, found.is_settled) == (loss, is_settled)
    assert tally([found]).replies_lost == (by_stream and loss is not Loss.NONE)
    assert tally([found]).replies_lost_pubsub == (not by_stream)


def test_dead_letters_are_counted_by_reason_and_told_apart_from_what_arrived() -> None:
    letters = [
        Letter(number="n1", reason="Unsettled", is_unknown=True),
        Letter(number=None, reason="NotJson", is_unknown=False),
    ]
    sums = tally([fate(replace(whole(), letters=letters))])
    assert sums.dead_letters == {"Unsettled": 1}
    assert (sums.unknown_dead_letters, sums.dead_letters_received) == (1, 1)


def test_order_is_that_of_a_chat_and_of_first_hearing() -> None:
    told = [*written("n1", "n2", "n3"), *written("n4", chat="c2"), *written("n5", chat="c1", session="s2")]
    assert counting.out_of_order(told, seen("n1", "n2", "n3", "n4", "n5")) == frozenset()
    assert counting.out_of_order(told, seen("n5", "n4", "n1", "n2", "n1", "n3")) == frozenset()
    assert counting.out_of_order(told, seen("n3", "n1", "n2")) == {"n1", "n2"}
    assert counting.out_of_order(told, seen("n2", "n1", "n3", "n9")) == {"n1"}


def test_what_was_recovered_and_what_was_handed_over_twice_is_counted() -> None:
    sums = tally([fate(replace(whole(), handed=seen("n1", is_marked=True) + seen("n1")))])
    assert (sums.recovered_by_catch_up, sums.handed_over_twice) == (1, 1)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("n000012 to s004", "n000012"),
        ("echo: n000012 to s004", "n000012"),
        ("n0000123", "n0000123"),
        ("hello", None),
        ("", None),
    ],
)
def test_a_text_and_its_answer_have_the_same_number(text: str, number: str | None) -> None:
    assert counting.number_of(text) == number


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"agent": "a", "at": 1.5}', b'{"heard": "n0000'])
def test_a_line_that_is_cut_off_or_tells_of_neither_is_none(line: bytes) -> None:
    assert read_line(line) is None


def test_lines_of_agents_tell_of_messages_and_of_answers() -> None:
    said = b'"agent":"a","session":"s","message_id":"m","redelivered":true,"at":1.5}'
    heard = read_line(b'{"heard":"n000001","text":"n000001",' + said)
    assert heard == Line(agent="a", text="n000001", is_answer=False, is_redelivered=True, at=1.5)
    answered = read_line(b'{"answered":"echo: n000001","response":"echo: n000001",' + said)
    assert answered == Line(agent="a", text="echo: n000001", is_answer=True, is_redelivered=True, at=1.5)


# Wires


async def echo(stream: ByteStream) -> None:
    """Say back what is said."""
    async with stream:
        async for chunk in stream:
            await stream.send(chunk)


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["cut", "refuse", "stall", "answers"])
async def test_a_wire_breaks_and_is_whole_again_on_the_same_port(way: Way) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  # anyio's `extra`, not Django's
        async with wired({"a": f"http://127.0.0.1:{port}"}) as wires:
            wire = wires["a"]
            async with await anyio.connect_tcp("127.0.0.1", wire.port) as stream:
                await stream.send(b"1")
                assert await stream.receive() == b"1"
                await wire.break_down(way)
                await wire.heal()
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await stream.receive()
            async with await anyio.connect_tcp("127.0.0.1", wire.port) as stream:
                await stream.send(b"2")
                assert await stream.receive() == b"2"
        tasks.cancel_scope.cancel()
