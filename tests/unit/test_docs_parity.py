"""docs/parity.md is true: its numbers and counts, and every module and test that it names exists."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.supervisor.plan import COMPONENTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "parity.md"
MECHANISMS = 203
SECTIONS = {
    "Agent start": 42,
    "Server mode": 79,
    "Client mode": 103,
    "Read and write path": 148,
    "Running the agent": 203,
}
"""Section -> number of its last mechanism."""
STAGES = ("Data API", "Gossip joins", "Raft cluster", "Clients", "ACL", "Connect", "WAN")


@dataclass(frozen=True)
class Row:
    section: str
    number: int
    mechanism: str
    state: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    note: str


def rows() -> list[Row]:
    found, section = [], ""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif re.match(r"\| \d+ \|", line):
            number, mechanism, state, module, tests, note = (cell.strip() for cell in line.strip("|").split("|"))
            found.append(Row(section, int(number), mechanism, state, _quoted(module), _quoted(tests), note))
    return found


def _quoted(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


@cache
def functions_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_all_mechanisms_are_there_in_their_sections() -> None:
    assert [row.number for row in rows()] == list(range(1, MECHANISMS + 1))
    wrong = [row for row in rows() if not _belongs(row)]
    assert wrong == []


def _belongs(row: Row) -> bool:
    return next(name for name, last in SECTIONS.items() if row.number <= last) == row.section


def test_every_mechanism_is_done_or_waits_or_differs_for_a_reason() -> None:
    for row in rows():
        assert row.mechanism, row
        if row.state == "done":
            assert row.modules, f"{row.number}: which module does it?"
            assert row.tests, f"{row.number}: which test proves it?"
        elif row.state == "differs":
            assert row.note, f"{row.number}: why does it differ?"
        else:
            assert row.state.removeprefix("later: ") in STAGES, f"{row.number}: {row.state}"


def test_the_counts_at_the_top_are_those_of_the_tables() -> None:
    counted = Counter(row.state for row in rows())
    counted["all"] = MECHANISMS
    head = PAGE.read_text("utf-8").partition("\n## ")[0]
    lines = re.findall(r"^\| (done|differs|all|later: [\w ]+) \| (\d+) \|$", head, re.MULTILINE)
    shown = {state: int(number) for state, number in lines}
    assert shown == dict(counted)


def test_every_module_and_test_named_exists() -> None:
    missing = []
    for row in rows():
        missing += [f"{row.number}: {module}" for module in row.modules if not (ROOT / module).is_file()]
        for named in row.tests:
            path, separator, function = named.partition("::")
            file = ROOT / path
            if not separator or not file.is_file() or function not in functions_in(file):
                missing.append(f"{row.number}: {named}")
        missing += [
            f"{row.number}: {path}"
            for path in _quoted(row.note)
            if path.startswith(("services/", "shared/", "cli/")) and not (ROOT / path).is_file()
        ]
    assert missing == []


def test_the_architecture_page_draws_every_process() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    drawing = text.partition("```")[2].partition("```")[0]
    assert [name for name in (*COMPONENTS, "supervisor") if name not in drawing] == []
    assert [word for word in ("The way of a GET", "The way of a PUT") if f"## {word}" not in text] == []
