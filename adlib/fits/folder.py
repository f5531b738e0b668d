"""Writing the folder of a fit, and restoring its detector; `adlib.fits.files` names what lies in it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import save_file
from torch import Tensor

from adlib.base.files import read_json, write_json
from adlib.config.images import ThresholdParams
from adlib.data.rows import FeatureInfo
from adlib.fits.files import INFO, MODEL, SCORES, THRESHOLD, TIME
from adlib.fits.threshold import conformal_threshold
from adlib.learning.methods.contract import Detector
from adlib.learning.methods.registry import AUXILIARY_METHODS, METHODS


def write_threshold(folder: Path, params: ThresholdParams) -> None:
    """Take the threshold from the fit's calibration scores, if there are any."""
    scores = load_arrays(folder / SCORES).get("calibration")
    if scores is not None:
        write_json(folder / THRESHOLD, asdict(conformal_threshold(scores, params.fpr, params.trim)))


def write_model(folder: Path, method: str, detector: Detector) -> None:
    """Write a detector's tensors and the name of its method."""
    save_file(_portable(detector.state()), folder / MODEL, metadata={"method": method})


def write_scores(
    folder: Path,
    tensors: dict[str, Tensor],
    features: FeatureInfo,
    train: Sequence[str],
    test: Sequence[str],
    log: list[dict[str, Any]],
    calibration: Sequence[str] = (),
    confidence: dict[str, float] | None = None,
) -> None:
    """Write the scores of a fit, and what they are of (see `adlib.fits.files.FitScores`).

    `confidence` has the fields of `adlib.learning.methods.image_confidence.ImageConfidence`.
    """
    save_file(_portable(tensors), folder / SCORES)
    heat = tensors.get("heat_scale")
    write_json(
        folder / INFO,
        {
            "train": train,
            "test": test,
            "calibration": calibration,
            "grid": features.grid,
            "image_size": features.image_size,
            "features_key": features.key,
            "weights_sha256": features.weights_sha256,
            "embedding": features.embedding,
            "heat_scale": None if heat is None else heat.tolist(),
            "confidence": confidence,
            "log": log,
        },
    )


def load_detector(folder: str | Path, device: torch.device | str = "cpu") -> Detector:
    """Restore a fitted detector from a fit's folder, with its tensors on `device`."""
    with safe_open(Path(folder) / MODEL, framework="pt", device=str(device)) as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return (METHODS | AUXILIARY_METHODS)[file.metadata()["method"]].from_state(state)


def take_seconds(folder: Path) -> dict[str, float]:
    """The seconds that a fit took, taken out of its folder: they are never the same twice, and kept apart."""
    seconds = read_json(folder / TIME)
    (folder / TIME).unlink()
    return seconds


def _portable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # Copies: safetensors refuses two names for one memory (without a prior the suspicion is the score).
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
