"""The papers' numbers for the same dataset, category and protocol, to stand beside ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from adlib.config import Params, split_variant
from adlib.data.catalogue import catalogue
from adlib.reference import PAPERS, PaperResult, paper_results
from adlib.report.results import METRIC_NAMES, Results

NO_MASKS = "no masks"
AVERAGE = "average"  # over a dataset's categories, in the papers' tables


@dataclass(frozen=True)
class Reported:
    """A metric of a category, in percent; a paper's number that contradicts the paper itself ends in `?`."""

    category: str
    protocol: str
    metric: str
    ours: dict[str, str]
    papers: dict[str, str]


def protocols(params: Params) -> dict[str, str]:
    """What each method of a run was trained on and shown, in the papers' words (see `adlib.reference`)."""
    auxiliary = (*params.methods.auxiliary, *params.methods.clip)

    def protocol(method: str, shots: int) -> str:
        if shots:
            return f"{shots}-shot"
        zero_shot = f"zero-shot {params.auxiliary.name}"
        if "/" in method:
            return f"transductive {zero_shot}"
        return zero_shot if method in auxiliary else "full-shot"

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
        for k, metric in enumerate(results.metrics):
            found = paper_results(
                dataset=results.dataset, category=category, metric=metric, setting="", protocol=protocol
            )
            values = zip(results.methods, mean[:, k], strict=True)
            ours = {m: f"{100 * v:.1f}" for m, v in values if protocols[m] == protocol and not np.isnan(v)}
            if found and ours:
                papers = {f"{one.method}, {PAPERS[one.paper]}": _percent(one) for one in found}
                yield Reported(category, protocol, METRIC_NAMES.get(metric, metric), ours, papers)


def _percent(result: PaperResult) -> str:
    unseen = f" ({NO_MASKS} published)" if result.note.startswith(NO_MASKS) else ""
    spread = "" if result.spread is None else f" ± {result.spread:.1f}"
    return f"{result.percent:.1f}{spread}" + ("?" if result.note.startswith("doubtful") else "") + unseen
