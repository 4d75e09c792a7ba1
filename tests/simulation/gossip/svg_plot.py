"""Line plots as SVG, written by hand: axes, ticks, a legend, colours that can be read in light and in dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 24, 46, 100
_STYLE = """
  .paper { fill: #ffffff } .ink { fill: #1f2328 } .faint { fill: #59636e }
  .axis { stroke: #59636e; stroke-width: 1 } .grid { stroke: #d1d9e0; stroke-width: 1 }
  .c0 { --c: #0969da } .c1 { --c: #bc4c00 } .c2 { --c: #1a7f37 } .c3 { --c: #8250df } .c4 { --c: #59636e }
  .line { fill: none; stroke: var(--c); stroke-width: 2.2 } .dashed { stroke-dasharray: 7 5; stroke-width: 1.6 }
  .dot { fill: var(--c) }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .ink { fill: #f0f6fc } .faint { fill: #9198a1 }
    .axis { stroke: #9198a1 } .grid { stroke: #2f353d }
    .c0 { --c: #4493f8 } .c1 { --c: #f0883e } .c2 { --c: #3fb950 } .c3 { --c: #ab7df8 } .c4 { --c: #9198a1 }
  }
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
  .title { font-size: 16px; font-weight: 600 }
"""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    label: str
    points: Points
    colour: int
    dashed: bool = False


@dataclass
class Axis:
    """label: with the unit. ticks: values to mark; the axis ends with the outermost ones."""

    label: str
    ticks: Sequence[float]
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value stands between the ends of the axis, 0 to 1."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.log:
            value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
        return min(max((value - low) / (high - low), 0.0), 1.0)


@dataclass
class Plot:
    """dots: mark the single measurements of solid lines."""

    title: str
    x: Axis
    y: Axis
    dots: bool = True
    _series: list[Series] = field(default_factory=list)

    def line(self, label: str, points: Points, colour: int, *, dashed: bool = False) -> None:
        """dashed lines are for what theory says. colour: 0 to 4."""
        self._series.append(Series(label, points, colour, dashed))

    def render(self) -> str:
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" role="img" aria-label="{escape(self.title)}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
            _text(_LEFT, 28, self.title, "ink title", "start"),
            *self._axes(),
        ]
        for series in self._series:
            parts += self._drawn(series)
        parts += self._legend()
        return "\n".join([*parts, "</svg>", ""])

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + self.x.share(x) * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - self.y.share(y) * (HEIGHT - _TOP - _BOTTOM),
        )

    def _axes(self) -> list[str]:
        left, bottom = _LEFT, HEIGHT - _BOTTOM
        right, top = WIDTH - _RIGHT, _TOP
        parts = []
        for tick in self.y.ticks:
            _, y = self._place(self.x.ticks[0], tick)
            parts.append(_line(left, y, right, y, "grid"))
            parts.append(_text(left - 8, y + 4, _number(tick), "faint", "end"))
        for tick in self.x.ticks:
            x, _ = self._place(tick, self.y.ticks[0])
            parts.append(_line(x, bottom, x, bottom + 5, "axis"))
            parts.append(_text(x, bottom + 20, _number(tick), "faint", "middle"))
        parts += [_line(left, bottom, right, bottom, "axis"), _line(left, top, left, bottom, "axis")]
        parts.append(_text((left + right) / 2, bottom + 42, self.x.label, "ink", "middle"))
        middle = (top + bottom) / 2
        parts.append(
            f'<g transform="rotate(-90 20 {middle:.0f})">{_text(20, middle, self.y.label, "ink", "middle")}</g>'
        )
        return parts

    def _drawn(self, series: Series) -> list[str]:
        places = [self._place(x, y) for x, y in series.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        kind = "line dashed" if series.dashed else "line"
        parts = [f'<polyline class="{kind} c{series.colour}" points="{path}"/>']
        if self.dots and not series.dashed:
            parts += [f'<circle class="dot c{series.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>' for x, y in places]
        return parts

    def _legend(self) -> list[str]:
        """Below the plot, in rows as long as fit."""
        x, y, parts = float(_LEFT), HEIGHT - 36.0, []
        for series in self._series:
            width = 38 + 6.9 * len(series.label) + 18
            if x + width > WIDTH - _RIGHT + 18 and x > _LEFT:
                x, y = float(_LEFT), y + 21
            kind = "line dashed" if series.dashed else "line"
            parts.append(f'<polyline class="{kind} c{series.colour}" points="{x:.1f},{y} {x + 28:.1f},{y}"/>')
            parts.append(_text(x + 35, y + 4, series.label, "ink", "start"))
            x += width
        return parts


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"
