"""The papers' numbers for the same dataset and category, to stand beside ours."""

from dataclasses import dataclass

import numpy as np

from adlib.reference import PAPERS, PaperResult, paper_results
from adlib.report.results import METRIC_NAMES, Results

PROTOCOL = "full-shot"  # of the methods that train on the target's own images


@dataclass(frozen=True)
class Reported:
    """A metric of a category, in percent; a paper's number that contradicts the paper itself ends in `?`."""

    category: str
    metric: str
    ours: dict[str, str]
    papers: dict[str, str]


def reported_rows(results: Results) -> list[Reported]:
    """Ours (lowest noise, mean over seeds) and the papers' for every category and metric that a paper has."""
    mean = results.mean[:, :, results.levels.index(min(results.levels))]
    rows = []
    for c, category in enumerate(results.categories):
        for k, metric in enumerate(results.metrics):
            found = paper_results(
                dataset=results.dataset, category=category, metric=metric, setting="", protocol=PROTOCOL
            )
            if found:
                values = zip(results.methods, mean[c, :, k], strict=True)
                ours = {method: f"{100 * v:.1f}" for method, v in values if not np.isnan(v)}
                papers = {f"{one.method}, {PAPERS[one.paper]}": _percent(one) for one in found}
                rows.append(Reported(category, METRIC_NAMES.get(metric, metric), ours, papers))
    return rows


def _percent(result: PaperResult) -> str:
    return f"{result.percent:.1f}" + ("?" if result.note.startswith("doubtful") else "")
