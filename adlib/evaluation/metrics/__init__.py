"""Exact detection and segmentation metrics: every distinct score is a threshold, nothing is binned."""

from adlib.evaluation.metrics.detection import (
    auroc,
    average_precision,
    f1_max,
    fpr_at_tpr,
    image_metrics,
    precision_recall_f1,
)
from adlib.evaluation.metrics.intervals import (
    DelongResult,
    binomial_interval,
    bootstrap_interval,
    delong_test,
)
from adlib.evaluation.metrics.segmentation import aupro, pixel_metrics

__all__ = [
    "DelongResult",
    "aupro",
    "auroc",
    "average_precision",
    "binomial_interval",
    "bootstrap_interval",
    "delong_test",
    "f1_max",
    "fpr_at_tpr",
    "image_metrics",
    "pixel_metrics",
    "precision_recall_f1",
]
