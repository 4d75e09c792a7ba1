"""Plots: well-formed, with everything that a reader needs, and within their frame."""

import xml.etree.ElementTree as ElementTree

import pytest
from svg_plot import HEIGHT, WIDTH, Axis, Plot

SVG = "{http://www.w3.org/2000/svg}"


def drawn() -> ElementTree.Element:
    plot = Plot("Speed & <size>", Axis("members", (1, 10, 1000), log=True), Axis("seconds", (0, 0.5, 1)))
    plot.line("measured", [(1, 0.0), (10, 0.25), (1000, 7.0)], 0)
    plot.line("in theory", [(1, 0.1), (1000, 1.0)], 4, dashed=True)
    return ElementTree.fromstring(plot.render())


def test_a_plot_has_a_title_axes_with_units_ticks_and_a_legend() -> None:
    title, *ticks, x_label, y_label, measured, expected = [text.text for text in drawn().iter(f"{SVG}text")]
    assert title == "Speed & <size>"
    assert ticks == ["0", "0.5", "1", "1", "10", "1,000"]
    assert (x_label, y_label, measured, expected) == ("members", "seconds", "measured", "in theory")


def test_values_stand_where_the_axes_have_them_and_never_outside() -> None:
    svg = drawn()
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in svg.iter(f"{SVG}circle")]
    centred = [text for text in svg.iter(f"{SVG}text") if text.get("text-anchor") == "middle"]
    ticks = {text.text: float(text.get("x", "")) for text in centred}
    assert [x for x, _ in dots] == [ticks["1"], ticks["10"], ticks["1,000"]]
    assert ticks["10"] - ticks["1"] == pytest.approx((ticks["1,000"] - ticks["1"]) / 3, abs=0.2)
    heights = [y for _, y in dots]
    assert heights[0] - heights[1] == pytest.approx((heights[0] - heights[2]) / 4, abs=0.2)  # the last one is cut off
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in dots)


def test_a_plot_can_be_read_in_the_dark() -> None:
    style = drawn().find(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in (style.text or "")
