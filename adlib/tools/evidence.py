"""`adlib evidence`: why an image has its score, as CoZAD promises to tell: which patches are anomalous, which
normal training images they are closest to, and how far training would have trusted the image.

A fit's folder holds no training image, so this reads the workspace's manifest and features as well.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from adlib.base.device import resolve_device
from adlib.base.errors import UserError
from adlib.base.files import read_json
from adlib.config.workspace import Workspace
from adlib.data.images import picture_window, read_rgb
from adlib.data.manifest import read_manifest
from adlib.data.rows import FeatureView
from adlib.embedding.opening import open_witnesses
from adlib.evaluation.gallery import BOXES
from adlib.evaluation.maps import anomalous_patches, patch_box
from adlib.fits.files import INFO, load_scores, seed_name
from adlib.fits.model import Model, load_model
from adlib.learning.methods.contract import NormalityDetector
from adlib.learning.methods.image_confidence import ImageConfidence
from adlib.learning.methods.statistics import feature_statistics
from adlib.learning.methods.witnesses import NEAREST, WORST, patch_distances


class Witnesses(NamedTuple):
    """Trusted normal images: their features, and their paths in the same order."""

    features: FeatureView
    paths: list[str]


def evidence(images: Iterable[str], folder: Path, *, device: str = "auto") -> list[dict[str, Any]]:
    """The evidence for some images, as plain values.

    A patch is anomalous if its score lies beyond the model's colour scale (that of 1 patch in 1000 of normal
    calibration images); without calibration images the worst 5 are shown.

    Args:
        images: files.
        folder: `outputs/fits/<category>/<method>/<run>` of this workspace.
        device: as in params.yaml.

    Returns:
        For each image its `path` as given; its `score`, higher is more anomalous; the `decision`, `anomalous`
        or `normal`, None without a threshold; its `confidence`, CoMet eq. 1 for its score, in (0, 1], None
        for methods that doubt no image; and its anomalous `patches`, the worst first: `box` in pixels of the
        image (left, top, right, bottom), `score`, and in `nearest` path and distance of the training images
        with the most similar patches, the nearest first.

    Raises:
        UserError: no such model, or its training images are not in the workspace as they were.
        ImageError: a file is no image.
    """
    model = load_model(folder, resolve_device(device))
    witnesses = find_witnesses(folder)
    rule = read_json(folder / INFO)["confidence"]
    confidence = None if rule is None else ImageConfidence(**rule)
    scale = feature_statistics(witnesses.features, model.device)
    return [_examine(path, model, confidence, witnesses, scale) for path in images]


def _examine(
    path: str,
    model: Model,
    confidence: ImageConfidence | None,
    witnesses: Witnesses,
    scale: tuple[Tensor, Tensor],
) -> dict[str, Any]:
    device, rgb = model.device, read_rgb(path)
    rows = model.embed(model.recipe.frame(rgb)[None])
    (score,), (patch,) = model.score_features(rows)
    above, most = (model.heat_scale[1], BOXES) if model.heat_scale else (-np.inf, WORST)
    chosen = anomalous_patches(patch, above, most)
    weight = None
    if confidence is not None and isinstance(model.detector, NormalityDetector):
        weight = float(confidence.weight(model.detector.normality(rows)))
    patches = []
    keep_aspect = model.recipe.info["embedding"]["keep_aspect"]
    if chosen:
        distance = patch_distances(rows[0, chosen][:, None], witnesses.features, scale, device)
        values, nearest = distance.topk(min(NEAREST, len(witnesses.paths)), dim=1, largest=False)
        for p, ds, images in zip(chosen, values.tolist(), nearest.tolist(), strict=True):
            box = patch_box(p, model.grid, model.image_size)
            patches.append(
                {
                    "box": original_box(box, rgb.shape[:2], model.image_size, keep_aspect),
                    "score": float(patch[p]),
                    "nearest": [(witnesses.paths[i], d) for i, d in zip(images, ds, strict=True)],
                }
            )
    decision = model.decide(path, float(score)).decision
    told = {"path": path, "score": float(score), "decision": decision}
    return told | {"confidence": weight, "patches": patches}


def original_box(
    box: Sequence[int], shape: tuple[int, int], size: int, keep_aspect: bool
) -> tuple[int, int, int, int]:
    """A box of the square frame in pixels of the image `(H, W)`; what lies in the padding is cut off."""
    H, W = shape
    rows, columns = picture_window(shape, size, keep_aspect)

    def along(pixel: int, window: slice, length: int) -> int:
        inside = min(max(pixel, window.start), window.stop) - window.start
        return round(inside * length / (window.stop - window.start))

    left, top, right, bottom = box
    return along(left, columns, W), along(top, rows, H), along(right, columns, W), along(bottom, rows, H)


def find_witnesses(folder: Path) -> Witnesses:
    """The training images of a fit that it trusts: the less suspect half where it ranks them.

    A zero-shot fit was trained on the normal images of the auxiliary set, and those are its witnesses.

    Raises:
        UserError: they are not in the workspace, or their features are of another backbone.
    """
    parts = folder.parts
    if "fits" not in parts[:-2]:
        raise UserError(f"{folder}: name a folder outputs/fits/<category>/<method>/<run> of the workspace")
    at = len(parts) - 1 - parts[::-1].index("fits")
    workspace, category, method = Workspace(Path(*parts[:at])), parts[at + 1], parts[at + 2]
    scores = load_scores(folder)
    if scores.train:
        trusted = np.ones(len(scores.train), dtype=bool)
        if scores.suspicion is not None:
            trusted = scores.suspicion <= np.median(scores.suspicion)
        ids = [id for id, kept in zip(scores.train, trusted, strict=True) if kept]
        return _witnesses(workspace, {category: ids}, scores.features_key)
    trained = read_json(workspace.auxiliary.models(method) / seed_name(_seed(folder)) / INFO)
    return _witnesses(workspace.auxiliary, trained["normals"], scores.features_key)


def _witnesses(workspace: Workspace, ids: dict[str, list[str]], features_key: str) -> Witnesses:
    features, paths = open_witnesses(workspace, ids, features_key), []
    for category, chosen in ids.items():
        manifest = read_manifest(workspace.fetched(category).manifest)
        samples = {sample.id: sample.path for sample in manifest}
        paths += [samples[id] for id in chosen]
    return Witnesses(features, paths)


def _seed(folder: Path) -> int:
    return int(folder.name.rpartition("seed-")[2])
