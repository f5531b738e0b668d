"""The papers' numbers for the same dataset and category, to stand beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adlib.config import Params
from adlib.reference import PAPERS, PaperResult, paper_results
from adlib.report.results import METRIC_NAMES, Results

NO_MASKS = "no masks"


@dataclass(frozen=True)
class Reported:
    """A metric of a category, in percent; a paper's number that contradicts the paper itself ends in `?`."""

    category: str
    metric: str
    ours: dict[str, str]
    papers: dict[str, str]


def reported_rows(results: Results, params: Params) -> list[Reported]:
    """Ours (lowest noise, mean over seeds) and the papers': full-shot methods first, then zero-shot ones."""
    zero_shot = {*params.methods.auxiliary, *params.methods.clip}
    full_shot = [m for m, name in enumerate(results.methods) if name.partition("/")[0] not in zero_shot]
    inductive = [m for m, name in enumerate(results.methods) if name in zero_shot]
    return _full_shot_rows(results, full_shot) + _zero_shot_rows(results, inductive, params.auxiliary.name)


def _full_shot_rows(results: Results, methods: Sequence[int]) -> list[Reported]:
    """Every category and metric that a paper has."""
    mean = results.mean[:, :, results.levels.index(min(results.levels))]
    rows = []
    for c, category in enumerate(results.categories):
        for k, metric in enumerate(results.metrics):
            found = paper_results(
                dataset=results.dataset, category=category, metric=metric, setting="", protocol="full-shot"
            )
            if found:
                measured = {results.methods[m]: mean[c, m, k] for m in methods}
                ours = {name: f"{100 * v:.1f}" for name, v in measured.items() if not np.isnan(v)}
                rows.append(Reported(category, METRIC_NAMES.get(metric, metric), ours, _papers(found)))
    return rows


def _zero_shot_rows(results: Results, methods: Sequence[int], auxiliary: str) -> list[Reported]:
    """The means over a dataset's categories, as in CoZAD's Tables 1 and 2, for the same auxiliary set."""
    if not methods:
        return []
    protocol, level = f"zero-shot {auxiliary}", results.levels.index(min(results.levels))
    found = paper_results(dataset=results.dataset, category="average", setting="", protocol=protocol)
    mean = results.over_categories().mean[0, :, level]
    rows = []
    for metric in dict.fromkeys(one.metric for one in found):
        k = results.metrics.index(metric) if metric in results.metrics else None
        measured = {results.methods[m]: np.nan if k is None else mean[m, k] for m in methods}
        ours = {name: NO_MASKS if np.isnan(v) else f"{100 * v:.1f}" for name, v in measured.items()}
        papers = _papers([one for one in found if one.metric == metric])
        category = f"mean of {len(results.categories)}, {protocol}"
        rows.append(Reported(category, METRIC_NAMES.get(metric, metric), ours, papers))
    return rows


def _papers(found: Sequence[PaperResult]) -> dict[str, str]:
    return {f"{one.method}, {PAPERS[one.paper]}": _percent(one) for one in found}


def _percent(result: PaperResult) -> str:
    doubt = "?" if result.note.startswith("doubtful") else ""
    unseen = f" ({NO_MASKS} published)" if result.note.startswith(NO_MASKS) else ""
    return f"{result.percent:.1f}{doubt}{unseen}"
