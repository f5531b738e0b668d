"""Charts: well-formed, labelled, nothing drawn outside."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.report.chart import (
    HEIGHT,
    MARKERS,
    TOP,
    WIDTH,
    Series,
    key,
    line_chart,
    nice_ticks,
    percent,
    spaced,
    tag,
)

TICKS = [0.7, 0.8, 0.9, 1.0]


def draw(*series: Series, levels=(0.0, 0.1)) -> ElementTree.Element:
    return ElementTree.fromstring(line_chart("c", "a & b", levels, series, TICKS))


def test_chart_is_named_and_described_in_numbers():
    chart = draw(Series("one", 0, [0.9, 0.8], [0.01, 0.02]), Series("two", 1, [0.7, float("nan")]))
    assert chart.get("role") == "img"
    assert chart.get("aria-labelledby") == "c-title c-desc"
    title, description = chart.find("title"), chart.find("desc")
    assert title is not None
    assert description is not None
    assert (title.get("id"), title.text) == ("c-title", "a & b")
    assert description.text == "one: 0.900 ± 0.010 at 0 %, 0.800 ± 0.020 at 10 %; two: 0.700 at 0 %."


def test_every_line_has_a_label_its_own_colour_and_its_own_marker():
    chart = draw(Series("one", 0, [0.9, 0.8]), Series("two", 1, [0.91, 0.81]))
    labels = {t.text: t.get("class") for t in chart.iter("text") if "name" in str(t.get("class"))}
    assert labels == {"one": "name m0", "two": "name m1"}
    shapes = {p.get("class"): p.get("d") for p in chart.iter("path")}
    assert shapes == {"dot m0": MARKERS[0], "dot m1": MARKERS[1]}
    assert len(set(MARKERS)) == len(MARKERS)


def test_a_higher_value_is_drawn_higher_and_more_noise_further_right():
    (line,) = draw(Series("one", 0, [0.9, 0.8])).iter("polyline")
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in str(line.get("points")).split())
    assert y0 < y1
    assert x0 < x1


def test_levels_are_joined_in_ascending_order():
    (line,) = draw(Series("one", 0, [0.8, 0.9, 0.7]), levels=(0.2, 0.0, 0.1)).iter("polyline")
    xs = [float(p.split(",")[0]) for p in str(line.get("points")).split()]
    assert xs == sorted(xs)


def test_band_needs_a_spread_and_stays_inside():
    assert not list(draw(Series("one", 0, [0.9, 0.8])).iter("polygon"))
    (band,) = draw(Series("one", 0, [0.99, 0.71], [0.1, 0.1])).iter("polygon")
    points = [tuple(map(float, p.split(","))) for p in str(band.get("points")).split()]
    assert len(points) == 4
    assert all(0 <= x <= WIDTH and TOP <= y <= HEIGHT for x, y in points)


def test_a_single_level_is_a_marker_with_a_label():
    chart = draw(Series("one", 0, [0.9]), levels=(0.1,))
    assert len(list(chart.iter("path"))) == 1
    assert "10 %" in [t.text for t in chart.iter("text")]


def test_crowded_level_labels_are_thinned_but_not_all_dropped():
    levels = [i / 100 for i in range(30)]
    texts = [t.text for t in draw(Series("one", 0, [0.9] * 30), levels=levels).iter("text")]
    shown = [t for t in texts if t in {percent(level) for level in levels}]
    assert 2 < len(shown) < 15


def test_text_and_attributes_are_escaped():
    chart = line_chart("c", "<b>", [0.0], [Series("<i>&", 0, [0.9])], TICKS)
    assert "<b>" not in chart
    assert "<i>" not in chart
    assert tag("a", title='"<') == '<a title="&quot;&lt;"></a>'


def test_more_methods_than_markers_still_get_one():
    assert MARKERS[2] in key(len(MARKERS) + 2)


@given(st.floats(0, 1), st.floats(1e-3, 1))
def test_ticks_enclose_the_range_in_few_even_steps(low: float, width: float):
    ticks = nice_ticks(low, low + width)
    steps = [b - a for a, b in pairwise(ticks)]
    assert ticks[0] <= low + 1e-5 * width
    assert ticks[-1] >= low + width * (1 - 1e-5)
    assert 2 <= len(ticks) <= 7
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)


def test_ticks_are_round():
    assert nice_ticks(0.83, 0.92) == [0.825, 0.85, 0.875, 0.9, 0.925]


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match=r"low must be below high, got 0\.9 and 0\.9"):
        nice_ticks(0.9, 0.9)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_labels_keep_their_order_and_distance_and_stay_inside(positions: list[float]):
    moved = spaced(positions, 12, 0, 100)
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    gaps = [moved[b] - moved[a] for a, b in pairwise(order)]
    assert all(gap >= 12 - 1e-9 for gap in gaps)
    assert all(-1e-9 <= y <= 100 for y in moved)


def test_labels_with_room_do_not_move():
    assert spaced([50.0, 10.0], 12, 0, 100) == [50.0, 10.0]
