"""Magnetic tiles with every tile on one side of the split, and what a tile's other photographs are worth.

    python benchmarks/tiles_apart.py split ../sets/magnetic_tile ../sets/tiles_apart
    python benchmarks/tiles_apart.py score outputs/evaluation/magnetic_tile

The set (Huang, Qiu, Yuan 2018) shows a tile under up to six exposures; a split that is drawn by image puts
some of them in training and others in the test set. The number in a file's name counts frames, so photographs
of a tile follow each other closely. `split` copies a set of MVTec-AD's layout and moves whole tiles: all with
a defect to the test set, of the others so many to training that it has 400 images. `score` compares PatchCore
and comet-sn in a finished run, on all test images and on those whose tile is nowhere in training.
"""

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adlib.io import read_csv
from adlib.metrics.comparison import mean_interval
from adlib.metrics.detection import auroc

FRAME = re.compile(r"_num_(\d+)")
GAP = 300  # frames: photographs that are farther apart do not show the same tile
TRAINING = 400
METHODS = ("patchcore", "comet-sn")


def frames(paths: Sequence[str]) -> np.ndarray:
    """The frame numbers in the names of images."""
    return np.array([int(FRAME.findall(path)[-1]) for path in paths])


def by_tile(paths: Sequence[str]) -> list[list[str]]:
    """Images of the same tile together; two tiles that were shot in turns count as one."""
    order = np.argsort(frames(paths))
    starts = np.flatnonzero(np.diff(frames(paths)[order]) > GAP) + 1
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


def score(run: Path) -> None:
    """Print image AUROC on all test images and on those whose tile does not train, in percent."""
    tables = {method: read_csv(run / method / "images.csv") for method in METHODS}
    fits = sorted({(float(row["noise"]), int(row["seed"])) for row in tables[METHODS[0]]})
    found: dict[tuple[float, str], list[tuple[int, float, float]]] = {}
    for noise, seed in fits:
        rows = {
            method: [row for row in table if (float(row["noise"]), int(row["seed"])) == (noise, seed)]
            for method, table in tables.items()
        }
        trained = frames([row["path"] for row in rows["comet-sn"] if row["split"] == "train"])
        test = {
            method: sorted((row for row in rows[method] if row["split"] == "test"), key=lambda row: row["id"])
            for method in METHODS
        }
        bank, comet = (np.array([float(row["score"]) for row in test[method]]) for method in METHODS)
        labels = np.array([int(row["label"]) for row in test["comet-sn"]])
        apart = np.abs(frames([row["path"] for row in test["comet-sn"]])[:, None] - trained).min(axis=1) > GAP
        for name, some in (("all", np.full_like(apart, fill_value=True)), ("tile not in training", apart)):
            first, second = (100 * auroc(scores[some], labels[some]) for scores in (bank, comet))
            found.setdefault((noise, name), []).append((int(some.sum()), first, second))
    print("noise, test images: number, AUROC of patchcore and comet-sn, difference, interval over seeds")
    for (noise, name), values in found.items():
        count, bank, comet = np.array(values).T
        low, high = mean_interval(comet - bank)
        print(
            f"{noise:g}, {name}: {count.mean():.0f}, {bank.mean():.1f}, {comet.mean():.1f}, "
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
    scoring.add_argument("run", type=Path)
    asked = parser.parse_args()
    if asked.command == "split":
        split(asked.source, asked.target)
    else:
        score(asked.run)


if __name__ == "__main__":
    main()
