"""Magnetic tiles with every tile on one side of the split, and what a tile's other photographs are worth.

    python benchmarks/tiles_apart.py split ../sets/magnetic_tile ../sets/tiles_apart
    python benchmarks/tiles_apart.py score outputs magnetic_tile

The set (Huang, Qiu, Yuan 2018) shows a tile under up to six exposures; a split that is drawn by image puts
some of them in training and others in the test set. The number in a file's name counts frames, so photographs
of a tile follow each other closely. `split` copies a set of MVTec-AD's layout and moves whole tiles: all with
a defect to the test set, of the others so many to training that it has 400 images. `score` compares PatchCore
and comet-sn in a finished run, on all test images and on those whose tile is nowhere in training.
"""

import argparse
import re
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adlib.config.workspace import Workspace
from adlib.evaluation.metrics.detection import auroc
from adlib.evaluation.metrics.intervals import mean_interval
from adlib.report.per_image import by_fit, read_rows

FRAME = re.compile(r"_num_(\d+)")
GAP = 300  # frames: photographs that are farther apart do not show the same tile
TRAINING = 400


def frames(paths: Sequence[str]) -> np.ndarray:
    """The frame numbers in the names of images."""
    return np.array([int(FRAME.findall(path)[-1]) for path in paths])


def by_tile(paths: Sequence[str]) -> list[list[str]]:
    """Images of the same tile together; two tiles that were shot in turns count as one."""
    numbers = frames(paths)
    order = np.argsort(numbers)
    starts = np.flatnonzero(np.diff(numbers[order]) > GAP) + 1
    return [[paths[int(image)] for image in tile] for tile in np.split(order, starts)]


def split(source: Path, target: Path) -> None:
    """Copy a set so that no tile is in training and in the test set."""
    images = sorted(path.relative_to(source).as_posix() for path in source.glob("t*/*/*.jpg"))
    tiles, training = by_tile(images), 0
    for number in np.random.default_rng(0).permutation(len(tiles)):
        tile = tiles[number]
        sound = all("/good/" in path for path in tile)
        part = "train" if sound and training < TRAINING else "test"
        training += len(tile) * (part == "train")
        for path in tile:
            copy = target / part / Path(*Path(path).parts[1:])
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, copy)
    shutil.copytree(source / "ground_truth", target / "ground_truth")


def score(workspace: Workspace, category: str) -> None:
    """Print image AUROC on all test images and on those whose tile does not train, in percent."""
    rows = read_rows(workspace, category, "comet-sn")
    path = {row["id"]: row["path"] for row in rows}
    banks, comets = by_fit(read_rows(workspace, category, "patchcore")), by_fit(rows)
    found: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    for fit, comet in comets.items():
        bank = banks[fit]
        assert bank.test_ids == comet.test_ids
        trained = frames(
            [
                row["path"]
                for row in rows
                if row["split"] == "train" and (row["noise"], int(row["seed"])) == fit
            ]
        )
        apart = np.abs(frames([path[id] for id in comet.test_ids])[:, None] - trained).min(axis=1) > GAP
        for name, some in (("all", np.full_like(apart, fill_value=True)), ("tile not in training", apart)):
            labels = comet.test_labels[some]
            areas = (
                100 * auroc(bank.test_scores[some], labels),
                100 * auroc(comet.test_scores[some], labels),
            )
            found[fit[0], name].append((int(some.sum()), *areas))
    print("noise, test images: number, AUROC of patchcore and comet-sn, difference, interval over seeds")
    for (noise, name), values in found.items():
        count, bank, comet = np.array(values).T
        low, high = mean_interval(comet - bank) if len(values) > 1 else (-np.inf, np.inf)
        print(
            f"{noise}, {name}: {count.mean():.0f}, {bank.mean():.1f}, {comet.mean():.1f}, "
            f"{(comet - bank).mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        )


def main() -> None:
    """`split` or `score`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    splitting = commands.add_parser("split")
    splitting.add_argument("source", type=Path)
    splitting.add_argument("target", type=Path)
    scoring = commands.add_parser("score")
    scoring.add_argument("outputs", type=Path)
    scoring.add_argument("category")
    asked = parser.parse_args()
    if asked.command == "split":
        split(asked.source, asked.target)
    else:
        score(Workspace(asked.outputs), asked.category)


if __name__ == "__main__":
    main()
