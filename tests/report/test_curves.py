"""The curves are those of the metrics: their areas are the AUROC and the AP."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.evaluation.metrics import auroc, average_precision
from adlib.report.curves import draw, precision_curve, roc_curve
from adlib.report.per_image import FitImages

SCORES, LABELS = np.array([5.0, 4.0, 4.0, 2.0, 1.0]), np.array([True, False, True, False, False])


def test_roc_by_hand():
    """The tie at 4 is one slanted step; the point (2/3, 1) lies on a straight line."""
    np.testing.assert_allclose(roc_curve(SCORES, LABELS), [[0, 0], [0, 0.5], [1 / 3, 1], [1, 1]])


def test_precision_by_hand():
    found = precision_curve(SCORES, LABELS)
    np.testing.assert_allclose(found, [[0, 1], [0.5, 1], [0.5, 2 / 3], [1, 2 / 3], [1, 0.4]])


@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 20))
def test_areas_are_the_metrics(seed: int, count: int, levels: int):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, count).astype(float)
    labels = rng.permutation(np.arange(count) % 2 == 0)
    a, b = roc_curve(scores, labels).T
    assert np.trapezoid(b, a) == pytest.approx(auroc(scores, labels))
    recall, precision = precision_curve(scores, labels).T
    assert np.trapezoid(precision, recall) == pytest.approx(average_precision(scores, labels))


def test_charts_show_every_method_and_describe_themselves():
    fit = FitImages(("a",), LABELS, SCORES, np.array([], dtype=bool), None, None)
    drawn = draw("mono <b>", 3, {"simplenet": fit, "patchcore": fit}, {"patchcore": 3.0})
    assert drawn.roc.count("<polyline") == drawn.precision.count("<polyline") == 2
    assert list(drawn.histograms) == ["simplenet", "patchcore"]
    assert 'class="normal m1"' in drawn.histograms["patchcore"]
    assert 'class="anomalous m1"' in drawn.histograms["patchcore"]
    assert "Median score 2 of the normal images, 4.5 of the anomalous ones." in drawn.histograms["simplenet"]
    assert ["threshold" in chart for chart in drawn.histograms.values()] == [False, True]
    for chart in (drawn.roc, drawn.precision, *drawn.histograms.values()):
        assert "<b>" not in chart
        assert 'role="img"' in chart


def test_equal_scores_still_make_a_histogram():
    fit = FitImages(("a",), LABELS, np.ones(5), np.array([], dtype=bool), None, None)
    assert "<rect" in draw("mono", 0, {"simplenet": fit}, {}).histograms["simplenet"]
