"""Leaks: an image on both sides of the split, a look-alike there, a stage that could see sealed labels.

`contaminate` and `evaluate` call the first check, so that a leak fails the run; `adlib audit` calls them all.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from adlib.data.contaminate import Splits, read_splits
from adlib.data.lookalikes import BITS, LIMIT, near_pairs
from adlib.data.manifest import Label, read_manifest
from adlib.errors import UserError
from adlib.io import read_json

MAY_SEE_LABELS = re.compile(r"contaminate|train-(auxiliary|clip)|evaluate(-[a-z]+)?")
SEALED = (("outputs", "fetch"), ("outputs", "auxiliary", "fetch"))
SHOWN = 10  # images of a leak


class LeakError(UserError):
    """What must be apart is not."""


def check_disjoint(parts: Mapping[str, Collection[str]], paths: Mapping[str, str]) -> None:
    """Refuse an image that is in two parts.

    Args:
        parts: the ids (content hashes) of test, training, calibration or few-shot support images by name.
        paths: of the images by id, for the message.

    Raises:
        LeakError: names the two parts and the images.
    """
    for (first, ids), (second, others) in combinations(parts.items(), 2):
        shared = sorted(paths.get(id, id) for id in set(ids) & set(others))
        if shared:
            more = f" … and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
            raise LeakError(
                f"{len(shared)} images are in both {first} and {second}: {', '.join(shared[:SHOWN])}{more}; "
                "rerun from the fetch stage with `dvc repro --force`, and report it if it happens again"
            )


def fair_test(plan: Splits, labels: Mapping[str, Label]) -> list[str]:
    """The test images that must be nowhere else: with `noise.overlap`, not those that may be injected."""
    return [id for id in plan.test if not (plan.overlap and labels[id].anomalous)]


def check_splits(plan: Splits, labels: Mapping[str, Label], paths: Mapping[str, str]) -> None:
    """`check_disjoint` for every training set of a plan."""
    for s in plan.training_sets:
        check_disjoint(
            {"test": fair_test(plan, labels), "training": s.ids, "calibration": s.calibration}, paths
        )


def near_duplicates(plan: Splits, hashes: Mapping[str, str], paths: Mapping[str, str]) -> dict[str, Any]:
    """What the report shows: pairs of test, training and calibration images that look alike.

    Returns:
        `bits` of a hash, the `limit` of differing ones, and `pairs`: distance, and path and part of both.
    """
    parts: dict[str, str] = {}
    for s in plan.training_sets:
        parts |= dict.fromkeys(s.ids, "training") | dict.fromkeys(s.calibration, "calibration")
    parts |= dict.fromkeys(plan.test, "test")
    pairs = [
        {
            "distance": pair.distance,
            **{
                name: {"path": paths[id], "part": parts[id]}
                for name, id in (("first", pair.first), ("second", pair.second))
            },
        }
        for pair in near_pairs(hashes, parts)
    ]
    return {"bits": BITS, "limit": LIMIT, "pairs": pairs}


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
    stages = YAML(typ="safe", pure=True).load(dvc_yaml)["stages"]
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
        yield from _audit_category(category, root / "outputs")


def _audit_category(category: str, outputs: Path) -> Iterator[tuple[str, bool, str]]:
    splits, pairs = outputs / "contaminate" / f"{category}.json", outputs / "audit" / f"{category}.json"
    if not (splits.is_file() and pairs.is_file()):
        yield category, False, "not run yet; run `dvc repro contaminate`"
        return
    plan = read_splits(splits)
    paths = {s.id: s.path for s in read_manifest(outputs / "fetch" / category / "manifest.csv")}
    fits = sorted((outputs / "fits" / category).glob("*/*/fit.json"))
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
