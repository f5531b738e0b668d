"""Examples for the report, made by `evaluate`: the one stage that sees images, scores and labels together.

The report itself reads `gallery.json` only, so it can be made where the images and sealed labels are gone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adlib.data.images import read_rgb, resize_rgb
from adlib.data.manifest import Label, Sample
from adlib.data.splits import TrainingSet
from adlib.evaluation.maps import anomalous_patches, patch_box, pixel_maps
from adlib.evaluation.pictures import draw_outline, encode, overlay, shrink, shrink_mask, stretch
from adlib.fits.files import HEAT_SCALE, FitScores

GROUPS = ("hits", "misses", "false_alarms", "suspects")
EXAMPLES = 4  # of each kind
SUSPECTS = 6  # training images
BOXES = 20  # patches of an example, the worst
# Base64 adds a third: a report of 15 categories and 5 methods stays below 15 MB.
BUDGET = 135_000


def reference_fit(training_sets: Sequence[TrainingSet]) -> TrainingSet:
    """The fit that the gallery shows: the highest noise level, the first seed."""
    return max(training_sets, key=lambda s: s.noise)  # the first of equals


def choose(scores: np.ndarray, anomalous: np.ndarray) -> dict[str, np.ndarray]:
    """Telling examples among T test images, as indices, the most telling first.

    Args:
        scores: `(T,)`, higher is more anomalous.
        anomalous: `(T,)` bool.

    Returns:
        `hits` (highest anomalies), `misses` (lowest anomalies, none of them a hit) and `false_alarms`
        (highest normals); at most `EXAMPLES` each.
    """
    order = np.argsort(-scores, kind="stable")
    defects, normals = order[anomalous[order]], order[~anomalous[order]]
    hits = defects[: (len(defects) + 1) // 2][:EXAMPLES]
    misses = defects[(len(defects) + 1) // 2 :][::-1][:EXAMPLES]
    return {"hits": hits, "misses": misses, "false_alarms": normals[:EXAMPLES]}


def make_gallery(
    scores: FitScores,
    samples: Mapping[str, Sample],
    labels: Mapping[str, Label],
    *,
    masks: np.ndarray | None,
    root: Path,
    keep_aspect: bool,
) -> dict[str, Any]:
    """Choose and render the examples of one category and method.

    Args:
        scores: of a fit, usually `reference_fit`.
        samples: the manifest by id.
        labels: the sealed labels by id.
        masks: `(T, size, size)` bool in the order of `scores.test`, or None.
        root: the folder that the manifest's paths are relative to.
        keep_aspect: as in params.yaml; pictures are shown as the network sees them.

    Returns:
        The ends of the colour `scale`, None without a grid; and the examples by group.
    """
    witness_root = root if scores.witness_source is None else scores.witness_source.folder
    anomalous = np.array([labels[id].anomalous for id in scores.test])
    scale = None
    if scores.grid is not None:
        # The brightest is as abnormal as 1 patch in 1000 of normal test images, or more. Where no test image
        # is normal, of all of them: most of their patches are.
        ordinary = scores.patch if anomalous.all() else scores.patch[~anomalous]
        low, high = (float(q) for q in np.quantile(ordinary, HEAT_SCALE))
        scale = {"low": low, "high": high, "quantiles": HEAT_SCALE}
    entries: list[tuple[str, dict[str, Any]]] = []
    pictures: list[np.ndarray] = []

    def frame(id: str) -> np.ndarray:
        return opened(root, samples[id])

    def opened(folder: Path, sample: Sample) -> np.ndarray:
        return resize_rgb(read_rgb(folder / sample.path), scores.image_size, keep_aspect)

    def beside(position: int) -> np.ndarray:
        """An image that a test image is like."""
        if scores.witnesses:
            return opened(witness_root, scores.witnesses[position])
        return frame(scores.train[position])

    def heat_maps(patch: np.ndarray) -> Sequence[np.ndarray | None]:
        """Maps of some images, 0 to 1 on the colour scale; None each where scores have no grid."""
        if scores.grid is None or scale is None:
            return [None] * len(patch)
        maps = pixel_maps(patch, scores.grid, scores.image_size)
        return list(stretch(maps, scale["low"], scale["high"]))

    def describe(id: str) -> dict[str, Any]:
        label = labels[id]
        return {"id": id, "path": samples[id].path, "defect": label.defect, "anomalous": label.anomalous}

    for group, chosen in choose(scores.image, anomalous).items():
        for i, heat in zip(chosen, heat_maps(scores.patch[chosen]), strict=True):
            rgb, mask = frame(scores.test[i]), None if masks is None else masks[i]
            why = evidence(scores, int(i), scale, samples)
            near = scores.nearest_normals
            others = [shrink(beside(near.nearest[i, 0]))] if near else []
            pictures.append(np.concatenate([panels(rgb, heat, mask), *others], axis=1))
            score = float(scores.image[i])
            # How far the image is on the wrong (or right) side, in numbers that all methods share.
            others = scores.image[anomalous != anomalous[i]]
            above = float((others < score).mean()) if others.size else None
            measured = {"score": score, "above": above, "mask": mask is not None and bool(mask.any())}
            entries.append((group, describe(scores.test[i]) | measured | why))
    if scores.suspects is not None and scores.weight is not None and scores.suspicion is not None:
        found = scores.suspects
        for i, heat, nearest in zip(
            found.images, heat_maps(found.patch[:SUSPECTS]), found.nearest, strict=False
        ):
            others = [shrink(frame(scores.train[j])) for j in nearest]
            shown = panels(frame(scores.train[i]), heat, None)
            pictures.append(np.concatenate([shown, *others], axis=1))
            measured = {
                "suspicion": float(scores.suspicion[i]),
                "weight": float(scores.weight[i]),
                "nearest": [samples[scores.train[j]].path for j in nearest],
            }
            entries.append(("suspects", describe(scores.train[i]) | measured))
    groups: dict[str, list[dict[str, Any]]] = {group: [] for group in GROUPS}
    for (group, entry), jpeg in zip(entries, encode(pictures, BUDGET), strict=True):
        groups[group].append(entry | {"jpeg": jpeg})
    return {"scale": scale, "groups": groups}


def evidence(
    scores: FitScores, image: int, scale: Mapping[str, Any] | None, samples: Mapping[str, Sample]
) -> dict[str, Any]:
    """Why a test image has its score: its anomalous patches, what they are like, and its confidence.

    Patches are boxes in pixels of the frame, the most anomalous first: those beyond the colour scale.
    """
    found: dict[str, Any] = {"patches": [], "nearest": []}
    if scores.grid is not None and scale is not None:
        patch = scores.patch[image]
        worst = anomalous_patches(patch, scale["high"], BOXES)
        found["patches"] = [
            {"box": patch_box(p, scores.grid, scores.image_size), "score": float(patch[p])} for p in worst
        ]
    if scores.nearest_normals is not None:
        like, known = scores.nearest_normals, scores.witnesses or [samples[id] for id in scores.train]
        found["nearest"] = [known[j].path for j in like.nearest[image]]
        found["auxiliary"] = bool(scores.witnesses)
        found["distance"] = [float(d) for d in like.distance[image]]
        found["weight"] = float(like.weight[image])
    return found


def panels(rgb: np.ndarray, heat: np.ndarray | None, mask: np.ndarray | None) -> np.ndarray:
    """The picture, and beside it the heat map with the true mask's outline.

    Args:
        rgb: `(S, S, 3)` uint8.
        heat: `(S, S)`, 0 and 1 are the ends of the colour scale; None: the picture again.
        mask: `(S, S)` bool, or None.

    Returns:
        `(PANEL, 2 * PANEL, 3)` uint8.
    """
    heated = shrink(rgb if heat is None else overlay(rgb, heat))
    if mask is not None and mask.any():
        heated = draw_outline(heated, shrink_mask(mask))
    return np.concatenate([shrink(rgb), heated], axis=1)
