"""`adlib audit`: does anything leak? The splits, the fits, and which stages could see sealed labels."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from adlib.base.files import read_json
from adlib.base.yaml import read_yaml
from adlib.config.workspace import Workspace
from adlib.data.leaks import LeakError, check_disjoint
from adlib.data.manifest import read_manifest
from adlib.data.splits import read_splits

MAY_SEE_LABELS = re.compile(r"contaminate|train-(auxiliary|clip)|evaluate(-[a-z]+)?")
SEALED = (("outputs", "fetch"), ("outputs", "auxiliary", "fetch"))


def label_readers(stages: Mapping[str, Any]) -> set[str]:
    """The stages of a dvc.yaml whose deps hold the sealed labels: the file, or a folder around it."""
    return {
        name for name, stage in stages.items() if any(_holds_labels(dep) for dep in stage.get("deps", []))
    }


def check_stages(dvc_yaml: Path) -> None:
    """Refuse a dvc.yaml in which a stage depends on the sealed labels that may not see them.

    Raises:
        LeakError: names the stages.
    """
    stages = read_yaml(dvc_yaml)["stages"]
    strangers = sorted(name for name in label_readers(stages) if not MAY_SEE_LABELS.fullmatch(name))
    if strangers:
        raise LeakError(
            f"{dvc_yaml}: {', '.join(strangers)} depends on the sealed labels; only contaminate, "
            "train-auxiliary, train-clip and evaluate may: name the single files it needs in its deps"
        )


def _holds_labels(dep: Any) -> bool:
    parts = PurePosixPath(next(iter(dep)) if isinstance(dep, dict) else dep).parts
    if parts[-1:] == ("labels.csv",):
        return True
    # A folder around the file: a head of `SEALED`, or a category in it, whatever stands for that.
    return any(parts == sealed[: len(parts)] or parts[:-1] == sealed for sealed in SEALED)


def audit_project(categories: Collection[str], root: Path) -> Iterator[tuple[str, bool, str]]:
    """Every check of a project that has run.

    Yields:
        What was checked, whether it is in order, and what was found.
    """
    try:
        check_stages(root / "dvc.yaml")
        yield "dvc.yaml", True, "no stage sees sealed labels that may not"
    except LeakError as error:
        yield "dvc.yaml", False, str(error)
    for category in categories:
        yield from _audit_category(category, Workspace(root / "outputs"))


def _audit_category(category: str, workspace: Workspace) -> Iterator[tuple[str, bool, str]]:
    splits, pairs = workspace.splits(category), workspace.lookalikes(category)
    if not (splits.is_file() and pairs.is_file()):
        yield category, False, "not run yet; run `dvc repro contaminate`"
        return
    plan = read_splits(splits)
    paths = {s.id: s.path for s in read_manifest(workspace.fetched(category).manifest)}
    fits = sorted(workspace.fits(category, "").glob("*/*/fit.json"))
    trained = {id for fit in map(read_json, fits) for id in (*fit["train"], *fit["calibration"])}
    planned = {id for s in plan.training_sets for id in (*s.ids, *s.calibration)}
    try:
        if not plan.overlap:
            check_disjoint({"test": plan.test, "training and calibration": planned | trained}, paths)
        yield category, True, f"no test image in training or calibration, in the plan and in {len(fits)} fits"
    except LeakError as error:
        yield category, False, str(error)
    found = read_json(pairs)["pairs"]
    lines = [
        f"{p['first']['path']} ({p['first']['part']}) ~ {p['second']['path']} ({p['second']['part']})"
        for p in found
    ]
    yield category, True, "\n  ".join([f"{len(found)} near-duplicates across the split", *lines])
