"""What a user lives with once a model runs: the threshold, what it promised and met, defects, look-alikes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from adlib.base.files import read_json
from adlib.base.tables import read_csv
from adlib.config.workspace import Workspace
from adlib.report.results import Results, noise_key, require


@dataclass(frozen=True)
class Operating:
    """A row of the table on thresholds: counts summed over seeds, the interval of the first seed."""

    category: str
    method: str
    noise: float
    promised: float
    threshold: float
    false_positives: int
    normals: int
    interval: tuple[float, float]
    true_positives: int
    anomalies: int


def operating_rows(results: Results, workspace: Workspace) -> list[Operating]:
    """Every method's threshold at the lowest and the highest noise level; [] without calibration images."""
    rows = []
    ends = dict.fromkeys((min(results.levels), max(results.levels)))
    for category, method, level in product(results.categories, results.methods, ends):
        found = read_json(require(workspace.evaluation(category, method) / "metrics.json"))["thresholds"]
        at = [fit for fit in found if noise_key(fit["noise"]) == noise_key(level)]
        fits = [fit for fit in at if fit["seed"] in results.seeds]
        if fits:
            rows.append(_operating(category, method, level, fits))
    return rows


def _operating(category: str, method: str, level: float, fits: Sequence[dict[str, Any]]) -> Operating:
    def total(*kinds: str) -> int:
        return sum(fit[kind] for fit in fits for kind in kinds)

    return Operating(
        category,
        method,
        level,
        fits[0]["promised"],
        fits[0]["threshold"],
        total("false_positives"),
        total("false_positives", "true_negatives"),
        (fits[0]["fpr_interval_95"][0], fits[0]["fpr_interval_95"][1]),
        total("true_positives"),
        total("true_positives", "false_negatives"),
    )


@dataclass(frozen=True)
class Defect:
    """A row of the table on kinds of defect: AUROC against all normal images, by method, mean over seeds."""

    category: str
    defect: str
    images: int
    auroc: dict[str, float]


def defect_rows(results: Results, workspace: Workspace) -> list[Defect]:
    """Kinds of defect at the highest noise level, for categories that have several."""
    level = noise_key(max(results.levels))
    rows = []
    for category in results.categories:
        values: dict[str, dict[str, list[float]]] = {}
        images: dict[str, int] = {}
        for method in results.methods:
            for row in read_csv(require(workspace.evaluation(category, method) / "defects.csv")):
                if row["noise"] == level and int(row["seed"]) in results.seeds:
                    found = values.setdefault(row["defect"], {})
                    found.setdefault(method, []).append(float(row["image_auroc"]))
                    images[row["defect"]] = int(row["images"])
        if len(values) > 1:
            rows += [
                Defect(category, defect, images[defect], {m: float(np.mean(v)) for m, v in found.items()})
                for defect, found in sorted(values.items())
            ]
    return rows


def lookalikes(results: Results, workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """Pairs of images that look alike across the split, by category, the most similar first."""
    found = {c: read_json(require(workspace.lookalikes(c)))["pairs"] for c in results.categories}
    return {c: sorted(pairs, key=lambda pair: pair["distance"]) for c, pairs in found.items() if pairs}
