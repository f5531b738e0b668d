"""Stage `contaminate`: training sets with a known fraction of anomalies, and a test set that never moves.

At level r the training normals stay as they are and `round(r / (1 - r) * n)` anomalies are *added*, so that
they make up the fraction r. They come from a reserve that is withheld from the test set; its size depends on
`noise.reserve` alone, so the test set is the same for every level and seed. Levels are nested: a higher level
holds the anomalies of the lower ones.

The calibration images, from which the threshold is taken, can be made dirty in the same way. Their anomalies
come from the other end of the same order, so that they are none of the injected ones and move none of them.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from adlib.base.rng import shuffled
from adlib.data.manifest import DataError, Label, Sample
from adlib.data.splits import Splits, TrainingSet


def contaminate(
    samples: Sequence[Sample],
    labels: Mapping[str, Label],
    *,
    levels: Sequence[float],
    seeds: Sequence[int],
    reserve: float,
    overlap: bool,
    split_seed: int,
    contamination: float = 0.0,
    excluded: Collection[str] = (),
) -> Splits:
    """Build the training sets of every level and seed, and the test set.

    Args:
        samples: the manifest.
        labels: the sealed labels by sample id.
        levels: fractions of the training set that are anomalous, in [0, 1).
        seeds: a draw of injected anomalies each.
        reserve: fraction of the anomalies to draw from, in [0, 0.5], stratified by defect.
        overlap: keep the reserve in the test set as well (some papers do; it flatters the result).
        split_seed: decides which anomalies make up the reserve; it is empty where no normal image trains,
            as in sets for zero-shot methods only: nothing can be made dirty there, and everything tests.
        contamination: fraction of the calibration images that are anomalous, in [0, 1).
        excluded: ids that a person has taken out of training; the draw of the others does not change.

    Raises:
        DataError: a level asks for more anomalies than the reserve holds, or no training image is left.
    """
    normals, calibration, test = (
        [s.id for s in samples if s.split == split] for split in ("train", "calibration", "test")
    )
    anomalies = [labels[id] for id in test if labels[id].anomalous]
    pool = draw_reserve(anomalies, reserve, split_seed) if normals else []
    dirt = added_anomalies(contamination, len(calibration))
    _check_levels(levels, len(normals), len(pool), dirt)
    if not overlap:
        test = sorted(set(test) - set(pool))
    training_sets = []
    for seed in seeds:
        order = shuffled(pool, seed, "contaminate")
        calibrating = tuple(sorted(calibration + order[len(order) - dirt :]))
        for level in levels:
            ids = set(normals + order[: added_anomalies(level, len(normals))]) - set(excluded)
            if normals and not ids:
                raise DataError("excluded.csv leaves no training image; take some of its rows out")
            training_sets.append(TrainingSet(level, seed, tuple(sorted(ids)), calibrating))
    return Splits(tuple(sorted(test)), overlap, tuple(training_sets))


def added_anomalies(level: float, normals: int) -> int:
    """How many anomalies make up the fraction `level` when added to `normals` normal images."""
    return round(level / (1 - level) * normals)


def draw_reserve(anomalies: Sequence[Label], fraction: float, seed: int) -> list[str]:
    """Up to `floor(fraction * n)` anomalies, each defect's share by largest remainder, at most half of it."""
    strata: dict[str, list[str]] = defaultdict(list)
    for label in anomalies:
        strata[label.defect].append(label.id)
    names = sorted(strata)
    size = np.array([len(strata[name]) for name in names], dtype=int)
    share = np.floor(fraction * size).astype(int)
    remainder = fraction * size - share
    for i in np.argsort(-remainder, kind="stable"):
        if share.sum() < int(fraction * size.sum()) and share[i] < size[i] // 2:
            share[i] += 1
    return [
        id
        for name, count in zip(names, share, strict=True)
        for id in shuffled(strata[name], seed, "reserve", name)[:count]
    ]


def _check_levels(levels: Sequence[float], normals: int, pool: int, dirt: int) -> None:
    if dirt > pool:
        raise DataError(
            f"threshold.contamination: adds {dirt} anomalies to the calibration images, but the reserve "
            f"holds {pool}; lower it (or raise noise.reserve up to 0.5 or dataset.max_test_anomalous)"
        )
    worst = max(levels)
    needed, left = added_anomalies(worst, normals), pool - dirt
    if needed > left:
        largest = np.floor(1000 * left / (normals + left)) / 1000
        used = f" besides {dirt} for threshold.contamination" if dirt else ""
        raise DataError(
            f"noise.levels: {worst:g} adds {needed} anomalies to {normals} normal images, but the reserve "
            f"holds {left}{used}; the largest possible level is {largest:g} (raise noise.reserve up to 0.5 "
            "or dataset.max_test_anomalous, or lower dataset.max_train)"
        )
