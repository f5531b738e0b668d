"""The threshold from calibration images: by hand, its promise by simulation, and what dirt and trim do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.fits.threshold import Threshold, conformal_threshold, exceeds

SPLITS = 500


def test_by_hand():
    """9 scores at 20 %: k = ceil(10 * 0.8) = 8, so the eighth smallest; 2 of 10 places lie above it."""
    found = conformal_threshold(np.array([9.0, 1, 8, 2, 7, 3, 6, 4, 5]), 0.2)
    assert (found.threshold, found.promised, found.smallest) == (8.0, 0.2, 0.1)
    assert (found.n, found.trimmed, found.fpr) == (9, 0, 0.2)
    assert found.upper_95 == pytest.approx(0.4291, abs=1e-4), "the 95 % quantile of Beta(2, 8)"


@pytest.mark.parametrize(
    ("n", "fpr", "rank"), [(99, 0.07, 93), (99, 0.01, 99), (199, 0.29, 142), (9, 0.3, 7)]
)
def test_the_rank_is_exact_in_decimals(n: int, fpr: float, rank: int):
    """(99 + 1)(1 - 0.07) is 93, though floating point may say 93.00000000000001."""
    assert conformal_threshold(np.arange(1.0, n + 1), fpr).threshold == rank


def test_a_rate_that_so_few_images_cannot_promise():
    """The highest score then is the threshold, never infinity, and 1 / (n + 1) is what is promised."""
    found = conformal_threshold(np.arange(40.0), 0.01)
    assert found.threshold == 39.0
    assert found.promised == found.smallest == 1 / 41
    assert found.fpr == 0.01
    reached = conformal_threshold(np.arange(100.0), 0.01)
    assert reached.threshold == 99.0
    assert reached.promised == 1 / 101 <= reached.fpr


def test_one_image():
    assert conformal_threshold(np.array([3.0]), 0.3) == Threshold(
        3.0, 0.3, 1, 0, promised=0.5, smallest=0.5, upper_95=pytest.approx(0.95)
    )


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0.001, 0.999), st.floats(0, 0.9))
def test_properties(values: list[float], fpr: float, trim: float):
    scores = np.array(values)
    found = conformal_threshold(scores, fpr, trim)
    assert found.threshold in scores
    assert found.promised >= 1 / (len(values) + 1)
    assert found.promised <= found.upper_95 <= 1 or found.promised > 0.6
    assert found == conformal_threshold(scores[::-1], fpr, trim), "the order of images does not matter"
    assert conformal_threshold(scores, fpr).threshold >= found.threshold, "trim only lowers"
    assert conformal_threshold(scores + 1, fpr, trim).threshold == found.threshold + 1
    if trim == 0:
        assert found.promised <= max(fpr, found.smallest)
        assert found.promised > fpr - 1 / (len(values) + 1) - 1e-12


def rates(normals: np.ndarray, n: int, fpr: float, anomalies: np.ndarray, trim: float = 0.0) -> np.ndarray:
    """False-alarm rates met over random re-splits: n normals and all anomalies calibrate, the others test."""
    rng = np.random.default_rng(0)
    met = []
    for _ in range(SPLITS):
        order = rng.permutation(normals)
        found = conformal_threshold(np.concatenate([order[:n], anomalies]), fpr, trim)
        met.append(exceeds(order[n:], found.threshold).mean())
    return np.array(met)


@pytest.fixture
def normals() -> np.ndarray:
    """Scores of 450 normal images, skewed as anomaly scores are, without ties."""
    return np.random.default_rng(7).gamma(2.0, 1.0, 450).astype(np.float32)


@pytest.mark.parametrize(("n", "fpr"), [(100, 0.01), (100, 0.05), (60, 0.1), (40, 0.01)])
def test_the_promise_over_re_splits(normals: np.ndarray, n: int, fpr: float):
    met = rates(normals, n, fpr, np.array([]))
    error = 3 * met.std() / math.sqrt(SPLITS)
    promised = conformal_threshold(normals[:n], fpr).promised
    assert abs(met.mean() - promised) < error
    assert met.mean() <= max(fpr, 1 / (n + 1)) + error
    assert met.mean() >= fpr - 1 / (n + 1) - error


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.1])
def test_dirty_calibration_images_keep_the_promise(normals: np.ndarray, fpr: float):
    """5 % clear anomalies: fewer false alarms than promised; trimming just them gives the rate back."""
    anomalies = np.random.default_rng(8).gamma(2.0, 1.0, 5).astype(np.float32) + 30
    clean, dirty = rates(normals, 95, fpr, np.array([])), rates(normals, 95, fpr, anomalies)
    trimmed = rates(normals, 95, fpr, anomalies, trim=0.05)
    error = 3 * trimmed.std() / math.sqrt(SPLITS)
    assert dirty.mean() <= fpr + error
    assert dirty.mean() < clean.mean()
    assert dirty.mean() < trimmed.mean() <= max(fpr, 1 / 96) + error


def test_trimming_clean_images_breaks_the_rate_but_not_what_is_promised(normals: np.ndarray):
    met = rates(normals, 100, 0.01, np.array([]), trim=0.05)
    promised = conformal_threshold(normals[:100], 0.01, 0.05).promised
    assert promised == pytest.approx(6 / 101)
    assert met.mean() > 0.04
    assert met.mean() <= promised + 3 * met.std() / math.sqrt(SPLITS)


def test_a_score_on_the_threshold_is_no_alarm():
    """Ties make fewer alarms than promised: half of the scores are equal here."""
    scores = np.array([0.0] * 5 + [1.0] * 5)
    found = conformal_threshold(scores, 0.3)
    assert found.threshold == 1.0
    assert not exceeds(scores, found.threshold).any()


def test_a_float32_score_is_compared_exactly():
    score = np.float32(0.1)
    above = np.nextafter(score, np.float32(1))
    found = conformal_threshold(np.array([score]), 0.5).threshold
    assert exceeds(np.array([score, above]), found).tolist() == [False, True]


@pytest.mark.parametrize(
    ("scores", "fpr", "trim", "message"),
    [
        ([], 0.1, 0, "scores: expected at least one .*, got 0 of which 0 are NaN or infinite; find"),
        ([1.0, math.nan, math.inf], 0.1, 0, "got 3 of which 2 are NaN or infinite"),
        ([1.0], 0.0, 0, r"fpr: expected a fraction in \(0, 1\), got 0.0; 1 % is written 0.01"),
        ([1.0], 1.0, 0, "fpr: expected"),
        ([1.0], 0.1, 1.0, r"trim: expected a fraction in \[0, 1\), got 1.0; 5 % is written 0.05"),
        ([1.0], 0.1, -0.1, "trim: expected"),
    ],
)
def test_refusals(scores: list[float], fpr: float, trim: float, message: str):
    with pytest.raises(ValueError, match=message):
        conformal_threshold(np.array(scores), fpr, trim)
