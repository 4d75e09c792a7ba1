"""Page: the metrics of all processes as one page in Prometheus' text format, as go-metrics' sink shows them.

Counters of Prometheus never fall, but processes end: what one that is gone had counted stays in the sum."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
QUANTILES = (0.5, 0.9, 0.99)
PROCESSES_MAX = 64
"""Processes, those that ended included, whose counts are remembered; the oldest are forgotten first."""

_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_PROCESS_HELP = {
    "cpu_seconds_total": ("counter", "Total user and system CPU time spent in seconds."),
    "max_fds": ("gauge", "Maximum number of open file descriptors."),
    "open_fds": ("gauge", "Number of open file descriptors."),
    "resident_memory_bytes": ("gauge", "Resident memory size in bytes."),
    "start_time_seconds": ("gauge", "Start time of the process since unix epoch in seconds."),
    "virtual_memory_bytes": ("gauge", "Virtual memory size in bytes."),
}
_SMALLEST = frozenset({"max_fds", "start_time_seconds"})
"""Of these the smallest of all processes is shown, of the others the sum."""

_Series = tuple[str, tuple[tuple[str, str], ...]]  # name and labels as shown
_Counts = dict[_Series, float]
_Sums = dict[_Series, tuple[int, float]]


class Page:
    """Keeps, from one page to the next, what each process had counted."""

    def __init__(self) -> None:
        self._counted: dict[tuple[int, float], tuple[_Counts, _Sums]] = {}

    def render(self, dumps: Iterable[dict[str, Any]]) -> bytes:
        """The page for what the processes answered to Metrics.Dump; those without totals are left out."""
        parts = [dump["Totals"] for dump in dumps if "Totals" in dump]
        families: dict[str, _Family] = {}
        counters: _Counts = {}
        summaries: dict[_Series, _Summary] = {}
        for part in parts:
            self._remember(part)
            for name, labels, value in part["Gauges"]:
                series = _series(name, labels)
                gauges = families.setdefault(series[0], _Family("gauge", series[0])).values
                if series in gauges and ".runtime." in name:
                    value += gauges[series]
                gauges[series] = value
            for name, labels, _ in part["Counters"]:
                counters[_series(name, labels)] = 0.0
            for name, labels, _, _, values in part["Samples"]:
                summary = summaries.setdefault(_series(name, labels), _Summary())
                summary.values += [(value, times) for value, times in values]
        for counted, summed in self._counted.values():
            for series, total in counted.items():
                if series in counters:
                    counters[series] += total
            for series, (count, total) in summed.items():
                if series in summaries:
                    summaries[series].count += count
                    summaries[series].sum += total
        for series, total in counters.items():
            families.setdefault(series[0], _Family("counter", series[0])).values[series] = total
        for series, summary in summaries.items():
            families.setdefault(series[0], _Family("summary", series[0])).summaries[series] = summary
        families |= _process_families([part["Process"][1] for part in parts])
        return "".join(line for name in sorted(families) for line in families[name].lines()).encode()

    def _remember(self, part: dict[str, Any]) -> None:
        pid, stats = part["Process"]
        counted = {_series(name, labels): total for name, labels, total in part["Counters"]}
        summed = {_series(name, labels): (count, total) for name, labels, count, total, _ in part["Samples"]}
        key = (pid, stats["start_time_seconds"])
        self._counted.pop(key, None)
        self._counted[key] = (counted, summed)
        while len(self._counted) > PROCESSES_MAX:
            self._counted.pop(next(iter(self._counted)))


class _Summary:
    __slots__ = ("count", "sum", "values")

    def __init__(self) -> None:
        self.count, self.sum = 0, 0.0
        self.values: list[tuple[float, int]] = []


class _Family:
    """All series of one name; the first kind that asked for the name has it."""

    __slots__ = ("help", "kind", "name", "summaries", "values")

    def __init__(self, kind: str, name: str, text: str = "") -> None:
        self.kind, self.name, self.help = kind, name, text or name
        self.values: _Counts = {}
        self.summaries: dict[_Series, _Summary] = {}

    def lines(self) -> list[str]:
        lines = [f"# HELP {self.name} {self.help}\n", f"# TYPE {self.name} {self.kind}\n"]
        if self.kind == "summary":
            for (name, labels), summary in sorted(self.summaries.items()):
                ranks = _quantiles(summary.values)
                lines += [
                    f"{name}{_braces((*labels, ('quantile', text)))} {format_value(rank)}\n"
                    for text, rank in zip(map(str, QUANTILES), ranks, strict=True)
                ]
                shown = _braces(labels)
                lines.append(f"{name}_sum{shown} {format_value(summary.sum)}\n")
                lines.append(f"{name}_count{shown} {summary.count}\n")
            return lines
        return [
            *lines,
            *(f"{n}{_braces(labels)} {format_value(v)}\n" for (n, labels), v in sorted(self.values.items())),
        ]


def _series(name: str, labels: dict[str, str]) -> _Series:
    shown = sorted((_NOT_IN_LABEL.sub("_", key), value) for key, value in labels.items())
    return _NOT_IN_NAME.sub("_", name), tuple(shown)


def _braces(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{pairs}}}"


def _escaped(value: str) -> str:
    clean = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return clean.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _quantiles(values: list[tuple[float, int]]) -> list[float]:
    """Of weighted values; not a number where there are none."""
    total = sum(times for _, times in values)
    if not total:
        return [math.nan] * len(QUANTILES)
    ranks: list[float] = []
    wanted = [max(1, math.ceil(quantile * total)) for quantile in QUANTILES]
    seen = 0
    for value, times in sorted(values):
        seen += times
        while len(ranks) < len(wanted) and seen >= wanted[len(ranks)]:
            ranks.append(value)
    return ranks


def format_value(value: float) -> str:
    """As Go's shortest %g: 5, 0.25, 819200, 1.234567e+06, 3.7e-05, NaN, +Inf."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign = "-" if value < 0 else ""
    digits, power = _digits(abs(float(value)))
    if not digits:
        return "0"
    if not -4 <= power < 6:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    whole = digits[: power + 1].ljust(power + 1, "0")
    fraction = digits[power + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def _digits(value: float) -> tuple[str, int]:
    """The fewest digits that tell the number from its neighbours, and the power of ten of the first one."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent or 0) + len(digits) - len(fraction) - 1
    return digits.rstrip("0"), power


def _process_families(stats: list[dict[str, float]]) -> dict[str, _Family]:
    families: dict[str, _Family] = {}
    if not stats:
        return families
    for name, (kind, text) in _PROCESS_HELP.items():
        shown = f"process_{name}"
        family = families[shown] = _Family(kind, shown, text)
        all_values = [each[name] for each in stats]
        family.values[(shown, ())] = min(all_values) if name in _SMALLEST else sum(all_values)
    return families
