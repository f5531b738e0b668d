"""Image-level metrics against hand values, scikit-learn and their identities."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from adlib.evaluation.metrics import (
    auroc,
    average_precision,
    f1_max,
    fpr_at_tpr,
    image_metrics,
    precision_recall_f1,
)


@st.composite
def labelled_scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Few distinct scores, so that ties within and across the classes are common."""
    size = draw(st.integers(2, 40))
    scores = draw(st.lists(st.integers(-4, 4), min_size=size, max_size=size))
    labels = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    assume(any(labels) and not all(labels))
    return np.array(scores) / 8, np.array(labels)


def test_values_computed_by_hand() -> None:
    scores, labels = [0.9, 0.8, 0.8, 0.3, 0.1], [1, 1, 0, 1, 0]
    # Pairs won: 0.9 beats two, 0.8 ties one and beats one, 0.3 beats one.
    assert auroc(scores, labels) == pytest.approx(4.5 / 6, abs=1e-15)
    # Thresholds 0.9, 0.8, 0.3 with precisions 1, 2/3, 3/4 and recall steps of 1/3.
    assert average_precision(scores, labels) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3, abs=1e-15)
    assert f1_max(scores, labels) == (6 / 7, 0.3)
    assert precision_recall_f1(scores, labels, 0.8) == (2 / 3, 2 / 3, 2 / 3)
    assert fpr_at_tpr(scores, labels, tpr=0.5) == 0.5


@given(labelled_scores())
def test_matches_scikit_learn_with_ties(data) -> None:
    scores, labels = data
    assert auroc(scores, labels) == pytest.approx(float(roc_auc_score(labels, scores)), abs=1e-12)
    expected = float(average_precision_score(labels, scores))
    assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)


@given(labelled_scores(), st.integers(-5, 5))
def test_precision_recall_f1_match_scikit_learn(data, threshold) -> None:
    scores, labels = data
    flagged = scores >= threshold / 8
    expected = (
        precision_score(labels, flagged, zero_division=0.0),  # type: ignore[arg-type]
        recall_score(labels, flagged),
        f1_score(labels, flagged),
    )
    assert precision_recall_f1(scores, labels, threshold / 8) == pytest.approx(expected, abs=1e-12)


@given(labelled_scores())
def test_f1_max_is_the_highest_of_the_best_thresholds(data) -> None:
    scores, labels = data
    candidates = [(f1_score(labels, scores >= t), t) for t in np.unique(scores)]
    best = max(f1 for f1, _ in candidates)
    highest = max(t for f1, t in candidates if f1 >= best - 1e-12)
    f1, threshold = f1_max(scores, labels)
    assert (f1, threshold) == (pytest.approx(best, abs=1e-12), highest)
    assert precision_recall_f1(scores, labels, threshold)[2] == f1


def test_f1_max_prefers_the_highest_of_equal_thresholds() -> None:
    # Cut at 5: one hit, F1 = 2 / (1 + 2). Cut at 2: both hits and two false ones, F1 = 4 / (4 + 2).
    assert f1_max([5, 4, 3, 2], [1, 0, 0, 1]) == (2 / 3, 5.0)


@given(labelled_scores(), st.integers(1, 40))
def test_fpr_at_tpr_is_the_first_point_of_the_roc_curve_that_reaches_it(data, hits) -> None:
    scores, labels = data
    tpr = min(hits, labels.sum()) / labels.sum()
    fprs, tprs, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert fpr_at_tpr(scores, labels, tpr) == pytest.approx(fprs[tprs >= tpr - 1e-12].min(), abs=1e-12)


def test_fpr_at_tpr_is_not_misled_by_rounding() -> None:
    # 0.07 * 100 rounds to just above 7; the seventh anomaly must still do.
    scores = np.concatenate([np.arange(1000, 900, -1.0), np.full(10, 993.5)])
    labels = np.repeat([1, 0], [100, 10])
    assert fpr_at_tpr(scores, labels, tpr=0.07) == 0.0


@given(labelled_scores())
def test_increasing_maps_change_nothing(data) -> None:
    scores, labels = data
    for mapped in (3 * scores + 1, np.exp(scores), scores**3 + scores):
        assert image_metrics(mapped, labels) == image_metrics(scores, labels)
        assert fpr_at_tpr(mapped, labels) == fpr_at_tpr(scores, labels)


@given(labelled_scores())
def test_auroc_symmetries(data) -> None:
    scores, labels = data
    assert auroc(scores, ~labels) == pytest.approx(1 - auroc(scores, labels), abs=1e-15)
    assert auroc(-scores, ~labels) == auroc(scores, labels)


@given(labelled_scores(), st.randoms(use_true_random=False))
def test_order_of_the_images_changes_nothing(data, random) -> None:
    scores, labels = data
    order = np.array(random.sample(range(labels.size), labels.size))
    shuffled = image_metrics(scores[order], labels[order])
    assert shuffled == pytest.approx(image_metrics(scores, labels), abs=1e-14)


@given(labelled_scores())
def test_image_metrics_are_the_single_metrics(data) -> None:
    assert image_metrics(*data) == {
        "image_auroc": auroc(*data),
        "image_ap": average_precision(*data),
        "image_f1max": f1_max(*data)[0],
    }


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32, np.uint8])
def test_extremes_are_exact_in_every_type(kind) -> None:
    labels = np.repeat([0, 1], [30, 7])
    separated = np.arange(37).astype(kind)
    assert image_metrics(separated, labels) == {"image_auroc": 1.0, "image_ap": 1.0, "image_f1max": 1.0}
    assert f1_max(separated, labels) == (1.0, 30.0)
    assert auroc(separated, 1 - labels) == 0.0
    assert auroc(np.zeros(37, kind), labels) == 0.5
    assert average_precision(np.zeros(37, kind), labels) == pytest.approx(7 / 37, abs=1e-15)


def test_threshold_is_compared_exactly_with_coarse_scores() -> None:
    score = np.float32(0.1)  # slightly above 0.1
    above, labels = float(np.nextafter(float(score), 1)), [1, 0]
    assert precision_recall_f1(np.array([score, 0], np.float32), labels, float(score))[1] == 1.0
    assert precision_recall_f1(np.array([score, 0], np.float32), labels, above)[1] == 0.0


def test_infinite_thresholds_flag_all_or_nothing() -> None:
    assert precision_recall_f1([1, 2, 3, 4], [0, 1, 0, 1], -np.inf) == (0.5, 1.0, 2 / 3)
    assert precision_recall_f1([1, 2, 3, 4], [0, 1, 0, 1], np.inf) == (0.0, 0.0, 0.0)
