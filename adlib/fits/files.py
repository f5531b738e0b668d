"""The files of a finished fit, readable without torch."""

from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from adlib.base.files import read_json
from adlib.data.manifest import Sample, read_manifest
from adlib.data.source import Source, read_source
from adlib.fits.threshold import Threshold

MODEL, SCORES, INFO, TIME = "model.safetensors", "scores.safetensors", "fit.json", "time.json"
THRESHOLD = "threshold.json"
NORMALS, SOURCE = "normals.csv", "source.json"  # of the auxiliary set: a manifest, and where its images lie
MAPS = "maps.npy"
# Colours of heat maps run from the median to this quantile of the patch scores of normal images.
HEAT_SCALE = (0.5, 0.999)


def seed_name(seed: int) -> str:
    """The folder of a fit on the auxiliary set: `seed-0`."""
    return f"seed-{seed}"


def variants(folder: Path) -> list[str]:
    """The names under which a method's results stand: its own, and those of the variants in folders below.

    Args:
        folder: a method's fits of a category, `…/af-tokens`; a variant's lie in `…/af-tokens/shots-4`.
    """
    found = {path.parent.parent for path in folder.glob(f"**/{INFO}")}
    return sorted(path.relative_to(folder.parent).as_posix() for path in found)


@dataclass(frozen=True)
class Suspects:
    """The K most suspect training images, the most suspect first, as positions in `FitScores.train`.

    Attributes:
        images: `(K,)`.
        patch: `(K, N)` their patch scores.
        nearest: `(K, M)` the trusted images that look most like their worst patches.
    """

    images: np.ndarray
    patch: np.ndarray
    nearest: np.ndarray


@dataclass(frozen=True)
class NearestNormals:
    """What the T test images are like, and how far training would have trusted them.

    Attributes:
        nearest: `(T, M)` trusted normal images, as positions in `FitScores.witnesses`, or in
            `FitScores.train` where there are none, the most alike first.
        distance: `(T, M)` of an image's worst patches to them, in standardised features.
        weight: `(T,)`, CoMet eq. 1.
    """

    nearest: np.ndarray
    distance: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class FitScores:
    """Raw scores of a fit.

    Attributes:
        test: ids of the T test images.
        image: `(T,)` image scores.
        patch: `(T, N)` scores of patches on `grid`, or of views.
        grid: rows and columns of patches; None for views, of which no map can be drawn.
        image_size: side of the square frame in pixels.
        features_key: identity of the features.
        weights_sha256: identity of the backbone's weights.
        train: ids of the S training images.
        weight: `(S,)` confidence weights, or None.
        train_score: `(S,)` confidence scores of the training images, or None.
        suspicion: `(S,)` of the training images, higher is more suspect, or None.
        suspects: the evidence for the highest of them, or None.
        calibration: ids of the n calibration images.
        calibration_score: `(n,)` image scores.
        threshold: None without calibration images.
        nearest_normals: of the test images; None for methods that doubt none.
        witnesses: the auxiliary set's normal images, which a zero-shot fit compares with; () for other fits.
        witness_source: where those images lie; None without any.
    """

    test: tuple[str, ...]
    image: np.ndarray
    patch: np.ndarray
    grid: tuple[int, int] | None
    image_size: int
    features_key: str
    weights_sha256: str
    train: tuple[str, ...]
    weight: np.ndarray | None
    train_score: np.ndarray | None
    suspicion: np.ndarray | None
    suspects: Suspects | None
    calibration: tuple[str, ...] = ()
    calibration_score: np.ndarray | None = None
    threshold: Threshold | None = None
    nearest_normals: NearestNormals | None = None
    witnesses: tuple[Sample, ...] = ()
    witness_source: Source | None = None


def load_scores(folder: str | Path) -> FitScores:
    """Read the scores of the fit in `folder`."""
    arrays, info = load_file(Path(folder) / SCORES), read_json(Path(folder) / INFO)
    examined = [arrays[f"suspect_{n}"] for n in ("images", "patch", "nearest") if f"suspect_{n}" in arrays]
    like = [arrays[f"test_{n}"] for n in ("nearest", "distance", "weight") if f"test_{n}" in arrays]
    grid = None if info["grid"] is None else tuple(info["grid"])
    normals, source = Path(folder) / NORMALS, Path(folder) / SOURCE
    return FitScores(
        tuple(info["test"]),
        arrays["image"],
        arrays["patch"],
        grid,
        info["image_size"],
        info["features_key"],
        info["weights_sha256"],
        tuple(info["train"]),
        arrays.get("train_weight"),
        arrays.get("train_score"),
        arrays.get("train_suspicion"),
        Suspects(*examined) if examined else None,
        tuple(info["calibration"]),
        arrays.get("calibration"),
        load_threshold(folder),
        NearestNormals(*like) if like else None,
        tuple(read_manifest(normals)) if normals.is_file() else (),
        read_source(source) if source.is_file() else None,
    )


def with_maps(scores: FitScores, folder: str | Path) -> FitScores:
    """The scores of a flow with the maps that the stage `maps` made of its images; as they are without any.

    Args:
        scores: the fit's.
        folder: the fit's folder of maps; `maps.npy` is `(T + K, cells^2)`, test images before suspects.
    """
    path = Path(folder) / MAPS
    if not path.is_file():
        return scores
    maps = np.load(path)
    test, side = len(scores.test), isqrt(maps.shape[1])
    suspects = None if scores.suspects is None else replace(scores.suspects, patch=maps[test:])
    return replace(scores, patch=maps[:test], grid=(side, side), suspects=suspects)


def load_threshold(folder: str | Path) -> Threshold | None:
    """The decision threshold of the fit in `folder`; None if it had no calibration images."""
    path = Path(folder) / THRESHOLD
    return Threshold(**read_json(path)) if path.is_file() else None
