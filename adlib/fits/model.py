"""A fit's folder as a model: it scores images, wherever the folder lies now."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adlib.base.device import mixed_precision, to_device
from adlib.base.errors import UserError
from adlib.base.files import read_json, sha256_file
from adlib.config.networks import BackboneParams, ClipParams
from adlib.embedding.networks.identity import WeightsError
from adlib.embedding.patches import patch_recipe
from adlib.embedding.recipe import Recipe
from adlib.embedding.tokens import token_recipe
from adlib.fits.files import INFO, load_threshold
from adlib.fits.folder import load_detector
from adlib.fits.threshold import Threshold, exceeds
from adlib.learning.methods.contract import Detector

ANOMALOUS, NORMAL = "anomalous", "normal"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A row of predictions.csv; what does not apply is None (an empty cell).

    Attributes:
        path: as it was given.
        score: higher is more anomalous.
        decision: `anomalous` if the score is above the threshold, else `normal`.
        threshold: the model's; None for a model without calibration images.
        error: why the image has no score.
    """

    path: str
    score: float | None = None
    decision: str | None = None
    threshold: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Model:
    """A fit's folder, ready to score images.

    Attributes:
        detector: the fitted method.
        recipe: how training made features of images.
        device: of the detector.
        image_size: side of the square frame in pixels.
        grid: rows and columns of patches.
        threshold: None for a model without calibration images.
        heat_scale: the scores at the ends of the colour scale.
    """

    detector: Detector
    recipe: Recipe[np.ndarray]
    device: torch.device
    image_size: int
    grid: tuple[int, int]
    threshold: Threshold | None
    heat_scale: tuple[float, float] | None

    def embed(self, images: np.ndarray) -> Tensor:
        """Features of images `(B, S, S, 3)` uint8, made as training did: `(B, N, D)` float32."""
        return to_device(self.recipe.embed(list(images)), self.device).float()

    def score(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of images `(B, S, S, 3)` uint8: image `(B,)`, patch `(B, N)`."""
        return self.score_features(self.embed(images))

    @torch.inference_mode()
    def score_features(self, rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The same of features `(B, N, D)`."""
        with mixed_precision(self.device):
            scores = self.detector.score(rows)
        return scores.image.float().cpu().numpy(), scores.patch.float().cpu().numpy()

    def decide(self, path: str, score: float) -> Prediction:
        """The row of an image with this score."""
        if self.threshold is None:
            return Prediction(path, score)
        limit = self.threshold.threshold
        return Prediction(path, score, ANOMALOUS if exceeds(np.array(score), limit) else NORMAL, limit)


def load_model(folder: str | Path, device: torch.device, weights: str | None = None) -> Model:
    """Restore a model from a fit's folder, wherever that lies now.

    Args:
        folder: `outputs/fits/<category>/<method>/<run>`, or a copy of it.
        device: where it runs.
        weights: a local file of the backbone's weights, if it is no longer where training found it.

    Raises:
        UserError: no such fit, or one that cannot embed images.
        WeightsError: the backbone's weights are missing, or are not those of training.
    """
    path = Path(folder) / INFO
    if not path.is_file():
        raise UserError(
            f"{folder}: no fitted model (no {INFO}); name a folder outputs/fits/<category>/<method>/<run>"
        )
    info = read_json(path)
    if not info.get("embedding") or not info.get("grid"):
        raise UserError(
            f"{folder}: this fit does not say how to turn an image into patch features (a method without "
            "patches, or an older fit); predict with a method that has patches, or rerun `dvc repro`"
        )
    recipe = _recipe(info, device, weights)
    found = recipe.info["weights_sha256"]
    if found != info["weights_sha256"]:
        described = info["embedding"]
        named = weights or (described.get("clip") or described["backbone"])["weights"]
        raise WeightsError(
            f"{folder}: was trained on backbone weights {info['weights_sha256'][:12]}…, but weights={named} "
            f"now gives {found[:12]}…; name the right file with --weights, or install the package version of "
            "training"
        )
    rows, columns = info["grid"]
    heat = info["heat_scale"]
    return Model(
        load_detector(folder, device),
        recipe,
        device,
        info["image_size"],
        (rows, columns),
        load_threshold(folder),
        None if heat is None else (heat[0], heat[1]),
    )


def _recipe(info: dict[str, Any], device: torch.device, weights: str | None) -> Recipe[np.ndarray]:
    """How training embedded images, with the weights from where they are now."""
    described = info["embedding"]
    kind = "clip" if "clip" in described else "backbone"
    moved = {} if weights is None else {"weights": weights, "sha256": _file_hash(weights)}
    block = json.dumps(described[kind] | moved)  # as params.yaml is read: a list then becomes a tuple
    keep_aspect = described["keep_aspect"]
    if kind == "clip":
        return token_recipe(ClipParams.model_validate_json(block), keep_aspect=keep_aspect, device=device)
    params = BackboneParams.model_validate_json(block)
    return patch_recipe(params, image_size=info["image_size"], keep_aspect=keep_aspect, device=device)


def _file_hash(path: str) -> str | None:
    return sha256_file(path) if Path(path).is_file() else None
