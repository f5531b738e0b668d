"""What evaluation writes beside ranking metrics: the operating point, by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mvtec_tree import write_tree

from adlib.config.params import Params
from adlib.config.workspace import FetchedFiles
from adlib.data.manifest import Label, Sample, write_rows
from adlib.data.rows import FeatureInfo
from adlib.data.source import write_source
from adlib.data.splits import Splits, TrainingSet, write_splits
from adlib.datasets.fetch import fetch
from adlib.evaluation.evaluate import TestSet as LabelledSet
from adlib.evaluation.evaluate import defect_rows, evaluate, measure, threshold_met
from adlib.evaluation.metrics import binomial_interval
from adlib.fits.files import FitScores
from adlib.fits.folder import write_scores
from adlib.fits.threshold import Threshold

THRESHOLD = Threshold(0.5, 0.25, 3, 0, promised=0.25, smallest=0.25, upper_95=0.63)
SCORES = np.array([0.1, 0.5, 0.6, 0.2, 0.9, 0.4, 0.8, 0.7], dtype=np.float32)
LABELS = np.array([False] * 4 + [True] * 4)
DEFECTS = np.array(["good"] * 4 + ["cut", "cut", "hole", "hole"])
SET = TrainingSet(0.1, 3, ("x",), ("y",))


def fit(threshold: Threshold | None = THRESHOLD) -> FitScores:
    patch = np.zeros((8, 4), dtype=np.float32)
    ids = tuple("abcdefgh")
    return FitScores(
        ids, SCORES, patch, (2, 2), 32, "", "", ("x",), None, None, None, None, ("y",), None, threshold
    )


def test_metrics_at_the_threshold():
    """Flagged are .6 among the normals (.5 is on the threshold) and .9, .8, .7 among the anomalies."""
    found = measure(fit(), LabelledSet(LABELS, DEFECTS, None, 0))
    assert (found["image_precision"], found["image_recall"], found["image_f1"]) == (0.75, 0.75, 0.75)
    assert found["image_fpr"] == 0.25
    assert found["image_fpr95"] == 0.5, "all four anomalies need .4, which .5 and .6 exceed"


def test_without_a_threshold_there_is_no_operating_point():
    found = measure(fit(None), LabelledSet(LABELS, DEFECTS, None, 0))
    assert set(found) == {"image_auroc", "image_ap", "image_f1max", "image_fpr95"}
    assert [row[-1] for row in defect_rows(SET, fit(None), LabelledSet(LABELS, DEFECTS, None, 0))] == [
        "",
        "",
    ]


def test_every_pixel_metric_where_there_are_masks():
    masks = np.zeros((8, 32, 32), dtype=bool)
    masks[4:, :4, :4] = True
    found = measure(fit(), LabelledSet(LABELS, DEFECTS, masks, 0))
    pixel = {"pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_0.3", "aupro_0.05"}
    assert {name for name in found if not name.startswith("image")} == pixel


def test_counts_and_interval():
    met = threshold_met(THRESHOLD, SCORES, LABELS)
    counts = [
        met[f"{kind}s"] for kind in ("true_positive", "false_positive", "false_negative", "true_negative")
    ]
    assert counts == [3, 1, 1, 3]
    assert met["fpr_interval_95"] == pytest.approx((0.00631, 0.80588), abs=1e-5)
    assert (met["threshold"], met["promised"]) == (0.5, 0.25)


def test_a_row_a_kind_of_defect():
    """`cut` (.9, .4) beats 4 and 2 of the 4 normals, `hole` (.8, .7) all of them."""
    rows = defect_rows(SET, fit(), LabelledSet(LABELS, DEFECTS, None, 0))
    assert rows == [["0.1", "3", "cut", "2", "0.75", "0.5"], ["0.1", "3", "hole", "2", "1", "1"]]


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 10, 0.0, 0.30850), (10, 10, 0.69150, 1.0), (3, 100, 0.00623, 0.08518), (5, 10, 0.18709, 0.81291)],
)
def test_clopper_and_pearson_by_table(hits: int, total: int, low: float, high: float):
    assert binomial_interval(hits, total) == pytest.approx((low, high), abs=1e-5)


def test_the_interval_covers_its_level():
    """Exact: for every rate the probability that the interval holds it is at least 90 %."""
    from scipy.stats import binom

    for rate in (0.01, 0.2, 0.5, 0.93):
        hits = np.arange(21)
        inside = [low <= rate <= high for low, high in (binomial_interval(int(h), 20, 0.9) for h in hits)]
        assert binom.pmf(hits, 20, rate)[inside].sum() >= 0.9


@pytest.mark.parametrize(("hits", "total", "level"), [(1, 0, 0.9), (-1, 5, 0.9), (6, 5, 0.9), (1, 5, 1.0)])
def test_impossible_counts(hits: int, total: int, level: float):
    with pytest.raises(ValueError, match="expected"):
        binomial_interval(hits, total, level)


def test_pixel_metrics_need_maps():
    masks = np.zeros((8, 32, 32), dtype=bool)
    masks[4:, :4, :4] = True
    found = measure(replace(fit(), grid=None), LabelledSet(LABELS, DEFECTS, masks, 0))
    assert all(name.startswith("image") for name in found)


@pytest.mark.parametrize("frame", [16, 224])
def test_the_frame_that_a_network_saw_does_not_matter(params: Params, tmp_path: Path, frame: int):
    """Metrics and pictures of all methods are made at `image_size`, so their bytes are the same."""
    write_tree(tmp_path / "set", good=4, defects={"cut": 2, "hole": 2})
    dataset = {"name": "folder", "root": str(tmp_path / "set"), "categories": ("bottle",)}
    params = params.model_copy(
        update={"image_size": 64, "dataset": params.dataset.model_copy(update=dataset)}
    )
    fetched = fetch(params.dataset, "bottle")
    files = FetchedFiles(tmp_path)
    write_rows(files.manifest, fetched.samples, Sample)
    write_source(files.source, fetched.source)
    write_rows(files.labels, fetched.labels, Label)
    train, test = (tuple(s.id for s in fetched.samples if s.split == split) for split in ("train", "test"))
    training_set = TrainingSet(0.0, 0, train)
    write_splits(tmp_path / "splits.json", Splits(test, False, (training_set,)))
    patch = torch.rand((len(test), 4), generator=torch.Generator().manual_seed(0))
    written = []
    for size in (64, frame):
        fit = tmp_path / f"fits-{size}" / training_set.name
        fit.mkdir(parents=True)
        info = FeatureInfo(test, (2, 2), size, "0" * 64, "key")
        write_scores(fit, {"image": patch.amax(1), "patch": patch}, info, train, test, log=[])
        evaluate(params, "bottle", files, tmp_path / "splits.json", fit.parent, out := tmp_path / f"{size}")
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert written[0] == written[1]
    measured = {row["metric"] for row in json.loads(written[0]["metrics.json"])["metrics"]}
    assert {"image_auroc", "pixel_auroc", "aupro_0.3"} <= measured
    examples = json.loads(written[0]["gallery.json"])
    assert (examples["noise"], examples["seed"]) == (0.0, 0)
    assert examples["groups"]["hits"]
