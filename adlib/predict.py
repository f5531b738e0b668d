"""`adlib predict`: a fitted model on new images, from the fit's folder alone."""

import glob
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adlib.ahead import read_ahead
from adlib.data.images import ImageError, read_rgb, sha256_file
from adlib.data.layouts.files import SUFFIXES
from adlib.device import mixed_precision, resolve_device, to_device
from adlib.errors import UserError
from adlib.features.build import patch_recipe
from adlib.features.clip_rows import token_recipe
from adlib.features.rows import Recipe
from adlib.features.weights import WeightsError
from adlib.fits import INFO, load_threshold
from adlib.io import atomic_path, read_json, write_csv, write_json
from adlib.methods.detector import Detector
from adlib.progress import track
from adlib.report.pictures import overlay, stretch
from adlib.schema import BackboneParams, ClipParams
from adlib.scoring import pixel_maps
from adlib.threshold import Threshold, exceeds
from adlib.training import load_detector

ANOMALOUS, NORMAL = "anomalous", "normal"
HEATMAPS = "heatmaps"


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


def predict(
    images: Iterable[str],
    folder: str | Path,
    out: str | Path,
    *,
    device: str = "auto",
    weights: str | None = None,
) -> list[Prediction]:
    """Score images and write `predictions.csv`, `predictions.json` and a heat map each into `out`.

    A file that cannot be read gets a row with its error, and the rest goes on. Heat maps are drawn over the
    picture as the network sees it; their colours mean the same for every image and every run of a model.

    Raises:
        UserError: nothing to score, or as `load_model`.
    """
    paths = find_images(images)
    model = load_model(folder, resolve_device(device), weights)
    out = Path(out)
    rows: list[Prediction] = []
    pictures: dict[int, str] = {}
    with track("predicting", len(paths), "images") as advance:
        for block in _frames(paths, model):
            first = len(rows)
            rows.extend(Prediction(frame.path, error=frame.error) for frame in block)
            good = {first + i: frame.rgb for i, frame in enumerate(block) if frame.rgb is not None}
            if good:
                frames = np.stack(list(good.values()))
                image, patch = model.score(frames)
                for i, score in zip(good, image, strict=True):
                    rows[i] = model.decide(rows[i].path, float(score))
                if model.heat_scale is not None:
                    names = {i: _picture_name(i, rows[i].path) for i in good}
                    _draw(out, list(names.values()), frames, patch, model)
                    pictures |= names
            advance(len(block))
    _write(out, rows, pictures, model, Path(folder))
    return rows


def find_images(arguments: Iterable[str]) -> list[str]:
    """Paths from files, folders (searched to the bottom) and patterns such as `line/*.png`, each once.

    A file is taken as it is, also when it is missing: that is an error of its own row.

    Raises:
        UserError: a folder or pattern without an image, or no argument at all.
    """
    found: list[str] = []
    for argument in arguments:
        if Path(argument).is_dir():
            inside = [
                str(p) for p in Path(argument).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()
            ]
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            inside = [p for p in glob.glob(argument, recursive=True) if Path(p).is_file()]  # noqa: PTH207
        else:
            inside = [argument]
        if not inside:
            raise UserError(f"{argument}: no image there (allowed in folders: {', '.join(sorted(SUFFIXES))})")
        found.extend(sorted(inside))
    if not found:
        raise UserError("no image given; name files, a folder, a pattern, or - for one path a line on stdin")
    return list(dict.fromkeys(found))


class Frame(NamedTuple):
    """A picture `(S, S, 3)` uint8 as the network sees it, or None and why there is none."""

    path: str
    rgb: np.ndarray | None
    error: str | None


def _frames(paths: list[str], model: Model) -> Iterator[list[Frame]]:
    """Blocks of pictures in order."""

    def read(path: str) -> Frame:
        try:
            return Frame(path, model.recipe.frame(read_rgb(path)), None)
        except ImageError as error:
            return Frame(path, None, str(error))

    return read_ahead(paths, model.recipe.block, read)


def _draw(out: Path, names: Sequence[str], frames: np.ndarray, patch: np.ndarray, model: Model) -> None:
    maps = stretch(pixel_maps(patch, model.grid, model.image_size), *(model.heat_scale or (0.0, 1.0)))
    for name, rgb, heat in zip(names, frames, maps, strict=True):
        with atomic_path(out / name) as temporary:
            Image.fromarray(overlay(rgb, heat)).save(temporary)


def _picture_name(number: int, path: str) -> str:
    """Numbered, as two folders may hold files of one name."""
    stem = re.sub(r"[^\w.-]+", "_", Path(path).stem)[:80]
    return f"{HEATMAPS}/{number:06}_{stem}.png"


def _write(out: Path, rows: list[Prediction], pictures: dict[int, str], model: Model, folder: Path) -> None:
    cells = ([_cell(value) for value in astuple(row)] for row in rows)
    write_csv(out / "predictions.csv", [f.name for f in fields(Prediction)], cells)
    described: dict[str, Any] = {
        "model": folder.name,
        "weights_sha256": model.recipe.info["weights_sha256"],
        "threshold": None if model.threshold is None else asdict(model.threshold),
        "heat_scale": model.heat_scale,
        "predictions": [asdict(row) | {"heatmap": pictures.get(i)} for i, row in enumerate(rows)],
    }
    write_json(out / "predictions.json", described)


def _cell(value: Any) -> str:
    """Nine digits tell any two float32 apart."""
    if isinstance(value, float):
        return f"{value:.9g}"
    return value or ""


def _file_hash(path: str) -> str | None:
    return sha256_file(path) if Path(path).is_file() else None
