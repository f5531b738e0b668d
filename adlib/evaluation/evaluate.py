"""Stage `evaluate`: raw scores meet the sealed labels; nothing learned here flows back into training."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adlib.base.files import atomic_directory, write_json
from adlib.base.progress import say
from adlib.base.tables import write_csv
from adlib.config.params import Params
from adlib.config.workspace import FetchedFiles
from adlib.data.images import image_size, read_mask, resize_mask
from adlib.data.leaks import check_disjoint, fair_test
from adlib.data.manifest import DataError, Label, Sample, read_labels, read_manifest
from adlib.data.source import read_source
from adlib.data.splits import TrainingSet, read_splits
from adlib.evaluation.gallery import make_gallery, reference_fit
from adlib.evaluation.maps import pixel_maps
from adlib.evaluation.metrics import (
    auroc,
    binomial_interval,
    fpr_at_tpr,
    image_metrics,
    pixel_metrics,
    precision_recall_f1,
)
from adlib.fits.files import FitScores, load_scores, with_maps
from adlib.fits.threshold import Threshold, exceeds

IMAGE_COLUMNS = ("noise", "seed", "id", "path", "split", "label", "defect", "score", "weight", "suspicion")
DEFECT_COLUMNS = ("noise", "seed", "defect", "images", "image_auroc", "image_recall")


@dataclass(frozen=True)
class TestSet:
    """The labelled test images of a category, in the order of a fit's scores.

    Attributes:
        labels: `(T,)` bool, True for anomalous.
        defects: `(T,)` kinds of defect as text.
        masks: `(T, size, size)` bool, or None for a category without masks.
        vanished: how many defects are so small that no pixel of them survives the resize.
    """

    labels: np.ndarray
    defects: np.ndarray
    masks: np.ndarray | None
    vanished: int

    @property
    def ranked(self) -> bool:
        """Whether there are normal images too; without them no image metric is defined, but pixel metrics."""
        return not self.labels.all()


def evaluate(
    params: Params,
    category: str,
    fetched: FetchedFiles,
    splits: Path,
    fits: Path,
    out: Path,
    maps: Path | None = None,
) -> None:
    """Measure every fit of one category and method; `maps` is where those of a flow lie.

    Writes `metrics.json` (a list of noise, seed, metric, value; what each threshold promised and met),
    `images.csv` (one row per image and fit), `defects.csv` (one row per kind of defect and fit) and
    `gallery.json` (examples for the report).
    """
    samples = {sample.id: sample for sample in read_manifest(fetched.manifest)}
    labels = read_labels(fetched.labels)
    root = read_source(fetched.source).folder
    plan = read_splits(splits)
    test = load_test_set(plan.test, samples, labels, root, params.image_size, params.keep_aspect)
    if test.vanished:
        say(f"{category}: {test.vanished} masks vanish at {params.image_size} px; their images still count")
    # What the fits used, not what they were told to.
    fair, paths = fair_test(plan, labels), {id: sample.path for id, sample in samples.items()}
    shown = reference_fit(plan.training_sets)
    measured, thresholds, rows, defects = [], [], [], []
    with atomic_directory(out) as temporary:
        for training_set in plan.training_sets:
            # One frame for all methods, whatever size their networks see.
            scores = replace(load_scores(fits / training_set.name), image_size=params.image_size)
            if maps is not None:
                scores = with_maps(scores, maps / training_set.name)
            if (scores.test, scores.calibration) != (plan.test, training_set.calibration):
                raise DataError(f"{fits / training_set.name}: scores of other images; rerun the train stage")
            check_disjoint({"test": fair, "training": scores.train, "calibration": scores.calibration}, paths)
            fit = {"noise": training_set.noise, "seed": training_set.seed}
            measured.extend(
                fit | {"metric": metric, "value": value} for metric, value in measure(scores, test).items()
            )
            if test.ranked and scores.threshold is not None:
                thresholds.append(fit | threshold_met(scores.threshold, scores.image, test.labels))
            defects.extend(defect_rows(training_set, scores, test))
            rows.extend(image_rows(training_set, scores, samples, labels))
            if training_set is shown:
                frame = {"root": root, "keep_aspect": params.keep_aspect}
                examples = make_gallery(scores, samples, labels, masks=test.masks, **frame)
                write_json(temporary / "gallery.json", fit | examples)
        found = {"features_key": scores.features_key, "weights_sha256": scores.weights_sha256}
        write_json(
            temporary / "metrics.json",
            {"vanished_masks": test.vanished, **found, "thresholds": thresholds, "metrics": measured},
        )
        write_csv(temporary / "defects.csv", DEFECT_COLUMNS, defects)
        write_csv(temporary / "images.csv", IMAGE_COLUMNS, rows)


def load_test_set(
    ids: Sequence[str],
    samples: dict[str, Sample],
    labels: dict[str, Label],
    root: Path,
    size: int,
    keep_aspect: bool,
) -> TestSet:
    """Labels and masks of the test images; masks follow the images into the square frame.

    Raises:
        DataError: all test images are normal, or all are anomalous and without masks: nothing can be ranked.
    """
    anomalous = np.array([labels[id].anomalous for id in ids])
    masked = any(labels[id].mask for id in ids)
    if not anomalous.any() or (anomalous.all() and not masked):
        kind = "anomalous, and without masks" if anomalous.all() else "normal"
        raise DataError(f"the test set's {len(ids)} images are all {kind}; both kinds are needed")
    defects = np.array([labels[id].defect for id in ids])
    if not masked:
        return TestSet(anomalous, defects, None, 0)
    masks = np.zeros((len(ids), size, size), dtype=bool)
    for mask, id in zip(masks, ids, strict=True):
        if labels[id].mask:
            native = read_mask(root / labels[id].mask, image_size(root / samples[id].path))
            mask[:] = resize_mask(native, size, keep_aspect)
    return TestSet(anomalous, defects, masks, int((anomalous & ~masks.any((1, 2))).sum()))


def measure(scores: FitScores, test: TestSet) -> dict[str, float]:
    """Image metrics, those at a threshold if there is one, and pixel metrics where masks and maps are."""
    found: dict[str, float] = {}
    if test.ranked:
        found |= image_metrics(scores.image, test.labels)
        found["image_fpr95"] = fpr_at_tpr(scores.image, test.labels, 0.95)
    if test.ranked and scores.threshold is not None:
        flagged = exceeds(scores.image, scores.threshold.threshold)
        precision, recall, f1 = precision_recall_f1(flagged, test.labels, 1)
        found |= {"image_precision": precision, "image_recall": recall, "image_f1": f1}
        found["image_fpr"] = float(flagged[~test.labels].mean())
    if test.masks is not None and scores.grid is not None:
        maps = pixel_maps(scores.patch, scores.grid, scores.image_size)
        found |= pixel_metrics(maps, test.masks)
    return found


def threshold_met(threshold: Threshold, scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What a threshold promised and what the test images say: counts, and the false-alarm rate's interval."""
    flagged = exceeds(scores, threshold.threshold)
    counts = {
        "true_positives": int((flagged & labels).sum()),
        "false_positives": int((flagged & ~labels).sum()),
        "false_negatives": int((~flagged & labels).sum()),
        "true_negatives": int((~flagged & ~labels).sum()),
    }
    interval = binomial_interval(counts["false_positives"], int((~labels).sum()))
    return asdict(threshold) | counts | {"fpr_interval_95": interval}


