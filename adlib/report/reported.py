"""The papers' numbers for the same dataset, category and protocol, to stand beside ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from adlib.config.params import Params
from adlib.config.variants import TRANSDUCTIVE, split_variant
from adlib.datasets.catalogue import catalogue
from adlib.papers.tables import PAPERS, PaperResult, paper_results
from adlib.report.results import METRIC_NAMES, Results

AVERAGE = "average"  # over a dataset's categories, in the papers' tables
NO_MASKS = "no masks"


@dataclass(frozen=True)
class Reported:
    """A metric of a category, in percent; a paper's number that contradicts the paper itself ends in `?`."""

    category: str
    protocol: str
    metric: str
    ours: dict[str, str]
    papers: dict[str, str]


def protocols(params: Params) -> dict[str, str]:
    """What each method of a run was trained on and shown, in the papers' words (see `papers.tables`)."""
    auxiliary = (*params.methods.auxiliary, *params.methods.clip)

    def protocol(method: str, shots: int) -> str:
        if shots:
            return f"{shots}-shot"
        if method.endswith(TRANSDUCTIVE):
            return "transductive"  # no paper here is
        return f"zero-shot {params.auxiliary.name}" if method.partition("/")[0] in auxiliary else "full-shot"

    return {name: protocol(*split_variant(name)) for name in params.methods.names}


def reported_rows(results: Results, protocols: Mapping[str, str]) -> list[Reported]:
    """Ours (lowest noise, mean over seeds) and the papers' where a paper has such a number.

    A paper's average over a dataset stands beside ours where all of its categories were run.

    Args:
        results: every metric.
        protocols: what each method was trained on, by its name.
    """
    rows = [row for c, name in enumerate(results.categories) for row in _rows(results, c, name, protocols)]
    published = catalogue().get(results.dataset)
    if published and published.categories == len(results.categories):
        rows += _rows(results.over_categories(), 0, AVERAGE, protocols)
    return rows


def _rows(results: Results, c: int, category: str, protocols: Mapping[str, str]) -> Iterator[Reported]:
    """The rows of category number `c`, which the papers call `category`."""
    mean = results.mean[c, :, results.levels.index(min(results.levels))]
    for protocol in dict.fromkeys(protocols[method] for method in results.methods):
        found = paper_results(dataset=results.dataset, category=category, setting="", protocol=protocol)
        for metric in dict.fromkeys(one.metric for one in found):
            k = results.metrics.index(metric) if metric in results.metrics else None
            values = {
                method: np.nan if k is None else mean[m, k]
                for m, method in enumerate(results.methods)
                if protocols[method] == protocol
            }
            ours = {method: f"{100 * v:.1f}" for method, v in values.items() if not np.isnan(v)}
            if not ours and metric.startswith(("pixel", "aupro")):
                ours = dict.fromkeys(values, NO_MASKS)
            papers = {
                f"{one.method}, {PAPERS[one.paper]}": _percent(one) for one in found if one.metric == metric
            }
            if ours:
                yield Reported(category, protocol, METRIC_NAMES.get(metric, metric), ours, papers)


def _percent(result: PaperResult) -> str:
    spread = "" if result.spread is None else f" ± {result.spread:.1f}"
    doubt = "?" if result.note.startswith("doubtful") else ""
    unseen = f" ({NO_MASKS} published)" if result.note.startswith(NO_MASKS) else ""
    return f"{result.percent:.1f}{spread}{doubt}{unseen}"
