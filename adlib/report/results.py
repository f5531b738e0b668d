"""The numbers of a report: one array with an axis each for category, method, noise level, seed and metric."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adlib.base.errors import UserError
from adlib.base.files import read_json, write_json
from adlib.base.tables import write_csv
from adlib.config.params import Params
from adlib.config.variants import split_variant
from adlib.config.workspace import Workspace

HEADER = ("dataset", "category", "method", "noise", "seed", "metric", "value")
FEW_SHOT_HEADER = ("dataset", "category", "method", "shots", "noise", "seed", "metric", "value")

# In the order of the tables; a metric that is not named here follows in alphabetical order.
METRIC_NAMES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1max": "image F1-max",
    "image_fpr95": "FPR at 95 % TPR",
    "image_precision": "precision",
    "image_recall": "recall",
    "image_f1": "F1",
    "image_fpr": "false alarms",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1max": "pixel F1-max",
    "aupro_0.3": "AUPRO 0.3",
    "aupro_0.05": "AUPRO 0.05",
}
LEADING = "image_auroc"
LOWER_IS_BETTER = ("image_fpr95", "image_fpr")


@dataclass(frozen=True)
class Results:
    """Metrics of every configured fit.

    Attributes:
        dataset: its name.
        categories: names along axis C.
        methods: names along axis M.
        levels: noise levels along axis L, fractions in [0, 1), as in params.yaml.
        seeds: along axis S.
        metrics: names along axis K.
        values: `(C, M, L, S, K)` float64; NaN where a category has no such metric (no masks).
    """

    dataset: str
    categories: tuple[str, ...]
    methods: tuple[str, ...]
    levels: tuple[float, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    values: np.ndarray

    @property
    def leading(self) -> str:
        """The metric that ranks the methods: pixel AUROC where no category has normal test images."""
        return LEADING if LEADING in self.metrics else "pixel_auroc"

    @property
    def mean(self) -> np.ndarray:
        """`(C, M, L, K)`: mean over seeds."""
        return self.values.mean(axis=3)

    @property
    def spread(self) -> np.ndarray | None:
        """`(C, M, L, K)`: standard deviation over seeds (n - 1), or None with a single seed."""
        return self.values.std(axis=3, ddof=1) if len(self.seeds) > 1 else None

    def over_categories(self) -> "Results":
        """The mean over the categories that have the metric, seed by seed, as one category."""
        present = ~np.isnan(self.values)
        count = present.sum(axis=0, keepdims=True)
        total = np.where(present, self.values, 0).sum(axis=0, keepdims=True)
        mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return replace(self, categories=(f"Mean over {len(self.categories)} categories",), values=mean)

    @property
    def few_shot(self) -> bool:
        """Whether any method sees normal images of the target."""
        return any(split_variant(name)[1] for name in self.methods)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Rows of results.csv, in the order of params.yaml; with the shots where any method has some."""
        for (c, m, n, s, k), value in np.ndenumerate(self.values):
            if not np.isnan(value):
                method, shots = split_variant(self.methods[m])
                yield (
                    self.dataset, self.categories[c], method, *([str(shots)] if self.few_shot else []),
                    noise_key(self.levels[n]), str(self.seeds[s]), self.metrics[k], f"{value:.6f}",
                )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """method -> category -> noise -> metric -> mean over seeds, rounded to 6 decimals."""
        mean = self.mean
        return {
            method: {
                category: {
                    noise_key(level): {
                        metric: round(float(mean[c, m, n, k]), 6)
                        for k, metric in enumerate(self.metrics)
                        if not np.isnan(mean[c, m, n, k])
                    }
                    for n, level in enumerate(self.levels)
                }
                for c, category in enumerate(self.categories)
            }
            for m, method in enumerate(self.methods)
        }


def noise_key(level: float) -> str:
    """A noise level as text: `0.1`."""
    return f"{level:g}"


def read_results(params: Params, workspace: Workspace) -> Results:
    """Collect the evaluations that params.yaml names; whatever else lies in `outputs` is not looked at.

    Raises:
        UserError: an evaluation, or a level and seed of one, is missing.
    """
    categories, methods = params.dataset.categories, params.methods.names
    levels, seeds = params.noise.levels, params.seeds
    fits = {
        (c, m): _read_fits(workspace, category, method)
        for c, category in enumerate(categories)
        for m, method in enumerate(methods)
    }
    found = {metric for cell in fits.values() for fit in cell.values() for metric in fit}
    metrics = (*(k for k in METRIC_NAMES if k in found), *sorted(found - METRIC_NAMES.keys()))
    shape = (len(categories), len(methods), len(levels), len(seeds), len(metrics))
    values = np.full(shape, np.nan)
    for c, m, n, s in np.ndindex(shape[:-1]):
        fit = fits[c, m].get((noise_key(levels[n]), seeds[s]))
        if fit is None:
            raise UserError(
                f"{workspace.evaluation(categories[c], methods[m]) / 'metrics.json'}: nothing at noise "
                f"{noise_key(levels[n])}, seed {seeds[s]}, which params.yaml names; run `dvc repro`"
            )
        values[c, m, n, s] = [fit.get(metric, np.nan) for metric in metrics]
    return Results(params.dataset.name, categories, methods, levels, seeds, metrics, values)


def require(path: Path) -> Path:
    """`path`, if it is there.

    Raises:
        UserError: it is missing.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; it is made by an earlier stage, run `dvc repro`")
    return path


def _read_fits(workspace: Workspace, category: str, method: str) -> dict[tuple[str, int], dict[str, float]]:
    """`{(noise, seed): {metric: value}}` of a category and method."""
    fits: dict[tuple[str, int], dict[str, float]] = {}
    for entry in read_json(require(workspace.evaluation(category, method) / "metrics.json"))["metrics"]:
        fit = fits.setdefault((noise_key(entry["noise"]), entry["seed"]), {})
        fit[entry["metric"]] = entry["value"]
    return fits


def write_results(folder: Path, results: Results) -> None:
    """Write `results.csv` and `summary.json`: the same numbers give the same bytes on every machine."""
    write_csv(folder / "results.csv", FEW_SHOT_HEADER if results.few_shot else HEADER, results.rows())
    write_json(folder / "summary.json", results.summary())
