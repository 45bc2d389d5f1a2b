"""The state diagram and the decision table of docs/architecture.md, made from the tables that the program uses.

`python -m tests.domain.drawing` writes them anew; a test compares.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from wa_supervisor.domain.decisions import DECISIONS
from wa_supervisor.domain.lifecycle import TRANSITIONS, Cause, State

DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"
ALIVE = frozenset(source for source, cause in TRANSITIONS if cause is Cause.CHANGED)


def state_diagram() -> str:
    """Give the table of transitions as a Mermaid diagram; a step that leads nowhere else is left out."""
    labels: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for cause in Cause:
        targets = {source: target for (source, about), target in TRANSITIONS.items() if about is cause}
        everywhere = {targets.get(source) for source in ALIVE}
        if len(everywhere) == 1 and None not in everywhere:
            labels["alive", str(everywhere.pop())].append(cause)
            targets = {source: target for source, target in targets.items() if source not in ALIVE}
        for source, target in targets.items():
            if source is not target:
                labels[source, target].append(cause)
    inside = [state for state in State if state in ALIVE]
    lines = ["stateDiagram-v2", "    [*] --> pending", "    state alive {"]
    lines += [_edge(ends, causes, 8) for ends, causes in labels.items() if set(ends) <= set(inside)]
    lines += ["    }"]
    lines += [_edge(ends, causes, 4) for ends, causes in labels.items() if not set(ends) <= set(inside)]
    return "\n".join(lines)


def _edge(ends: tuple[str, str], causes: list[str], indent: int) -> str:
    return f"{' ' * indent}{ends[0]} --> {ends[1]}: {', '.join(str(cause) for cause in causes)}"


def decision_table() -> str:
    """Give what is done about everything as a Markdown table."""
    rows = [
        f"| {happening.value} | {decision.then.value} | {_yes(decision.backs_off)} | {_yes(decision.costs)} "
        f"| {_yes(decision.blames_gateway)} |"
        for happening, decision in DECISIONS.items()
    ]
    head = [
        "| what happened | what is done | backs off | costs budget | blames the gateway if many |",
        "|---|---|---|---|---|",
    ]
    return "\n".join((*head, *rows))


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def drawn(document: str) -> str:
    """Give the document with both made anew."""
    diagram = f"```mermaid\n{state_diagram()}\n```"
    for name, content in (("states", diagram), ("decisions", decision_table())):
        begin, end = f"<!-- {name}: made by python -m tests.domain.drawing -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        document, count = pattern.subn(lambda _, text=f"{begin}\n{content}\n{end}": text, document)  # type: ignore[misc]  # mypy knows no default of a lambda
        assert count == 1, f"the document has no place for {name}"
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
