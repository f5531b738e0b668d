"""Ablations: lists of parameter settings (`adlib/papers/ablations.yaml`), run on the project's own data.

Each setting goes through the pipeline's own `train` and `evaluate`, on the features and training sets that
the pipeline made; finished fits come from the store. `adlib.tools.ablation_tables` prints what comes out.
"""

import functools
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adlib.base.device import resolve_device
from adlib.base.errors import UserError
from adlib.base.files import read_json
from adlib.base.progress import say
from adlib.base.store import content_key
from adlib.base.yaml import read_yaml
from adlib.config.networks import ClipParams
from adlib.config.params import Params, checked_params
from adlib.config.workspace import FetchedFiles, Workspace
from adlib.data.manifest import read_manifest
from adlib.data.source import read_source
from adlib.data.splits import Splits, read_splits, write_splits
from adlib.embedding.patches import build_features
from adlib.embedding.tokens import build_tokens
from adlib.evaluation.evaluate import evaluate
from adlib.fits.apply_auxiliary import apply_auxiliary, draw_shots
from adlib.fits.files import seed_name
from adlib.fits.train import train
from adlib.fits.train_auxiliary import train_auxiliary
from adlib.learning.methods.registry import AUXILIARY_METHODS, rows_of
from adlib.papers.tables import FOLDER, PaperResult, named_setting, paper_results


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


SPECIAL = ("named", "method", "shots", "only")
ZERO_SHOT = {"cozad": "cozad-zero"}


@dataclass(frozen=True)
class Ablation:
    """A table as parameter settings; `*` in a key stands for the method.

    Four keys of a setting are no parameters: `named` (one of settings.yaml), `method` (fitted in place of
    the table's), `shots` (how many training images are left) and `only` (the one method that has such a row).

    It is a table of a paper, or (`paper` is empty) one of ours, whose rows are compared with `reference`.
    """

    name: str
    methods: tuple[str, ...]
    base: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    paper: str = ""
    table: int = 0
    reference: str = ""
    zero_shot: bool = False

    def params(self, params: Params, method: str, setting: str) -> Params:
        """The parameters of one row of the table."""
        own = {key: value for key, value in self.settings[setting].items() if key not in SPECIAL}
        named = self.settings[setting].get("named")
        changes = {**self.base, **(named_setting(named) if named else {}), **own}
        return override(params, {key.replace("*", method): value for key, value in changes.items()})

    def fitted(self, method: str, setting: str) -> str:
        """The method that makes a row: the row's own, or the zero-shot protocol of the table's."""
        return self.settings[setting].get("method", ZERO_SHOT[method] if self.zero_shot else method)

    def chosen(self, settings: Sequence[str] | None = None, *, zero_shot: bool = False) -> "Ablation":
        """Some of the rows (the reference stays among them), and the zero-shot protocol instead of ours.

        Raises:
            UserError: a row that the table does not have, or a table of a method without that protocol.
        """
        for name in settings or ():
            if name not in self.settings:
                raise UserError(f"{self.name} has no setting {name!r}; there are {', '.join(self.settings)}")
        if zero_shot and self.paper != "cozad":
            raise UserError(f"{self.name}: the zero-shot protocol is for the tables of CoZAD's paper")
        wanted = {*(settings or self.settings), self.reference}
        kept = {name: changes for name, changes in self.settings.items() if name in wanted}
        return replace(self, settings=kept, zero_shot=zero_shot)

    @property
    def file(self) -> str:
        """The name of its table's file."""
        return f"{self.name}-zero-shot" if self.zero_shot else self.name

    def protocol(self, params: Params) -> str:
        """What our numbers were trained on."""
        auxiliary = self.zero_shot or self.methods[0] in AUXILIARY_METHODS
        return f"zero-shot {params.auxiliary.name}" if auxiliary else "full-shot"

    def rows(self, params: Params) -> list[tuple[str, str]]:
        """Method and setting of the rows that can be run: those of CLIP need its weights."""
        return [
            (method, name)
            for method in self.methods
            for name, changes in self.settings.items()
            if changes.get("only", method) == method
            and (params.clip.weights is not None or rows_of(self.fitted(method, name)) != "tokens")
        ]

    @property
    def reported(self) -> list[PaperResult]:
        """The paper's numbers."""
        return paper_results(self.paper, table=self.table) if self.paper else []


def find_ablation(name: str) -> Ablation:
    """The ablation called `name`.

    Raises:
        UserError: there is none; the message lists them.
    """
    known = read_yaml(FOLDER / "ablations.yaml")
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


