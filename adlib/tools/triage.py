"""The person's side of triage: the ranking of one fit, what stands out in it, and leaving images out."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from adlib.base.errors import UserError
from adlib.data.excluded import Excluded, add_excluded
from adlib.learning.equations.confidence import iqr_threshold
from adlib.report.ranking import Suspect

# Tukey's fence of a box plot: without anomalies among them it leaves out few images or none.
FENCE = 1.5


def of_fit(
    suspects: Iterable[Suspect],
    *,
    category: str,
    method: str | None = None,
    noise: float | None = None,
    seed: int | None = None,
) -> list[Suspect]:
    """The ranking of one fit; what is not given is the first method and seed, and the lowest noise level.

    Raises:
        UserError: there is no such fit.
    """
    found = [
        row
        for row in suspects
        if row.category == category
        and method in (None, row.method)
        and (noise is None or row.noise == f"{noise:g}")
        and (seed is None or row.seed == str(seed))
    ]
    if not found:
        wanted = {"category": category, "method": method, "noise": noise, "seed": seed}
        asked = ", ".join(f"{name} {value}" for name, value in wanted.items() if value is not None)
        raise UserError(
            f"no ranking for {asked}; fits of methods that doubt their training images (comet-sn) have one"
        )
    chosen = min(found, key=lambda row: float(row.noise))  # the first of equals
    fit = (chosen.method, chosen.noise, chosen.seed)
    return [row for row in found if (row.method, row.noise, row.seed) == fit]


def above_the_fence(ranking: list[Suspect]) -> list[Suspect]:
    """The images whose suspicion lies above `Q3 + 1.5 (Q3 - Q1)` of all of them."""
    fence = iqr_threshold(np.array([row.suspicion for row in ranking]), FENCE)
    return [row for row in ranking if row.suspicion > fence]


def exclude(path: str | Path, suspects: Iterable[Suspect]) -> int:
    """Add suspect images to the exclusion list; returns how many are new."""

    def row(suspect: Suspect) -> Excluded:
        reason = f"{suspect.method}: suspicion {suspect.suspicion:.4g}, rank {suspect.rank}"
        return Excluded(suspect.category, suspect.id, suspect.path, reason)

    return add_excluded(path, map(row, suspects))
