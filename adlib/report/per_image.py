"""What the rows of images.csv add to the metrics: counts, paired tests, and how well weights find dirt."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from adlib.base.tables import read_csv
from adlib.config.workspace import Workspace
from adlib.evaluation.metrics import auroc, delong_test
from adlib.report.results import require

# (noise as written in images.csv, seed)
FitName = tuple[str, int]


@dataclass(frozen=True)
class FitImages:
    """The images of one fit.

    Attributes:
        test_ids: T ids.
        test_labels: `(T,)` bool, True for anomalous.
        test_scores: `(T,)`.
        train_labels: `(S,)` bool, True for an injected anomaly.
        weights: `(S,)` of the training images, or None where the method gives none.
        suspicion: `(S,)` of the training images, or None likewise.
    """

    test_ids: tuple[str, ...]
    test_labels: np.ndarray
    test_scores: np.ndarray
    train_labels: np.ndarray
    weights: np.ndarray | None
    suspicion: np.ndarray | None


def read_rows(workspace: Workspace, category: str, method: str) -> list[dict[str, str]]:
    """The rows of images.csv of a category and method."""
    return read_csv(require(workspace.evaluation(category, method) / "images.csv"))


def by_fit(rows: Iterable[dict[str, str]]) -> dict[FitName, FitImages]:
    """The images of every fit, from rows of images.csv."""
    fits: dict[FitName, dict[str, list[dict[str, str]]]] = defaultdict(lambda: {"test": [], "train": []})
    for row in rows:
        fits[row["noise"], int(row["seed"])][row["split"]].append(row)
    return {name: _fit(rows["test"], rows["train"]) for name, rows in fits.items()}


def _fit(test: list[dict[str, str]], train: list[dict[str, str]]) -> FitImages:
    def column(name: str) -> np.ndarray | None:
        return np.array([float(row[name]) for row in train]) if all(row[name] for row in train) else None

    return FitImages(
        tuple(row["id"] for row in test),
        np.array([row["label"] == "1" for row in test], dtype=bool),
        np.array([float(row["score"]) for row in test]),
        np.array([row["label"] == "1" for row in train], dtype=bool),
        column("weight"),
        column("suspicion"),
    )


@dataclass(frozen=True)
class WeightSummary:
    """How a method treats injected anomalies, mean over fits.

    `found` is the probability that a random injected image weighs less than a random clean one (the AUROC of
    `1 - w`); `ranked`, that it is the more suspect of the two.
    """

    injected: int
    clean: int
    injected_weight: float
    clean_weight: float
    found: float
    ranked: float


def summarise_weights(fits: list[FitImages]) -> WeightSummary | None:
    """The summary over the fits of one noise level, or None without weights or without injected images."""
    dirty = [
        (fit.train_labels, fit.weights, fit.suspicion)
        for fit in fits
        if fit.weights is not None and fit.suspicion is not None and fit.train_labels.any()
    ]
    if not dirty:
        return None
    labels = dirty[0][0]
    return WeightSummary(
        int(labels.sum()),
        int((~labels).sum()),
        float(np.mean([np.median(w[labels]) for labels, w, _ in dirty])),
        float(np.mean([np.median(w[~labels]) for labels, w, _ in dirty])),
        float(np.mean([auroc(-w, labels) for labels, w, _ in dirty])),
        float(np.mean([auroc(s, labels) for labels, _, s in dirty])),
    )


@dataclass(frozen=True)
class PairedTest:
    """A difference in AUROC between two methods on the same test images, and its standard error."""

    difference: float
    standard_error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, from the normal distribution."""
        half = 1.96 * self.standard_error
        return self.difference - half, self.difference + half

    @property
    def p_value(self) -> float:
        """Two-sided, for the hypothesis of equal AUROC."""
        if self.standard_error == 0:
            return 1.0 if self.difference == 0 else 0.0
        return math.erfc(abs(self.difference) / self.standard_error / math.sqrt(2))


def paired_test(a: FitImages, b: FitImages) -> PairedTest | None:
    """DeLong's test of one category; None where a class has fewer than two test images."""
    counts = int(a.test_labels.sum()), int((~a.test_labels).sum())
    if a.test_ids != b.test_ids or min(counts) < 2:
        return None
    result = delong_test(a.test_scores, b.test_scores, a.test_labels)
    return PairedTest(result.difference, result.standard_error)


def mean_test(tests: Sequence[PairedTest]) -> PairedTest:
    """The mean difference over categories; they share no image, so the variances add."""
    C = len(tests)
    variance = sum(test.standard_error**2 for test in tests)
    return PairedTest(sum(test.difference for test in tests) / C, math.sqrt(variance) / C)
