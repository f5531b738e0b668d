"""Which metrics a fit is measured by."""

from dataclasses import replace

import numpy as np

from adlib import evaluation
from adlib.evaluation import measure
from adlib.fits import FitScores

PATCH = np.random.default_rng(0).random((4, 16)).astype(np.float32)
IMAGE = np.array([0.1, 0.4, 0.35, 0.8], dtype=np.float32)
SCORES = FitScores(
    ("a", "b", "c", "d"), IMAGE, PATCH, (4, 4), 32, "key", "sha", ("r",), None, None, None, None
)
LABELS = np.array([False, False, True, True])


def test_pixel_metrics_need_masks_and_maps():
    masks = np.zeros((4, 32, 32), dtype=bool)
    masks[2:, :8, :8] = True
    image = {"image_auroc", "image_ap", "image_f1max"}
    assert measure(SCORES, evaluation.TestSet(LABELS, masks, 0)).keys() == image | {
        "pixel_auroc",
        "aupro_0.3",
    }
    assert measure(SCORES, evaluation.TestSet(LABELS, None, 0)).keys() == image
    views = measure(replace(SCORES, grid=None), evaluation.TestSet(LABELS, masks, 0))
    assert views.keys() == image
    assert views["image_auroc"] == 0.75
