"""What evaluation writes beside ranking metrics: the operating point, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adlib.base.files import read_json
from adlib.config.params import Params
from adlib.config.workspace import FetchedFiles
from adlib.data.manifest import Label, Sample, write_rows
from adlib.data.source import Source, write_source
from adlib.data.splits import Splits, TrainingSet, write_splits
from adlib.evaluation import evaluate as evaluation
from adlib.evaluation.evaluate import defect_rows, measure, threshold_met
from adlib.evaluation.metrics import binomial_interval
from adlib.fits.files import FitScores
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
    found = measure(fit(), evaluation.TestSet(LABELS, DEFECTS, None, 0))
    assert (found["image_precision"], found["image_recall"], found["image_f1"]) == (0.75, 0.75, 0.75)
    assert found["image_fpr"] == 0.25
    assert found["image_fpr95"] == 0.5, "all four anomalies need .4, which .5 and .6 exceed"


def test_without_a_threshold_there_is_no_operating_point():
    found = measure(fit(None), evaluation.TestSet(LABELS, DEFECTS, None, 0))
    assert set(found) == {"image_auroc", "image_ap", "image_f1max", "image_fpr95"}
    assert [row[-1] for row in defect_rows(SET, fit(None), evaluation.TestSet(LABELS, DEFECTS, None, 0))] == [
        "",
        "",
    ]


def test_every_pixel_metric_where_there_are_masks():
    masks = np.zeros((8, 32, 32), dtype=bool)
    masks[4:, :4, :4] = True
    found = measure(fit(), evaluation.TestSet(LABELS, DEFECTS, masks, 0))
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
    rows = defect_rows(SET, fit(), evaluation.TestSet(LABELS, DEFECTS, None, 0))
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
    found = measure(replace(fit(), grid=None), evaluation.TestSet(LABELS, DEFECTS, masks, 0))
    assert all(name.startswith("image") for name in found)


def test_maps_are_measured_in_the_frame_of_the_masks(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Networks see different sizes; all are compared at `image_size`."""
    samples = [Sample(id, f"{id}.png", "test") for id in "abcdefgh"]
    labels = [Label(id, "cut" if bad else "good", "", "") for id, bad in zip("abcdefgh", LABELS, strict=True)]
    write_rows(tmp_path / "manifest.csv", samples, Sample)
    write_rows(tmp_path / "labels.csv", labels, Label)
    write_splits(tmp_path / "splits.json", Splits(tuple("abcdefgh"), True, (SET,)))
    masks = np.zeros((8, 64, 64), dtype=bool)
    masks[4:, :8, :8] = True
    seen: list[int] = []
    shown = evaluation.TestSet(LABELS, DEFECTS, masks, 0)
    monkeypatch.setattr(evaluation, "load_scores", lambda _: replace(fit(), train=()))
    monkeypatch.setattr(evaluation, "load_test_set", lambda *_: shown)
    monkeypatch.setattr(evaluation, "write_gallery", lambda *a, **k: seen.append(a[2].image_size))
    params = params.model_copy(update={"image_size": 64})
    write_source(tmp_path / "source.json", Source(str(tmp_path)))
    outputs = {"fetched": FetchedFiles(tmp_path), "splits": tmp_path / "splits.json", "fits": tmp_path}
    evaluation.evaluate(params, "c", **outputs, out=tmp_path / "out")
    measured = {row["metric"] for row in read_json(tmp_path / "out" / "metrics.json")["metrics"]}
    assert "pixel_auroc" in measured
    assert seen == [64], "the fit's own frame was 32"
