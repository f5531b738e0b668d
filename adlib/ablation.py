"""Ablations: lists of parameter settings (`adlib/reference/ablations.yaml`), run on the project's own data.

Each setting goes through the pipeline's own `train` and `evaluate`, on the features and training sets that
the pipeline made; finished fits come from the store. `adlib.ablation_tables` prints what comes out.
"""

import functools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from adlib.config import Params, checked_params
from adlib.data.contaminate import Splits, read_splits, write_splits
from adlib.errors import UserError
from adlib.evaluation import evaluate
from adlib.io import read_json
from adlib.progress import say
from adlib.reference import FOLDER, PaperResult, named_setting, paper_results
from adlib.training import train


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
    """A table as parameter settings; `*` in a key stands for the method, `named` for one of settings.yaml.

    It is a table of a paper, or (`paper` is empty) one of ours, whose rows are compared with `reference`.
    """

    name: str
    methods: tuple[str, ...]
    base: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    paper: str = ""
    table: int = 0
    reference: str = ""

    def params(self, params: Params, method: str, setting: str) -> Params:
        """The parameters of one row of the table."""
        own = dict(self.settings[setting])
        named = named_setting(own.pop("named")) if "named" in own else {}
        changes = {**self.base, **named, **own}
        return override(params, {key.replace("*", method): value for key, value in changes.items()})

    @property
    def reported(self) -> list[PaperResult]:
        """The paper's numbers."""
        return paper_results(self.paper, table=self.table) if self.paper else []


def find_ablation(name: str) -> Ablation:
    """The ablation called `name`.

    Raises:
        UserError: there is none; the message lists them.
    """
    known = YAML(typ="safe", pure=True).load(FOLDER / "ablations.yaml")
    if name not in known:
        raise UserError(f"no ablation is called {name!r}; there are {', '.join(known)}")
    body = known[name]
    return Ablation(name, **{**body, "methods": tuple(body["methods"])})


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
