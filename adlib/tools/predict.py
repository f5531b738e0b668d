"""`adlib predict`: a model on new images, as tables and heat maps."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from adlib.base.ahead import read_ahead
from adlib.base.device import resolve_device
from adlib.base.errors import UserError
from adlib.base.files import atomic_path, write_json
from adlib.base.progress import track
from adlib.base.tables import write_records
from adlib.data.images import ImageError, read_rgb
from adlib.datasets.files import SUFFIXES
from adlib.evaluation.maps import pixel_maps
from adlib.evaluation.pictures import overlay, stretch
from adlib.fits.model import Model, Prediction, load_model

HEATMAPS = "heatmaps"


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
        raise UserError(
            "no image given; name files, a folder, a pattern, or - for one path per line on stdin"
        )
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
    # Nine digits tell any two float32 apart.
    write_records(out / "predictions.csv", rows, Prediction, floats=".9g")
    described: dict[str, Any] = {
        "model": folder.name,
        "weights_sha256": model.recipe.info["weights_sha256"],
        "threshold": None if model.threshold is None else asdict(model.threshold),
        "heat_scale": model.heat_scale,
        "predictions": [asdict(row) | {"heatmap": pictures.get(i)} for i, row in enumerate(rows)],
    }
    write_json(out / "predictions.json", described)
