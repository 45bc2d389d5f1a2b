"""What hypothesis feeds to the readers: any JSON, nasty values, and samples with something broken in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For machines that are busy with something else: nothing here is about speed."""

READ = (
    *("response", "session", "id", "chatId", "from", "to", "author", "sender", "fromMe", "type", "body", "content"),
    *("caption", "filename", "isCaptionByUser", "t", "timestamp", "notifyName", "pushname", "phoneNumber"),
    *("quotedStanzaID", "_serialized", "user", "server", "remote", "participant", "data", "ack"),
)
"""Fields that the readers look at: breaking another one is no test."""

NASTY: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    10**40,
    0.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\x00",
    "\ud83d",
    "a\nb",
    "1716900525",
    "true",
    "\u0665",
    "ciphertext",
    "false_5511900000077@c.us_3EB0A1",
    "true_5511900000077@c.us_3EB0A1",
    "false_5511900000077@c.us_3EB0_A1_5511900000099:3@c.us_out",
    "status@broadcast",
    "1203630@newsletter",
    "276971053570686@lid",
    "x" * 100_000,
    [],
    {},
    [None],
    {"_serialized": {"_serialized": "5511900000077@c.us"}},
    {"_serialized": 5, "user": "5511900000077", "server": "c.us"},
    {"user": None, "server": "c.us"},
    {"fromMe": "false", "remote": {}, "id": ["3EB0"]},
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(NASTY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def nested(wrap: Callable[[object], object], depth: int = 5_000) -> object:
    """Give a value nested deeper than Python recurses; never print or compare it."""
    value: object = "5511900000077@c.us"
    for _ in range(depth):
        value = wrap(value)
    return value


@st.composite
def mutated(draw: st.DrawFn, originals: list[Any]) -> Any:  # noqa: ANN401  # any JSON in, any JSON out
    """Take one of `originals` and break it in up to six places."""
    value = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 6))):
        value = _broken(draw, value)
    return value


def _broken(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401  # any JSON in, any JSON out
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from([name for name in READ if name in value] or sorted(value)))
        rest = {name: part for name, part in value.items() if name != key}
        return rest if draw(st.integers(0, 5)) == 0 else {**rest, key: _broken(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], _broken(draw, value[index]), *value[index + 1 :]]
    wrapped: list[Any] = [[value], {"_serialized": value}, {"response": value}, str(value)]
    return draw(st.sampled_from(NASTY) | st.sampled_from(wrapped) | json_values)
