"""Generated features and the methods to fit on them, at a small size and at one that keeps a GPU busy."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML

from adlib.config.params import Params, checked_params
from adlib.data.rows import FeatureInfo, Features, FeatureView
from adlib.learning.methods.contract import AuxiliaryImages, Fit

ROOT = Path(__file__).resolve().parents[2]
SEED = 0


@dataclass(frozen=True)
class Size:
    """How large a comparison is: S training images of side x side patches of width D, and layers to match."""

    images: int
    anomalies: int
    side: int
    width: int
    hidden: int
    epochs: int
    coreset: int


SMALL = Size(images=16, anomalies=6, side=5, width=16, hidden=32, epochs=2, coreset=60)
FULL = Size(images=40, anomalies=24, side=14, width=256, hidden=256, epochs=3, coreset=1000)


@dataclass(frozen=True)
class Case:
    """A method on generated features.

    Attributes:
        name: of the method and its variant.
        method: the key under which a saved model of it is restored.
        fit: on a device.
        test: images to score.
        anomalous: `(T,)`, their labels.
        then: makes the detector that scores of the fitted one; None: it scores itself.
    """

    name: str
    method: str
    fit: Callable[[torch.device], Fit]
    test: FeatureView
    anomalous: np.ndarray
    then: Callable[[Any, torch.device], Any] | None = None


def configured(values: dict[str, Any]) -> Params:
    """The committed params.yaml with values at keys such as `methods.comet-sn.tasks`."""
    raw = json.loads(_committed())
    for key, value in values.items():
        *path, last = key.split(".")
        block = raw
        for part in path:
            block = block[part]
        if last not in block:
            raise KeyError(f"{key}: params.yaml has no such key")
        block[last] = value
    return checked_params(raw, "params.yaml")


@cache
def _committed() -> str:
    return json.dumps(YAML(typ="safe", pure=True).load(ROOT / "params.yaml"))


def generated(
    normals: int, anomalies: int, patches: int, width: int, *, seed: int = 0, grid: bool = True
) -> tuple[Features, np.ndarray]:
    """Features of images whose patches lie near a plane, anomalies with an eighth of theirs a little off it.

    Returns:
        `(S, N, D)` float16 features, and the labels `(S,)`.
    """
    rng = np.random.default_rng(seed)
    S = normals + anomalies
    axes = np.random.default_rng(7).normal(0, 1, (4, width))  # one plane for every seed
    rows = rng.normal(0, 1, (S, patches, 4)) @ axes / 2 + rng.normal(0, 0.3, (S, patches, width))
    # Near the edge of what can be told apart: an AUROC of 1 on both sides would compare nothing.
    odd = odd_direction(width)
    strength = rng.uniform(0, 6, (anomalies, 1, 1)) / width**0.5
    rows[normals:, : max(1, patches // 8)] += strength * odd
    side = int(patches**0.5)
    ids = tuple(f"{seed}-{i:04}" for i in range(S))
    info = FeatureInfo(ids, (side, side) if grid else None, 64, "0" * 64, f"generated-{seed}")
    return Features(info, rows.astype(np.float16)), np.arange(S) >= normals


def odd_direction(width: int) -> np.ndarray:
    """Where anomalous patches go, `(D,)`."""
    return np.random.default_rng(8).normal(0, 1, width)


def view_of(features: Features) -> FeatureView:
    """All images."""
    return features.select(features.info.ids)


def generated_auxiliary(size: Size, rows: int | None = None, seed: int = 20) -> dict[str, AuxiliaryImages]:
    """Two labelled categories with masks; `rows` tokens a row if not the grid's patches."""
    found = {}
    for number, name in enumerate(("cloth", "stone")):
        patches = size.side**2
        features, anomalous = generated(
            size.images // 2, size.anomalies, rows or patches, size.width, seed=seed + number
        )
        masks = np.zeros((len(anomalous), patches), dtype=bool)
        masks[anomalous, : max(1, patches // 8)] = True
        found[name] = AuxiliaryImages(view_of(features), anomalous, masks)
    return found


def painted_copies(features: Features) -> FeatureView:
    """Features as of painted copies: some patches moved, the others NaN."""
    rows = np.asarray(view_of(features).rows, dtype=np.float16).copy()
    N = rows.shape[1]
    rows[:, : max(2, N // 8)] += odd_direction(rows.shape[2]).astype(np.float16)
    rows[:, max(2, N // 8) :] = np.nan
    return view_of(Features(replace(features.info, key="painted"), rows))
