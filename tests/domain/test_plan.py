"""The plan: following it makes what is there what is wanted."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from tests.domain.strategies import patient
from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.plan import Plan, Wanted, make_plan
from wa_supervisor.domain.wish import Wish


def integration(name: str, revision: str = "1", *, paused: bool = False) -> Integration:
    """Give an integration whose session is called as itself."""
    return Integration(
        id=IntegrationId(name),
        agent_id=AgentId("a"),
        session=SessionName(name),
        gateway=GatewayName("main"),
        paused=paused,
        revision=revision,
    )


def invalid(name: str, revision: str = "1") -> InvalidIntegration:
    """Give a record that cannot be followed."""
    return InvalidIntegration(id=IntegrationId(name), reason="InvalidRecord", message="m", revision=revision)


def wish(*wanted: Wanted) -> Wish:
    """Give the wish with these records."""
    return Wish(
        integrations={one.id: one for one in wanted if isinstance(one, Integration)},
        invalid={one.id: one for one in wanted if isinstance(one, InvalidIntegration)},
    )


def present(*there: Wanted) -> dict[IntegrationId, Wanted]:
    """Give what is there."""
    return {one.id: one for one in there}


def followed(plan: Plan, there: Mapping[IntegrationId, Wanted]) -> dict[IntegrationId, Wanted]:
    """Follow a plan strictly: remove and change only what is there, add only what is not."""
    result = dict(there)
    for name in plan.remove:
        del result[name]
    for one in plan.change:
        assert one.id in result
        result[one.id] = one
    for one in plan.add:
        assert one.id not in result
        result[one.id] = one
    return result


def test_removed_integration_goes_and_the_others_stay() -> None:
    plan = make_plan(wish(integration("b")), present(integration("a"), integration("b")))
    assert plan == Plan(remove=(IntegrationId("a"),))


def test_changed_added_and_unreadable_records_are_told_apart() -> None:
    wanted = wish(integration("a", "2"), integration("b"), invalid("c"), invalid("d"))
    plan = make_plan(wanted, present(integration("a"), integration("b"), integration("c")))
    assert plan == Plan(change=(integration("a", "2"), invalid("c")), add=(invalid("d"),))


def test_record_that_is_well_again_is_a_change() -> None:
    assert make_plan(wish(integration("a")), present(invalid("a"))) == Plan(change=(integration("a"),))


def test_nothing_to_do_is_an_empty_plan() -> None:
    assert make_plan(wish(integration("a"), invalid("b")), present(integration("a"), invalid("b"))).is_empty
    assert make_plan(wish(), {}).is_empty
    assert not Plan(remove=(IntegrationId("a"),)).is_empty
    assert not Plan(change=(invalid("a"),)).is_empty
    assert not Plan(add=(invalid("a"),)).is_empty


WANTED = st.one_of(
    st.builds(integration, st.sampled_from("abcdef"), st.sampled_from("12"), paused=st.booleans()),
    st.builds(invalid, st.sampled_from("abcdef"), st.sampled_from("12")),
)
SETS = st.lists(WANTED, unique_by=lambda one: one.id)


@given(wanted=SETS, there=SETS)
@patient
def test_following_the_plan_gives_the_wish_and_leaves_nothing_to_do(wanted: list[Wanted], there: list[Wanted]) -> None:
    before, wished = present(*there), wish(*wanted)
    plan = make_plan(wished, before)
    after = followed(plan, before)
    assert after == present(*wanted)
    assert make_plan(wished, after).is_empty
    assert plan.is_empty == (before == after)


@given(wanted=SETS, there=SETS)
@patient
def test_plan_touches_nothing_that_is_as_wanted(wanted: list[Wanted], there: list[Wanted]) -> None:
    plan = make_plan(wish(*wanted), present(*there))
    touched = {*plan.remove, *(one.id for one in (*plan.change, *plan.add))}
    assert touched.isdisjoint(one.id for one in there if one in wanted)


@given(wanted=SETS, there=SETS)
@patient
def test_plan_depends_on_no_order(wanted: list[Wanted], there: list[Wanted]) -> None:
    plan = make_plan(wish(*wanted), present(*there))
    assert plan == make_plan(wish(*reversed(wanted)), present(*reversed(there)))


def test_what_is_held_back_stays_as_it_is() -> None:
    plan = make_plan(wish(invalid("a"), integration("b", "2"), integration("new")), present(*map(integration, "abcd")))
    assert plan.size == 5
    kept = plan.without({IntegrationId("a"), IntegrationId("c")})
    assert kept == Plan(remove=(IntegrationId("d"),), change=(integration("b", "2"),), add=(integration("new"),))
