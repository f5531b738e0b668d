"""Contracts of the metrics' inputs: what is accepted, and the error for each thing that is not."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from adlib.evaluation import metrics

SCORES = np.array([0.1, 0.9, 0.4, 0.8])
LABELS = np.array([0, 1, 0, 1])
MAPS = np.linspace(0, 1, 32).reshape(2, 4, 4)
MASKS = np.zeros((2, 4, 4), dtype=np.uint8)
MASKS[1, 2:, 1:3] = 1

IMAGE_METRICS: dict[str, Callable[[Any, Any], Any]] = {
    "auroc": metrics.auroc,
    "average_precision": metrics.average_precision,
    "f1_max": metrics.f1_max,
    "precision_recall_f1": lambda s, y: metrics.precision_recall_f1(s, y, 0.5),
    "fpr_at_tpr": metrics.fpr_at_tpr,
    "image_metrics": metrics.image_metrics,
    "bootstrap_interval": lambda s, y: metrics.bootstrap_interval(
        metrics.auroc, s, y, draws=5, rng=np.random.default_rng(0)
    ),
    "delong_test": lambda s, y: metrics.delong_test(s, s, y),
}
PIXEL_METRICS: dict[str, Callable[[Any, Any], Any]] = {
    "aupro": metrics.aupro,
    "pixel_metrics": metrics.pixel_metrics,
}

image_metric = pytest.mark.parametrize("metric", IMAGE_METRICS.values(), ids=IMAGE_METRICS.keys())
pixel_metric = pytest.mark.parametrize("metric", PIXEL_METRICS.values(), ids=PIXEL_METRICS.keys())
any_metric = pytest.mark.parametrize(
    ("metric", "scores", "truth"),
    [(metric, SCORES, LABELS) for metric in IMAGE_METRICS.values()]
    + [(metric, MAPS, MASKS) for metric in PIXEL_METRICS.values()],
    ids=[*IMAGE_METRICS, *PIXEL_METRICS],
)


def test_importing_the_metrics_does_not_import_torch() -> None:
    tell = "import adlib.evaluation.metrics; sys.exit('torch' in sys.modules)"
    code = f"import sys; sys.path[:] = {sys.path!r}; {tell}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@any_metric
@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_every_kind_of_binary_truth_gives_the_same(metric, scores, truth, kind) -> None:
    assert metric(scores, truth.astype(kind)) == metric(scores, truth)


@any_metric
def test_tensors_and_lists_give_the_same(metric, scores, truth) -> None:
    expected = metric(scores, truth)
    assert metric(torch.tensor(scores, requires_grad=True), torch.tensor(truth)) == expected
    assert metric(scores.tolist(), truth.tolist()) == expected


@any_metric
def test_inputs_are_left_unchanged(metric, scores, truth) -> None:
    before = scores.copy(), truth.copy()
    metric(scores, truth)
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(truth, before[1])


def test_bfloat16_tensors_are_read_exactly() -> None:
    scores = torch.tensor(MAPS * 1e30).bfloat16()  # beyond float16
    assert metrics.pixel_metrics(scores, MASKS) == metrics.pixel_metrics(scores.double(), MASKS)


def test_float64_differences_below_float32_resolution_count() -> None:
    scores = 1 + np.array([0.0, 1.0, 2.0, 3.0]) * 2.0**-50
    assert metrics.auroc(scores, LABELS) == 0.75
    assert metrics.auroc(scores.astype(np.float32), LABELS) == 0.5


@any_metric
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_scores_are_refused(metric, scores, truth, bad) -> None:
    broken = scores.copy()
    broken.flat[1] = bad
    with pytest.raises(
        ValueError, match=r"(scores|scores_a|maps): expected finite values, got 1 NaN or infinite of"
    ):
        metric(broken, truth)


@any_metric
def test_scores_that_are_not_real_numbers_are_refused(metric, scores, truth) -> None:
    with pytest.raises(ValueError, match="expected real numbers, got dtype complex128"):
        metric(scores.astype(complex), truth)


@any_metric
@pytest.mark.parametrize(
    ("bad", "shown"), [(2, "2.0"), (-1, "-1.0"), (255, "255.0"), (0.5, "0.5"), (np.nan, "nan")]
)
def test_non_binary_truth_is_refused(metric, scores, truth, bad, shown) -> None:
    broken = truth.astype(float)
    broken.flat[0] = bad
    with pytest.raises(
        ValueError, match=rf"(labels|masks): expected only 0 \(normal\) and 1 .*got {shown}; binarise"
    ):
        metric(scores, broken)


@any_metric
def test_different_shapes_are_refused(metric, scores, truth) -> None:
    with pytest.raises(ValueError, match="expected equal shapes"):
        metric(scores, truth[:-1])


@any_metric
def test_wrong_axes_are_refused(metric, scores, truth) -> None:
    with pytest.raises(ValueError, match=r"(scores|scores_a|maps): expected \d axes"):
        metric(scores[None], truth)
    with pytest.raises(ValueError, match=r"(labels|masks): expected \d axes"):
        metric(scores, truth[None])


@any_metric
def test_empty_input_is_refused(metric, scores, truth) -> None:
    with pytest.raises(ValueError, match="expected at least one value"):
        metric(scores[:0], truth[:0])


@image_metric
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(metric, label) -> None:
    with pytest.raises(ValueError, match="labels: expected both classes"):
        metric(SCORES, np.full(4, label))


@pixel_metric
def test_masks_without_defects_are_refused(metric) -> None:
    with pytest.raises(ValueError, match=r"masks: expected at least one defect pixel .*got 2 empty masks"):
        metric(MAPS, np.zeros_like(MASKS))


@pixel_metric
def test_masks_without_normal_pixels_are_refused(metric) -> None:
    with pytest.raises(ValueError, match="masks: expected at least one normal pixel"):
        metric(MAPS, np.ones_like(MASKS))


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.01, 30, np.nan])
def test_limits_outside_the_unit_interval_are_refused(bad) -> None:
    with pytest.raises(ValueError, match=r"max_fpr: expected a fraction in \(0, 1\]"):
        metrics.aupro(MAPS, MASKS, max_fpr=bad)
    with pytest.raises(ValueError, match=r"max_fprs: expected a fraction in \(0, 1\]"):
        metrics.pixel_metrics(MAPS, MASKS, max_fprs=(0.3, bad))
    with pytest.raises(ValueError, match=r"tpr: expected a fraction in \(0, 1\]"):
        metrics.fpr_at_tpr(SCORES, LABELS, tpr=bad)


def test_nan_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold: expected a number, got nan"):
        metrics.precision_recall_f1(SCORES, LABELS, float("nan"))
