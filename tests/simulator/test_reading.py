"""Looking things up: chats, missed messages, media, numbers and lids."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.harness import GROUP, Caller, anna, caller, sample
from wa_supervisor.simulator import Manners, Media, SimulatedGateway, simulated_gateway

pytestmark = pytest.mark.anyio

ANNA = "5511900000077@c.us"
LID = "123450000067890@lid"


@pytest.fixture(autouse=True)
async def acme(api: Caller) -> Caller:
    """Connect session "acme"."""
    await api.connect()
    return api


async def _bodies(api: Caller, chat: str, **query: str | int) -> list[str]:
    answer = await api.get(f"get-messages/{chat}", **query)
    assert answer.status_code == 200
    return [message["body"] for message in answer.json()["response"]]


async def test_list_chats_is_a_bare_list_with_the_latest_first(api: Caller, gateway: SimulatedGateway) -> None:
    entry = anna(gateway).writes("acme", "first")
    anna(gateway).writes("acme", "group", group=GROUP)
    rows = (await api.post("list-chats")).json()
    assert [row["id"]["_serialized"] for row in rows] == [GROUP, ANNA]
    recorded = sample("http-list-chats-02")[0]
    for key in ("id", "lastReceivedKey", "t", "unreadCount", "kind", "isGroup", "isUser", "contact", "presence"):
        assert type(rows[1][key]) is type(recorded[key])
    assert rows[1]["lastReceivedKey"].keys() == recorded["lastReceivedKey"].keys()
    assert rows[1]["lastReceivedKey"]["_serialized"] == f"false_{ANNA}_{entry.stanza}"


@pytest.mark.parametrize(
    ("body", "chats"),
    [
        ({"onlyUsers": True}, [LID, ANNA]),
        ({"onlyGroups": True}, [GROUP]),
        ({"onlyWithUnreadMessage": True}, [LID, GROUP]),
        ({"count": 1}, [LID]),
        ({}, [LID, GROUP, ANNA]),
    ],
)
async def test_list_chats_can_be_narrowed_and_never_lists_stories(
    api: Caller, gateway: SimulatedGateway, body: dict[str, object], chats: list[str]
) -> None:
    await api.send(ANNA, "own")
    anna(gateway).writes("acme", "group", group=GROUP)
    gateway.person(LID).writes("acme", "lid")
    anna(gateway).posts_story("acme")
    rows = (await api.post("list-chats", body)).json()
    assert [row["id"]["_serialized"] for row in rows] == chats


async def test_get_messages_gives_what_came_after_the_last_handled_one(api: Caller, gateway: SimulatedGateway) -> None:
    entries = [anna(gateway).writes("acme", f"text {number}") for number in range(6)]
    last_handled = f"false_{ANNA}_{entries[2].stanza}"
    assert await _bodies(api, ANNA, direction="after", id=last_handled, count=50) == ["text 3", "text 4", "text 5"]
    assert await _bodies(api, ANNA, direction="after", id=last_handled, count=2) == ["text 3", "text 4"]
    assert await _bodies(api, ANNA, direction="before", id=last_handled, count=1) == ["text 1"]
    assert await _bodies(api, ANNA, count=2) == ["text 4", "text 5"]
    assert await _bodies(api, ANNA, count=-1) == [f"text {number}" for number in range(6)]


async def test_get_messages_gives_twenty_unless_told(api: Caller, gateway: SimulatedGateway) -> None:
    await anna(gateway).flood("acme", 30, "text")
    assert len(await _bodies(api, ANNA)) == 20


async def test_get_messages_has_own_ones_too_and_no_session(api: Caller, gateway: SimulatedGateway) -> None:
    anna(gateway).writes("acme", "question")
    await api.send(ANNA, "answer")
    found = (await api.get(f"get-messages/{ANNA}")).json()["response"]
    assert [(message["body"], message["fromMe"]) for message in found] == [("question", False), ("answer", True)]
    assert all("session" not in message for message in found)


async def test_ids_in_answers_are_objects_where_events_have_strings(api: Caller, gateway: SimulatedGateway) -> None:
    anna(gateway).writes("acme", "hi")
    [message] = (await api.get(f"get-messages/{ANNA}")).json()["response"]
    recorded = sample("http-all-new-messages-01")["response"][0]
    assert message["chatId"].keys() == recorded["chatId"].keys()
    assert message["sender"]["id"].keys() == recorded["sender"]["id"].keys()
    assert isinstance(message["id"], str)


async def test_ids_in_answers_may_be_strings_as_well() -> None:
    manners = Manners(wids_as_objects=False)
    async with simulated_gateway(manners=manners) as gateway, caller(gateway, "acme") as api:
        await api.connect()
        anna(gateway).writes("acme", "hi")
        [message] = (await api.get(f"get-messages/{ANNA}")).json()["response"]
        assert message["chatId"] == ANNA


@pytest.mark.parametrize("chat", ["5511900000099@c.us", "nonsense"])
async def test_get_messages_of_no_chat_is_401_and_not_about_tokens(api: Caller, chat: str) -> None:
    answer = await api.get(f"get-messages/{chat}")
    assert answer.status_code == 401
    assert answer.json() == sample("http-error-06")


async def test_get_messages_after_an_unknown_one_is_401(api: Caller, gateway: SimulatedGateway) -> None:
    anna(gateway).writes("acme", "hi")
    answer = await api.get(f"get-messages/{ANNA}", direction="after", id=f"false_{ANNA}_NOSUCH")
    assert answer.status_code == 401


async def test_answers_may_name_a_person_otherwise_than_events(api: Caller, gateway: SimulatedGateway) -> None:
    person = gateway.person(LID, name="Contact A", phone=ANNA, listed_as=ANNA)
    entry = person.writes("acme", "one person, two names")
    rows = (await api.post("list-chats")).json()
    assert [row["id"]["_serialized"] for row in rows] == [ANNA]
    for chat in (ANNA, LID):
        [message] = (await api.get(f"get-messages/{chat}")).json()["response"]
        assert message["id"] == f"false_{ANNA}_{entry.stanza}"
        assert message["chatId"]["_serialized"] == message["from"] == ANNA
        assert message["sender"]["id"]["_serialized"] == ANNA
    assert await _bodies(api, ANNA, direction="after", id=f"false_{ANNA}_{entry.stanza}") == []


async def test_get_messages_knows_a_message_only_as_its_answers_spell_it(
    api: Caller, gateway: SimulatedGateway
) -> None:
    entry = gateway.person(LID, phone=ANNA, listed_as=ANNA).writes("acme", "one person, two names")
    anna(gateway).writes("acme", "in a group", group=GROUP)
    [group] = (await api.get(f"get-messages/{GROUP}")).json()["response"]
    for chat, wrong in (
        (ANNA, f"false_{LID}_{entry.stanza}"),
        (LID, f"false_{LID}_{entry.stanza}"),
        (ANNA, f"true_{ANNA}_{entry.stanza}"),
        (GROUP, group["id"].removesuffix(f"_{ANNA}")),
    ):
        answer = await api.get(f"get-messages/{chat}", direction="after", id=wrong)
        assert answer.status_code == 401, wrong
    assert await _bodies(api, LID, direction="after", id=f"false_{ANNA}_{entry.stanza}") == []
    assert await _bodies(api, GROUP, direction="after", id=group["id"]) == []


async def test_get_messages_may_take_any_spelling() -> None:
    async with simulated_gateway(manners=Manners(strict_anchors=False)) as gateway, caller(gateway, "acme") as api:
        await api.connect()
        entry = gateway.person(LID, phone=ANNA, listed_as=ANNA).writes("acme", "one person, two names")
        assert await _bodies(api, ANNA, direction="after", id=f"false_{LID}_{entry.stanza}") == []


async def test_get_messages_after_an_unknown_one_may_be_an_empty_list() -> None:
    manners = Manners(unknown_anchor_is_empty=True)
    async with simulated_gateway(manners=manners) as gateway, caller(gateway, "acme") as api:
        await api.connect()
        anna(gateway).writes("acme", "hi")
        assert await _bodies(api, ANNA, direction="after", id=f"false_{ANNA}_NOSUCH") == []
        assert (await api.get("get-messages/5511900000099@c.us")).status_code == 401


@pytest.mark.parametrize(
    ("body", "chats"),
    [
        ({"id": 3}, [3, 2, 1, 0]),
        ({"id": 3, "count": 2}, [3, 2]),
        ({"id": 3, "count": 2, "direction": "after"}, [3, 2]),
        ({"id": 0, "count": 2}, [0]),
        ({"id": 2, "count": 2, "direction": "before"}, [4, 3]),
        ({"id": 3, "count": 2, "direction": "before"}, [4]),
        ({"id": 1, "direction": "before"}, [4, 3, 2]),
        ({"count": 2, "direction": "before"}, []),
        ({"id": 9, "count": 2}, [4, 3]),
    ],
)
async def test_list_chats_begins_with_the_chat_that_is_named(
    api: Caller, gateway: SimulatedGateway, body: dict[str, object], chats: list[int]
) -> None:
    def named(number: object) -> str:
        return f"551190000000{number}@c.us"

    for number in range(5):
        # Each is listed otherwise than events name it: that is the name that counts.
        lid = f"12345000000000{number}@lid"
        gateway.person(lid, listed_as=named(number)).writes("acme", "hi")
    if "id" in body:
        body = body | {"id": named(body["id"])}
    rows = (await api.post("list-chats", body)).json()
    assert [row["id"]["_serialized"] for row in rows] == [named(number) for number in chats]


async def test_list_chats_has_pinned_chats_before_all_others(api: Caller, gateway: SimulatedGateway) -> None:
    numbers = [f"551190000000{number}@c.us" for number in range(4)]
    for number in numbers:
        gateway.person(number).writes("acme", "hi")

    async def listed(**body: object) -> list[str]:
        return [row["id"]["_serialized"] for row in (await api.post("list-chats", body)).json()]

    for chat in numbers[:2]:
        assert (await api.http.post("/_control/pin", json={"session": "acme", "chat": chat})).status_code == 200
    assert await listed() == [numbers[1], numbers[0], numbers[3], numbers[2]]
    assert await listed(count=2, id=numbers[0]) == [numbers[0], numbers[3]]
    await api.http.post("/_control/pin", json={"session": "acme", "chat": numbers[1], "on": False})
    assert await listed() == [numbers[0], numbers[3], numbers[2], numbers[1]]


async def test_asking_for_unread_messages_clears_the_marks(api: Caller, gateway: SimulatedGateway) -> None:
    anna(gateway).writes("acme", "one")
    anna(gateway).writes("acme", "two")
    [row] = (await api.get("unread-messages")).json()["response"]
    recorded = sample("http-unread-messages-01")["response"][0]
    assert row["id"].keys() == recorded["id"].keys()
    assert row["unreadCount"] == 2
    assert [message["body"] for message in row["messages"]] == ["one", "two"]
    assert (await api.get("unread-messages")).json()["response"] == []


async def test_all_new_messages_is_empty_after_a_restart_of_the_page(api: Caller, gateway: SimulatedGateway) -> None:
    anna(gateway).writes("acme", "new")
    found = (await api.get("all-new-messages")).json()["response"]
    assert [message["body"] for message in found] == ["new"]
    await api.post("close-session")
    await api.connect()
    assert (await api.get("all-new-messages")).json()["response"] == []
    assert await _bodies(api, ANNA) == ["new"]


async def test_media_can_be_downloaded_by_message_id(api: Caller, gateway: SimulatedGateway) -> None:
    entry = anna(gateway).sends("acme", kind="image", media=Media(base64="AAAA", mimetype="image/jpeg", size=3))
    answer = await api.post("download-media", messageId=f"false_{ANNA}_{entry.stanza}")
    assert answer.status_code == 200
    assert {key: answer.json()[key] for key in ("base64", "mimetype")} == {"base64": "AAAA", "mimetype": "image/jpeg"}


async def test_media_that_is_not_there_is_answered_400_in_three_ways(api: Caller, gateway: SimulatedGateway) -> None:
    async def message_of(stanza: str) -> tuple[int, Any]:
        answer = await api.post("download-media", messageId=f"false_{ANNA}_{stanza}")
        return answer.status_code, answer.json()["message"]

    text = anna(gateway).writes("acme", "no picture")
    media = Media(base64="", mimetype="image/jpeg", size=9, decryptable=False)
    broken = anna(gateway).sends("acme", kind="image", media=media)
    assert await message_of("NOSUCH") == (400, sample("http-error-07")["message"])
    assert await message_of(text.stanza) == (400, "Message does not contain media")
    assert await message_of(broken.stanza) == (400, "Decrypt file error")


async def test_check_number_status_tells_who_exists(api: Caller, gateway: SimulatedGateway) -> None:
    fine = (await api.get("check-number-status/556569284717")).json()
    assert fine == sample("http-check-number-status-01")
    gateway.number_is("556569284717", "denied")
    denied = (await api.get("check-number-status/556569284717")).json()["response"]
    assert (denied["numberExists"], denied["canReceiveMessage"]) == (False, False)


async def test_pn_lid_joins_the_two_ids_where_whatsapp_knows_both(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.person(LID, name="Contact A", phone="5511900000077@c.us")
    gateway.person("987650000012345@lid", name="Stranger")
    recorded = sample("http-pn-lid-01")
    by_lid = (await api.get(f"contact/pn-lid/{LID}")).json()
    assert (by_lid["lid"], by_lid["phoneNumber"]) == (recorded["lid"], recorded["phoneNumber"])
    assert by_lid["contact"]["pushname"] == "Contact A"
    by_phone = (await api.get(f"contact/pn-lid/{ANNA}")).json()
    assert by_phone["lid"] == recorded["lid"]
    assert "phoneNumber" not in (await api.get("contact/pn-lid/987650000012345@lid")).json()


async def test_host_device_has_the_own_number(api: Caller, gateway: SimulatedGateway) -> None:
    answer = (await api.get("host-device")).json()
    assert answer["response"]["phoneNumber"] == gateway.session("acme").own_id


@pytest.mark.parametrize("route", [f"get-messages/{ANNA}", "unread-messages", "check-number-status/5511900000077"])
async def test_reading_without_a_page_is_404(api: Caller, route: str) -> None:
    await api.post("close-session")
    answer = await api.get(route)
    assert answer.status_code == 404
    assert answer.json()["status"] == "Disconnected"


async def test_old_messages_and_silent_chats_fall_out_at_the_bound() -> None:
    manners = Manners(history_limit=3, chats_limit=2)
    async with simulated_gateway(manners=manners) as gateway, caller(gateway, "acme") as api:
        await api.connect()
        await anna(gateway).flood("acme", 5, "text")
        assert await _bodies(api, ANNA) == ["text 3", "text 4", "text 5"]
        for number in range(2):
            gateway.person(f"551190000010{number}@c.us").writes("acme", "hi")
        rows = (await api.post("list-chats")).json()
        assert [row["id"]["user"] for row in rows] == ["5511900000101", "5511900000100"]


async def test_new_messages_are_bounded_too() -> None:
    async with simulated_gateway(manners=Manners(history_limit=4)) as gateway, caller(gateway, "acme") as api:
        await api.connect()
        await anna(gateway).flood("acme", 11, "text")
        found = (await api.get("all-new-messages")).json()["response"]
        assert [message["body"] for message in found][-1] == "text 11"
        assert len(found) <= 4


async def test_a_group_member_known_by_two_names_keeps_the_group_chat(api: Caller, gateway: SimulatedGateway) -> None:
    gateway.person(LID, listed_as=ANNA).writes("acme", "hi", group=GROUP)
    await api.send(LID, "own", isLid=True)
    [message] = (await api.get(f"get-messages/{GROUP}")).json()["response"]
    assert message["chatId"]["_serialized"] == GROUP
    [own] = (await api.get(f"get-messages/{ANNA}")).json()["response"]
    assert (own["to"], own["sender"]["id"]["_serialized"]) == (ANNA, gateway.session("acme").own_id)
