"""Stage `evaluate`: raw scores meet the sealed labels; nothing learned here flows back into training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adlib.config import Params
from adlib.data.contaminate import TrainingSet, read_splits
from adlib.data.images import image_size, read_mask, resize_mask
from adlib.data.layouts import dataset_root
from adlib.data.manifest import DataError, Label, Sample, read_labels, read_manifest
from adlib.fits import FitScores, load_scores
from adlib.io import atomic_directory, write_csv, write_json
from adlib.metrics import image_metrics, pixel_metrics
from adlib.progress import say
from adlib.report.gallery import reference_fit, write_gallery
from adlib.scoring import pixel_maps

IMAGE_COLUMNS = ("noise", "seed", "id", "path", "split", "label", "defect", "score", "weight", "suspicion")
PIXEL_METRICS = ("pixel_auroc", "aupro_0.3")


@dataclass(frozen=True)
class TestSet:
    """The labelled test images of a category, in the order of a fit's scores.

    Attributes:
        labels: `(T,)` bool, True for anomalous.
        masks: `(T, size, size)` bool, or None for a category without masks.
        vanished: how many defects are so small that no pixel of them survives the resize.
    """

    labels: np.ndarray
    masks: np.ndarray | None
    vanished: int


def evaluate(params: Params, category: str, fetched: Path, splits: Path, fits: Path, out: Path) -> None:
    """Measure every fit of one category and method.

    Writes `metrics.json` (a list of noise, seed, metric, value), `images.csv` (a row an image and fit) and
    `gallery.json` (examples for the report).
    """
    samples = {sample.id: sample for sample in read_manifest(fetched / "manifest.csv")}
    labels = read_labels(fetched / "labels.csv")
    root = dataset_root(params.dataset.name, params.dataset.root, params.dataset.version)
    plan = read_splits(splits)
    test = load_test_set(plan.test, samples, labels, root, params.image_size, params.keep_aspect)
    if test.vanished:
        say(f"{category}: {test.vanished} masks vanish at {params.image_size} px; their images still count")
    shown = reference_fit(plan.training_sets)
    measured, rows = [], []
    with atomic_directory(out) as temporary:
        for training_set in plan.training_sets:
            scores = load_scores(fits / training_set.name)
            if scores.test != plan.test:
                raise DataError(f"{fits / training_set.name}: scores of other images; rerun the train stage")
            for metric, value in measure(scores, test).items():
                measured.append(
                    {"noise": training_set.noise, "seed": training_set.seed, "metric": metric, "value": value}
                )
            rows.extend(image_rows(training_set, scores, samples, labels))
            if training_set is shown:
                write_gallery(
                    temporary / "gallery.json",
                    training_set,
                    scores,
                    samples=samples,
                    labels=labels,
                    masks=test.masks,
                    root=root,
                    keep_aspect=params.keep_aspect,
                )
        found = {"features_key": scores.features_key, "weights_sha256": scores.weights_sha256}
        write_json(
            temporary / "metrics.json", {"vanished_masks": test.vanished, **found, "metrics": measured}
        )
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
        DataError: all test images have one label, so that no ranking metric is defined.
    """
    anomalous = np.array([labels[id].anomalous for id in ids])
    if anomalous.all() or not anomalous.any():
        kind = "anomalous" if anomalous.all() else "normal"
        raise DataError(f"the test set's {len(ids)} images are all {kind}; both kinds are needed")
    if not any(labels[id].mask for id in ids):
        return TestSet(anomalous, None, 0)
    masks = np.zeros((len(ids), size, size), dtype=bool)
    for mask, id in zip(masks, ids, strict=True):
        if labels[id].mask:
            native = read_mask(root / labels[id].mask, image_size(root / samples[id].path))
            mask[:] = resize_mask(native, size, keep_aspect)
    return TestSet(anomalous, masks, int((anomalous & ~masks.any((1, 2))).sum()))


def measure(scores: FitScores, test: TestSet) -> dict[str, float]:
    """Image metrics, and pixel metrics where the category has masks and the method maps."""
    found = image_metrics(scores.image, test.labels)
    if test.masks is not None and scores.grid is not None:
        maps = pixel_maps(scores.patch, scores.grid, scores.image_size)
        found |= {k: v for k, v in pixel_metrics(maps, test.masks, (0.3,)).items() if k in PIXEL_METRICS}
    return found


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
