"""People who write, and how their messages look on Socket.IO."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.simulator.harness import GROUP, PATIENCE, Caller, Listener, anna, sample
from wa_supervisor.simulator import Media, SimulatedGateway

pytestmark = pytest.mark.anyio

ANNA = "5511900000077@c.us"
LID = "123450000067890@lid"


@pytest.fixture(autouse=True)
async def acme(api: Caller) -> Caller:
    """Connect session "acme"."""
    await api.connect()
    return api


async def _next_message(events: Listener, count: int = 1) -> dict[str, Any]:
    payload = await events.next("received-message", count)
    message: dict[str, Any] = payload["response"]
    return message


async def test_a_direct_text_has_every_field_of_the_recorded_one(gateway: SimulatedGateway, events: Listener) -> None:
    entry = anna(gateway).writes("acme", "Oi, tudo bem?")
    message = await _next_message(events)
    recorded = sample("received-message-08")["response"]
    assert message.keys() == recorded.keys()
    assert message["sender"].keys() == recorded["sender"].keys()
    assert message["id"] == f"false_{ANNA}_{entry.stanza}"
    constant = ("type", "from", "ack", "chatId", "fromMe", "isGroupMsg", "mediaData", "body", "content", "session")
    assert {key: message[key] for key in constant} == {key: recorded[key] for key in constant}
    assert message["to"] == gateway.session("acme").own_id
    assert message["sender"]["pushname"] == "Anna Contact"
    assert message["t"] == message["timestamp"]
    assert {key: type(value) for key, value in message.items()} == {key: type(value) for key, value in recorded.items()}


async def test_a_lid_carries_the_phone_number_only_where_whatsapp_knows_it(
    gateway: SimulatedGateway, events: Listener
) -> None:
    gateway.person(LID, name="Contact A", phone=ANNA).writes("acme", "known")
    message = await _next_message(events)
    recorded = sample("received-message-10")["response"]
    assert message.keys() == recorded.keys()
    assert message["sender"].keys() == recorded["sender"].keys()
    assert (message["chatId"], message["sender"]["phoneNumber"]) == (LID, ANNA)
    gateway.person("987650000012345@lid").writes("acme", "unknown")
    assert "phoneNumber" not in (await _next_message(events, 2))["sender"]


async def test_a_group_text_has_an_author_and_a_participant(gateway: SimulatedGateway, events: Listener) -> None:
    entry = anna(gateway).writes("acme", "all of you", group=GROUP)
    message = await _next_message(events)
    assert message["id"] == f"false_{GROUP}_{entry.stanza}_{ANNA}"
    assert (message["author"], message["chatId"], message["isGroupMsg"]) == (ANNA, GROUP, True)
    assert message["sender"]["id"] == ANNA
    assert entry.chat == GROUP
    assert entry.person == ANNA


async def test_ids_may_come_as_objects(gateway: SimulatedGateway, events: Listener) -> None:
    gateway.person(LID, wids_as_objects=True).writes("acme", "objects")
    message = await _next_message(events)
    assert message["chatId"] == {"server": "lid", "user": "123450000067890", "_serialized": LID}
    assert message["sender"]["id"] == message["chatId"]


async def test_an_undecrypted_message_comes_twice_with_one_id(gateway: SimulatedGateway, events: Listener) -> None:
    entry = anna(gateway).writes_undecryptable("acme", "secret plans")
    await _next_message(events, 2)
    first, second = (payload["response"] for payload in events.of("received-message"))
    assert (first["type"], first["body"]) == ("ciphertext", "")
    assert (second["type"], second["body"]) == ("chat", "secret plans")
    assert first["id"] == second["id"]
    assert [(written.stanza, written.text) for written in gateway.ledger.written] == [(entry.stanza, "secret plans")]


async def test_a_message_that_never_decrypts_comes_once(gateway: SimulatedGateway, events: Listener) -> None:
    anna(gateway).writes_undecryptable("acme", "lost", decrypts=False)
    anna(gateway).writes("acme", "next")
    await _next_message(events, 2)
    assert [payload["response"]["type"] for payload in events.of("received-message")] == ["ciphertext", "chat"]


async def test_a_story_comes_from_status_broadcast(gateway: SimulatedGateway, events: Listener) -> None:
    entry = anna(gateway).posts_story("acme")
    message = await _next_message(events)
    recorded = sample("received-message-14")["response"]
    for key in ("from", "chatId", "author", "type", "isGroupMsg"):
        assert message[key] == recorded[key]
    assert message["id"] == f"false_status@broadcast_{entry.stanza}_{ANNA}"


async def test_a_channel_posts_as_newsletter(gateway: SimulatedGateway, events: Listener) -> None:
    gateway.person("120363000000000099@newsletter", name="News").writes("acme", "today")
    assert (await _next_message(events))["chatId"] == "120363000000000099@newsletter"


async def test_the_owner_writing_on_the_phone_comes_as_own_message(gateway: SimulatedGateway, events: Listener) -> None:
    gateway.owner_writes("acme", ANNA, "typed by hand")
    message = await _next_message(events)
    recorded = sample("received-message-05")["response"]
    for key in ("fromMe", "type", "isGroupMsg"):
        assert message[key] == recorded[key]
    own = gateway.session("acme").own_id
    assert (message["from"], message["to"], message["chatId"]) == (own, ANNA, ANNA)
    assert message["author"] == own.replace("@", ":66@")
    assert gateway.ledger.written[0].from_me


async def test_the_owner_writing_in_a_group_has_a_device_in_the_participant(
    gateway: SimulatedGateway, events: Listener
) -> None:
    entry = gateway.owner_writes("acme", GROUP, "typed by hand")
    message = await _next_message(events)
    device = gateway.session("acme").own_id.replace("@", ":66@")
    assert message["id"] == f"true_{GROUP}_{entry.stanza}_{device}"
    assert (message["from"], message["to"], message["sender"]["id"]) == (GROUP, GROUP, device)


async def test_unknown_kinds_and_fields_pass_as_they_are(gateway: SimulatedGateway, events: Listener) -> None:
    anna(gateway).sends("acme", kind="interactive", extra={"body": None, "t": "soon", "unheardOf": [1]})
    message = await _next_message(events)
    assert (message["type"], message["body"], message["t"], message["unheardOf"]) == ("interactive", None, "soon", [1])


async def test_media_carries_the_whole_file_in_its_body_and_a_duration_as_text(
    gateway: SimulatedGateway, events: Listener
) -> None:
    voice = Media(base64="aGVsbG8=", mimetype="audio/ogg; codecs=opus", size=5, seconds=187)
    anna(gateway).sends("acme", kind="ptt", media=voice)
    message = await _next_message(events)
    recorded = sample("received-message-22")["response"]
    assert message.keys() == recorded.keys()
    assert (message["body"], message["content"], message["duration"]) == ("aGVsbG8=", "", "187")


async def test_media_that_cannot_be_decrypted_has_no_body(gateway: SimulatedGateway, events: Listener) -> None:
    broken = Media(base64="aGVsbG8=", mimetype="image/jpeg", size=90_000, decryptable=False)
    anna(gateway).sends("acme", kind="image", media=broken)
    message = await _next_message(events)
    assert (message["body"], message["size"]) == ("", 90_000)


async def test_a_file_of_megabytes_comes_inline(gateway: SimulatedGateway, events: Listener) -> None:
    big = Media(base64="A" * 6_000_000, mimetype="video/mp4", size=4_500_000)
    anna(gateway).sends("acme", kind="video", media=big)
    assert len((await _next_message(events))["body"]) == 6_000_000


async def test_reactions_and_revocations_of_people_name_no_session(
    gateway: SimulatedGateway, events: Listener, api: Caller
) -> None:
    own = (await api.send(ANNA, "like it?")).json()["response"][0]["id"]
    person = anna(gateway)
    person.reacts("acme", own, "👍")
    person.reacts("acme", own, "")
    payload = await events.next("onreactionmessage", count=2)
    assert payload.keys() == sample("onreactionmessage-03").keys()
    assert payload["reactionText"] == ""
    entry = person.writes("acme", "oops")
    person.takes_back("acme", entry.stanza)
    revoked = await events.next("onrevokedmessage")
    assert revoked.keys() == sample("onrevokedmessage-01").keys()
    assert revoked["refId"] == f"false_{ANNA}_{entry.stanza}"


async def test_an_acknowledgement_has_every_field_of_the_recorded_one(api: Caller, events: Listener) -> None:
    await api.send(ANNA, "hi")
    ack = await events.next("onack", count=3)
    recorded = sample("onack-06")
    assert ack.keys() == recorded.keys()
    assert ack["id"].keys() == recorded["id"].keys()
    assert ack["ack"] == recorded["ack"]


async def test_a_flood_arrives_whole_and_in_order(gateway: SimulatedGateway, events: Listener) -> None:
    entries = await anna(gateway).flood("acme", 2000, "wave")
    await events.until(lambda listener: len(listener.heard) >= 2000)
    assert events.texts() == [f"wave {number}" for number in range(1, 2001)]
    assert len({entry.stanza for entry in entries}) == 2000


async def test_whoever_waits_on_the_ledger_is_woken(gateway: SimulatedGateway) -> None:
    async with anyio.create_task_group() as waiting:
        with anyio.fail_after(PATIENCE):
            waiting.start_soon(gateway.ledger.until, lambda ledger: ledger.written_total == 3)
            await anyio.lowlevel.checkpoint()
            for text in ("one", "two", "three"):
                anna(gateway).writes("acme", text)
