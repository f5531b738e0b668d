"""The papers' ablation tables, run on the project's own data and printed beside the paper's numbers.

An ablation is a list of parameter settings (`adlib/reference/ablations.yaml`). Each one goes through the
pipeline's own `train` and `evaluate`, on the features and training sets that the pipeline made; finished fits
come from the store.
"""

import functools
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from adlib.config import Params, checked_params
from adlib.data.contaminate import Splits, read_splits, write_splits
from adlib.errors import UserError
from adlib.evaluation import evaluate
from adlib.io import read_json
from adlib.progress import say
from adlib.reference import FOLDER, PaperResult, paper_results
from adlib.training import train

NOT_MEASURED = "not measured here"
PROTOCOL = "full-shot"  # of our numbers: the methods of the registry train on the target's own images


def override(params: Params, changes: Mapping[str, Any]) -> Params:
    """`params` with other values at dotted keys such as `methods.cozad.contrastive.tau`.

    Raises:
        ParamsError: a key that does not exist, or a value that is not allowed.
    """
    raw = params.model_dump(mode="json", by_alias=True)
    for key, value in changes.items():
        *blocks, last = key.split(".")
        functools.reduce(lambda block, name: block.setdefault(name, {}), blocks, raw)[last] = value
    return checked_params(raw, "changed parameters")


@dataclass(frozen=True)
class Ablation:
    """A table of a paper as parameter settings; `*` in a key stands for the method."""

    name: str
    paper: str
    table: int
    methods: tuple[str, ...]
    base: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]

    def params(self, params: Params, method: str, setting: str) -> Params:
        """The parameters of one row of the table."""
        changes = {**self.base, **self.settings[setting]}
        return override(params, {key.replace("*", method): value for key, value in changes.items()})

    @property
    def reported(self) -> list[PaperResult]:
        """The paper's numbers."""
        return paper_results(self.paper, table=self.table)


def find_ablation(name: str) -> Ablation:
    """The ablation called `name`.

    Raises:
        UserError: there is none; the message lists them.
    """
    known = YAML(typ="safe", pure=True).load(FOLDER / "ablations.yaml")
    if name not in known:
        raise UserError(f"no ablation is called {name!r}; there are {', '.join(known)}")
    body = known[name]
    return Ablation(
        name, body["paper"], body["table"], tuple(body["methods"]), body["base"], body["settings"]
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of one fit; `metric` `fit_seconds` is the time it took."""

    method: str
    setting: str
    category: str
    noise: float
    seed: int
    metric: str
    value: float


def run_ablation(ablation: Ablation, params: Params, outputs: Path) -> list[Measured]:
    """Fit and evaluate every setting on the categories, noise levels and seeds of `params`.

    Args:
        ablation: which settings.
        params: everything else; its categories, levels and seeds must be among those the pipeline prepared.
        outputs: the pipeline's folder, holding `fetch`, `features` and `contaminate`.

    Raises:
        UserError: the pipeline has not prepared what is asked for.
    """
    plans = {category: _chosen_splits(params, category, outputs) for category in params.dataset.categories}
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for method in ablation.methods:
            for setting in ablation.settings:
                chosen = ablation.params(params, method, setting)
                for category, plan in plans.items():
                    say(f"{ablation.name}: {setting}")
                    results = _measure(chosen, category, method, plan, outputs, Path(scratch))
                    found += [Measured(method, setting, category, *result) for result in results]
    return found


def _chosen_splits(params: Params, category: str, outputs: Path) -> Splits:
    """The pipeline's training sets of a category, less those of other levels or seeds."""
    file = outputs / "contaminate" / f"{category}.json"
    for needed in (file, outputs / "features" / category, outputs / "fetch" / category):
        if not needed.exists():
            raise UserError(f"{needed} is missing; run `dvc repro` first, or name another category")
    plan = read_splits(file)
    kept = tuple(
        part
        for part in plan.training_sets
        if part.seed in params.seeds and f"{part.noise:g}" in {f"{level:g}" for level in params.noise.levels}
    )
    if len(kept) != len(params.seeds) * len(params.noise.levels):
        there = ", ".join(part.name for part in plan.training_sets)
        raise UserError(f"{file}: has {there}; run `dvc repro` for other noise levels or seeds")
    return Splits(plan.test, plan.overlap, kept)


def _measure(
    params: Params, category: str, method: str, plan: Splits, outputs: Path, scratch: Path
) -> Iterator[tuple[float, int, str, float]]:
    """Noise, seed, metric and value of every fit."""
    splits, fits, evaluation = scratch / "splits.json", scratch / "fits", scratch / "evaluation"
    timing = scratch / "timing.json"
    write_splits(splits, plan)
    train(params, category, method, outputs / "features" / category, splits, fits, timing)
    evaluate(params, category, outputs / "fetch" / category, splits, fits, evaluation)
    for row in read_json(evaluation / "metrics.json")["metrics"]:
        yield row["noise"], row["seed"], row["metric"], row["value"]
    seconds = read_json(timing)
    for part in plan.training_sets:
        yield part.noise, part.seed, "fit_seconds", seconds[part.name]["fit"]


def comparison(
    ablation: Ablation, measured: Iterable[Measured], params: Params
) -> tuple[list[str], list[list[str]]]:
    """The table to print: a header, and a row a method, setting and metric of the paper's table.

    Numbers are in percent; ours are means over categories and seeds. Where the paper has a pixel metric and
    our data has no masks, ours is `no masks`.
    """
    values: dict[tuple, list[float]] = defaultdict(list)
    for one in measured:
        values[one.method, one.setting, f"{one.noise:g}", one.metric].append(one.value)
    run = {key[:2] for key in values}
    reported = {(r.method, r.setting, r.metric, r.dataset, r.protocol): r for r in ablation.reported}
    datasets = list(dict.fromkeys(key[3:] for key in reported))
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
        found = [s for level in levels for s in values.get((method, setting, level, "fit_seconds"), [])]
        return f"{np.mean(found):.0f}" if found else ""

    header = ["method", "setting", "metric"]
    header += [f"paper: {dataset}, {protocol}" for dataset, protocol in datasets]
    ours_on = f"ours: {params.dataset.name} ({', '.join(params.dataset.categories)}), {PROTOCOL}"
    header += [f"{ours_on}, noise {level}" for level in levels] + ["seconds a fit"]
    rows = [
        [
            *key,
            *(paper(*key, dataset) for dataset in datasets),
            *(ours(*key, level) for level in levels),
            seconds(*key[:2]),
        ]
        for key in dict.fromkeys(key[:3] for key in reported)
    ]
    return header, rows


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """The table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
