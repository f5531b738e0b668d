"""What an ablation measured, as a table: beside the paper's numbers, or as differences to one of its rows."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import product

import numpy as np

from adlib.config.params import Params
from adlib.evaluation.metrics.intervals import mean_interval
from adlib.tools.ablation import Ablation, Measured

NOT_MEASURED = "not measured here"
SECONDS = "fit_seconds"
COMPARED = ("image_auroc", "pixel_auroc", "aupro_0.3")


def table(
    ablation: Ablation, measured: Sequence[Measured], params: Params
) -> tuple[list[str], list[list[str]]]:
    """Header and rows: `comparison` for a table of a paper, `differences` for one of ours."""
    return (comparison if ablation.paper else differences)(ablation, measured, params)


def comparison(
    ablation: Ablation, measured: Sequence[Measured], params: Params
) -> tuple[list[str], list[list[str]]]:
    """The table to print: a header, and one row per method, setting and metric of the paper's table.

    A method of ours that the paper does not have follows.
    Numbers are in percent; ours are means over categories and seeds. Where the paper has a pixel metric and
    our data has no masks, ours is `no masks`.
    """
    values: dict[tuple, list[float]] = defaultdict(list)
    for one in measured:
        values[one.method, one.setting, f"{one.noise:g}", one.metric].append(one.value)
    run = {key[:2] for key in values}
    reported = {(r.method, r.setting, r.metric, r.dataset, r.protocol): r for r in ablation.reported}
    datasets = list(dict.fromkeys(key[3:] for key in reported))
    metrics = {key[2] for key in reported}
    others = [(one.method, one.setting, one.metric) for one in measured if one.metric in metrics]
    levels = [f"{level:g}" for level in params.noise.levels]

    def paper(method: str, setting: str, metric: str, dataset: tuple[str, str]) -> str:
        result = reported.get((method, setting, metric, *dataset))
        return "" if result is None else f"{result.percent:.1f}" + ("?" if "doubtful" in result.note else "")

    def ours(method: str, setting: str, metric: str, level: str) -> str:
        if (method, setting) not in run:
            return NOT_MEASURED
        found = values.get((method, setting, level, metric))
        return f"{100 * np.mean(found):.1f}" if found else "no masks"

    def seconds(method: str, setting: str) -> str:
        return _seconds([s for level in levels for s in values.get((method, setting, level, SECONDS), [])])

    header = ["method", "setting", "metric"]
    header += [f"paper: {dataset}, {protocol}" for dataset, protocol in datasets]
    categories = ", ".join(params.dataset.categories)
    ours_on = f"ours: {params.dataset.name} ({categories}), {ablation.protocol(params)}"
    header += [f"{ours_on}, noise {level}" for level in levels] + ["seconds a fit"]
    rows = [
        [
            *key,
            *(paper(*key, dataset) for dataset in datasets),
            *(ours(*key, level) for level in levels),
            seconds(*key[:2]),
        ]
        for key in dict.fromkeys([*(key[:3] for key in reported), *others])
    ]
    return header, rows


def differences(
    ablation: Ablation, measured: Sequence[Measured], params: Params
) -> tuple[list[str], list[list[str]]]:
    """One row per method, setting, category and metric: mean over seeds, and difference to the reference.

    The difference is paired by seed (the same training images and initial weights), with a 95 % interval of
    Student's t over the seeds; one seed has none. Numbers are in percent.
    """
    values: dict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    for one in measured:
        values[one.method, one.setting, one.category, one.metric, f"{one.noise:g}"][one.seed] = one.value
    levels = [f"{level:g}" for level in params.noise.levels]
    header = ["method", "setting", "category", "metric"]
    header += [text for level in levels for text in (f"noise {level}", "difference [95 % interval]")]
    rows = []
    for key in product(ablation.methods, ablation.settings, params.dataset.categories, COMPARED):
        method, setting, category, metric = key
        cells: list[str] = []
        for level in levels:
            found = values.get((*key, level))
            reference = values.get((method, ablation.reference, category, metric, level))
            if found and reference:
                pairs = [100 * (found[seed] - reference[seed]) for seed in sorted(found)]
                mean = f"{100 * np.mean(list(found.values())):.1f}"
                cells += [mean, "" if setting == ablation.reference else with_interval(pairs)]
        if cells:
            fits = [values.get((method, setting, category, SECONDS, level), {}) for level in levels]
            rows.append([*key, *cells, _seconds([s for fit in fits for s in fit.values()])])
    return [*header, "seconds a fit"], rows


def with_interval(differences: Sequence[float]) -> str:
    """`mean [low, high]`: Student's 95 % interval of the mean; `mean` alone for a single number."""
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return f"{mean:+.1f}"
    low, high = mean_interval(differences)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _seconds(found: Sequence[float]) -> str:
    return f"{np.mean(found):.0f}" if found else ""


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """The table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