def run_ablation(ablation: Ablation, params: Params, workspace: Workspace) -> list[Measured]:
    """Fit and evaluate every setting on the categories, noise levels and seeds of `params`.

    Args:
        ablation: which settings.
        params: everything else; its categories, levels and seeds must be among those the pipeline prepared.
        workspace: what `fetch`, `features` and `contaminate` have left.

    Raises:
        UserError: the pipeline has not prepared what is asked for.
    """
    plans = {category: _chosen_splits(params, category, workspace) for category in params.dataset.categories}
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for method, setting in ablation.rows(params):
            chosen, fitted = ablation.params(params, method, setting), ablation.fitted(method, setting)
            made = _with_features(chosen, params, fitted, workspace, Path(scratch))
            for category, plan in plans.items():
                say(f"{ablation.name}: {method}, {setting}")
                part = _few(plan, made.fetched(category), ablation.settings[setting].get("shots"))
                results = _measure(chosen, category, fitted, part, made, Path(scratch))
                found += [Measured(method, setting, category, *result) for result in results]
    return found


def _chosen_splits(params: Params, category: str, workspace: Workspace) -> Splits:
    """The pipeline's training sets of a category, less those of other levels or seeds."""
    file = workspace.splits(category)
    for needed in (file, workspace.rows("patches", category), workspace.fetched(category).folder):
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


def _few(plan: Splits, fetched: FetchedFiles, shots: int | None) -> Splits:
    """The splits with `shots` training images each; None leaves them as they are."""
    if shots is None:
        return plan
    samples = {sample.id: sample for sample in read_manifest(fetched.manifest)}
    sets = (replace(s, ids=tuple(sorted(draw_shots(s, samples, shots)))) for s in plan.training_sets)
    return replace(plan, training_sets=tuple(sets))


def _with_features(
    params: Params, prepared: Params, method: str, workspace: Workspace, scratch: Path
) -> Workspace:
    """`workspace`, or one like it with the features of another backbone or of other CLIP blocks."""
    kind = rows_of(method)
    network, before = (
        (params.clip, prepared.clip) if kind == "tokens" else (params.backbone, prepared.backbone)
    )
    if network == before:
        return workspace
    made = Workspace(scratch / content_key(network=network.model_dump(mode="json")))
    sets = [(params.dataset, workspace, made)]
    if method in AUXILIARY_METHODS:
        sets.append((params.auxiliary, workspace.auxiliary, made.auxiliary))
    for dataset, source, target in sets:
        for category in dataset.categories:
            folder, fetched = target.rows(kind, category, method), target.fetched(category)
            if folder.exists():
                continue
            shutil.copytree(source.fetched(category).folder, fetched.folder)
            images = read_manifest(fetched.manifest), read_source(fetched.source).folder
            device = resolve_device(params.device)
            if isinstance(network, ClipParams):
                build_tokens(folder, *images, network, keep_aspect=params.keep_aspect, device=device)
            else:
                build_features(
                    folder,
                    *images,
                    network,
                    image_size=params.image_size,
                    keep_aspect=params.keep_aspect,
                    device=device,
                )
    return made


def _measure(
    params: Params, category: str, method: str, plan: Splits, workspace: Workspace, scratch: Path
) -> Iterator[tuple[float, int, str, float]]:
    """Noise, seed, metric and value of every fit."""
    splits, fits, evaluation = scratch / "splits.json", scratch / "fits", scratch / "evaluation"
    write_splits(splits, plan)
    fit = _fit_zero_shot if method in AUXILIARY_METHODS else _fit
    seconds = fit(params, category, method, splits, workspace, scratch)
    evaluate(params, category, workspace.fetched(category), splits, fits, evaluation)
    for row in read_json(evaluation / "metrics.json")["metrics"]:
        yield row["noise"], row["seed"], row["metric"], row["value"]
    for part in plan.training_sets:
        yield part.noise, part.seed, "fit_seconds", seconds[part.name]


def _fit(
    params: Params, category: str, method: str, splits: Path, workspace: Workspace, scratch: Path
) -> dict[str, float]:
    """Train on the target's own images, into `scratch/fits`; the seconds of every fit."""
    timing = scratch / "timing.json"
    features, painted = workspace.rows("patches", category), workspace.painted(category, method)
    train(params, category, method, features, splits, scratch / "fits", timing, painted)
    return {name: seconds["fit"] for name, seconds in read_json(timing).items()}


def _fit_zero_shot(
    params: Params, category: str, method: str, splits: Path, workspace: Workspace, scratch: Path
) -> dict[str, float]:
    """Train on the auxiliary set and apply to the target; one training serves all categories and levels."""
    timing, models, kind = scratch / "timing.json", scratch / "models", rows_of(method)
    if not params.auxiliary.categories:
        raise UserError("auxiliary.categories: is empty; name some, and run `dvc repro` with that method")
    for name in params.auxiliary.categories:
        folder = workspace.auxiliary.rows(kind, name, method)
        if not folder.exists():
            raise UserError(f"{folder} is missing; run `dvc repro` with that method")
    train_auxiliary(params, method, workspace.auxiliary, models, timing)
    apply_auxiliary(
        params,
        category,
        method,
        models=models,
        auxiliary=workspace.auxiliary,
        fetched=workspace.fetched(category),
        features=workspace.rows(kind, category, method),
        splits=splits,
        out=scratch / "fits",
        timing=scratch / "applied.json",
    )
    trained = read_json(timing)
    return {part.name: trained[seed_name(part.seed)]["fit"] for part in read_splits(splits).training_sets}
