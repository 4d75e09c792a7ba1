"""Log lines that peers can cause: printable, few, and none hidden by a flood of another kind."""

import math

from hypothesis import given
from hypothesis import strategies as st

from services.gossip.log_gate import REPORT_INTERVAL_S, LogGate, printable


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> object:
        return lambda text: self.lines.append((level, text))


def gate_and_lines() -> tuple[LogGate, list[tuple[str, str]]]:
    lines = Lines()
    return LogGate(lines), lines.lines  # type: ignore[arg-type]


def test_a_flood_of_one_kind_is_cut_and_reported_and_hides_no_other() -> None:
    gate, lines = gate_and_lines()
    for number in range(1000):
        gate.write("error", f"memberlist: Decrypt packet failed: nothing fits from=10.0.0.{number}:8301", 5.0)
    assert len(lines) == 10
    gate.write("error", "memberlist: Conflicting address for web. Mine: x", 5.0)
    gate.write("warn", "memberlist: Refuting a dead message (from: a)", 5.0)
    assert len(lines) == 12
    assert gate.deadline == 5.0 + REPORT_INTERVAL_S
    gate.report(14.9)
    assert len(lines) == 12
    gate.report(15.0)
    assert lines[12:] == [
        (
            "warn",
            "memberlist: left out 990 more lines like this: "
            "memberlist: Decrypt packet failed: nothing fits from=10.0.0.999:8301",
        )
    ]
    assert gate.deadline == math.inf


def test_after_a_burst_lines_come_at_a_low_rate() -> None:
    gate, lines = gate_and_lines()
    for tenth in range(36000):  # an hour, ten lines per second
        gate.write("warn", "serf: reply for non-running query", tenth / 10)
        if gate.deadline <= tenth / 10:
            gate.report(tenth / 10)
    assert 10 + 3600 * 0.2 <= len(lines) <= 10 + 3600 * (0.2 + 1 / REPORT_INTERVAL_S)
    gate.report(math.inf)
    assert "more line" in lines[-1][1]


def test_thousands_of_members_may_come_at_once_but_not_all_the_time() -> None:
    gate, lines = gate_and_lines()
    for number in range(5000):
        gate.write("info", f"serf: EventMemberJoin: n{number} 10.0.0.1", 1.0)
    assert len(lines) == 5000
    for number in range(20_000):
        gate.write("info", f"serf: EventMemberJoin: m{number} 10.0.0.1", 1.0 + number / 1000)
    assert len(lines) == 5000 + 20_000 / 1000 * 20 - 1


def test_debug_lines_are_all_written() -> None:
    gate, lines = gate_and_lines()
    for _ in range(20_000):
        gate.write("debug", "memberlist: Stream connection from=1.2.3.4:5", 1.0)
    assert len(lines) == 20_000


def test_control_characters_are_escaped() -> None:
    gate, lines = gate_and_lines()
    gate.write("warn", "bad\nname \udcff \x1b[31m", 6.5)
    assert lines == [("warn", "bad\\nname \\udcff \\x1b[31m")]
    assert printable("café") == "café"


@given(
    texts=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=300),
    levels=st.lists(st.sampled_from(["info", "warn", "error"]), min_size=1, max_size=7),
)
def test_whatever_peers_write_kinds_and_lines_stay_bounded(texts: list[str], levels: list[str]) -> None:
    gate, lines = gate_and_lines()
    for number, text in enumerate(texts * 3):
        gate.write(levels[number % len(levels)], text, 1.0)
    assert len(gate._kinds) <= 64 + 3
    assert sum(level == "warn" for level, _ in lines) <= 100
    written = len(lines)
    gate.report(math.inf)
    counted = sum(int(text.split("left out ")[1].split()[0]) for _, text in lines[written:])
    assert written + counted == 3 * len(texts)
    assert all(text.isprintable() for _, text in lines)
