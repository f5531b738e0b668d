"""Leaks: an image on both sides of a split, and look-alikes across it.

`contaminate` and `evaluate` call the first check, so that a leak fails the run; `adlib audit` calls it again.
"""

from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any

from adlib.base.errors import UserError
from adlib.data.lookalikes import BITS, LIMIT, near_pairs
from adlib.data.manifest import Label
from adlib.data.splits import Splits

SHOWN = 10  # images of a leak


class LeakError(UserError):
    """What must be apart is not."""


RERUN = "rerun from the fetch stage with `dvc repro --force`, and report it if it happens again"


def check_disjoint(
    parts: Mapping[str, Collection[str]], paths: Mapping[str, str], remedy: str = RERUN
) -> None:
    """Refuse an image that is in two parts.

    Args:
        parts: the ids (content hashes) of test, training, calibration or few-shot support images by name.
        paths: of the images by id, for the message.
        remedy: what to do, likewise.

    Raises:
        LeakError: names the two parts and the images.
    """
    for (first, ids), (second, others) in combinations(parts.items(), 2):
        shared = sorted(paths.get(id, id) for id in set(ids) & set(others))
        if shared:
            more = f" … and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
            raise LeakError(
                f"{len(shared)} images are in both {first} and {second} (by their sha256): "
                f"{', '.join(shared[:SHOWN])}{more}; {remedy}"
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