def defect_rows(training_set: TrainingSet, scores: FitScores, test: TestSet) -> list[list[str]]:
    """One row a kind of defect: its images against all normal ones, and the share of them that is flagged."""
    if not test.ranked:
        return []
    rows = []
    for defect in sorted(set(test.defects[test.labels])):
        own = test.defects == defect
        kept = own | ~test.labels
        recall = ""
        if scores.threshold is not None:
            recall = f"{exceeds(scores.image[own], scores.threshold.threshold).mean():.6g}"
        rows.append([
            f"{training_set.noise:g}", str(training_set.seed), str(defect), str(int(own.sum())),
            f"{auroc(scores.image[kept], own[kept]):.6g}", recall,
        ])  # fmt: skip
    return rows


def image_rows(
    training_set: TrainingSet, scores: FitScores, samples: dict[str, Sample], labels: dict[str, Label]
) -> list[list[str]]:
    """One row an image: the test images with their scores, the training images with their weights."""
    rows: list[list[str]] = []

    def add(id: str, split: str, *numbers: str) -> None:
        label = labels[id]
        rows.append([
            f"{training_set.noise:g}", str(training_set.seed), id, samples[id].path, split,
            str(int(label.anomalous)), label.defect, *numbers,
        ])  # fmt: skip

    for id, score in zip(scores.test, scores.image, strict=True):
        add(id, "test", f"{score:.6g}", "", "")
    for i, id in enumerate(scores.train):
        about = (scores.train_score, scores.weight, scores.suspicion)
        add(id, "train", *("" if column is None else f"{column[i]:.6g}" for column in about))
    return rows
