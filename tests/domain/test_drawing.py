"""The documentation draws the tables that the program uses."""

from __future__ import annotations

import re

from tests.domain.drawing import DOCUMENT, decision_table, drawn, state_diagram
from wa_supervisor.domain.decisions import Happening
from wa_supervisor.domain.lifecycle import Cause, State


def test_the_diagram_and_the_table_in_the_documentation_are_those_of_the_program() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document == drawn(document), "write them anew: python -m tests.domain.drawing"


def test_the_diagram_shows_every_state_and_every_cause_that_leads_on() -> None:
    words = set(re.findall(r"[a-z_]+", state_diagram()))
    assert words >= {*State, *Cause}


def test_the_table_has_a_row_for_everything_that_can_happen() -> None:
    assert len(decision_table().splitlines()) == len(Happening) + 2
