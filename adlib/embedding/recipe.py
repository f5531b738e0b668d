"""Rows of features, one per image, through the store: what all kinds of features share.

A row depends on the image's bytes and on the recipe's key: that is its name in the store. A stage's output is
assembled from rows.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from adlib.base.ahead import read_ahead
from adlib.base.files import atomic_directory, atomic_path, sha256_file, write_json
from adlib.base.progress import track
from adlib.base.store import entry_path
from adlib.data.images import read_rgb
from adlib.data.manifest import DataError, Sample
from adlib.data.rows import INFO, ROWS

Frame = TypeVar("Frame")


@dataclass(frozen=True)
class Recipe(Generic[Frame]):
    """How one kind of features is made.

    Attributes:
        key: the content key of everything that a row depends on besides its image.
        shape: `(N, D)` of a row.
        info: what `FeatureInfo` says besides ids and key.
        block: how many images are read and embedded at a time.
        frame: an image `(H, W, 3)` uint8 to what `embed` takes; runs in threads.
        embed: B frames to rows `(B, N, D)` float16.
    """

    key: str
    shape: tuple[int, int]
    info: dict[str, Any]
    block: int
    frame: Callable[[np.ndarray], Frame]
    embed: Callable[[list[Frame]], np.ndarray]


def write_rows(folder: str | Path, samples: Sequence[Sample], root: Path, recipe: Recipe[Any]) -> int:
    """Write the features of all samples to `folder` (as a whole or not at all).

    Rows found in the store are copied, the others embedded and added to it.

    Returns:
        The number of images that had to be embedded.

    Raises:
        DataError: an image is not the one that the manifest names, or the disk has no room for the rows.
    """
    embedded = 0
    with atomic_directory(folder) as temporary:
        rows = _new_rows(temporary / ROWS, (len(samples), *recipe.shape))
        missing = [i for i, sample in enumerate(samples) if not _restore(rows, i, recipe.key, sample.id)]
        files = [(root, samples[i]) for i in missing]
        with track("embedding", len(files), "images") as advance:
            for number, block in enumerate(_embedded_blocks(recipe, files)):
                for i, row in zip(missing[number * recipe.block :], block, strict=False):
                    rows[i] = row
                    _keep(row, recipe.key, samples[i].id)
                    embedded += 1
                advance(len(block))
        rows.flush()
        del rows
        _write_info(temporary, samples, recipe)
    return embedded


def write_no_rows(folder: str | Path, samples: Sequence[Sample], recipe: Recipe[Any]) -> None:
    """Write everything about the features of all samples but the rows themselves (see `StreamedRows`)."""
    with atomic_directory(folder) as temporary:
        _write_info(temporary, samples, recipe)


class StreamedRows:
    """Rows that are made whenever they are asked for, equal to those that `write_rows` would have written.

    Args:
        recipe: how.
        files: the images, each below a folder of its own.
    """

    def __init__(self, recipe: Recipe[Any], files: Sequence[tuple[Path, Sample]]) -> None:
        self._recipe = recipe
        self._files = list(files)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(S, N, D)`."""
        return (len(self._files), *self._recipe.shape)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(B,)` to `(B, N, D)` float16."""
        files = [self._files[i] for i in rows]
        return np.concatenate(list(_embedded_blocks(self._recipe, files)))


def filled(images: np.ndarray, size: int) -> np.ndarray:
    """`(B, ...)` filled up to `size` with copies.

    Kernels are chosen by the batch's shape and round differently, but a row must not depend on the company
    it is embedded in.
    """
    B, *frame = images.shape
    return np.resize(images, (max(B, size), *frame))


def half_precision(features: Tensor) -> np.ndarray:
    """float16 on the CPU; what lies beyond its range is clamped."""
    limit = torch.finfo(torch.float16).max
    return features.clamp(-limit, limit).half().cpu().numpy()


def _embedded_blocks(recipe: Recipe[Any], files: Sequence[tuple[Path, Sample]]) -> Iterator[np.ndarray]:
    """Blocks of rows in order; images are decoded in threads while the backbone works."""

    def read(file: tuple[Path, Sample]) -> Any:
        return recipe.frame(_read_known(*file))

    for frames in read_ahead(files, recipe.block, read):
        yield recipe.embed(frames)


def _new_rows(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A mapped file of zeros whose room is taken at once: mapped writing to a full disk kills the process."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise DataError(
                f"features of {shape[0]} images take {rows.nbytes / 1e9:.2f} GB: {error.strerror}; "
                "free some room, or lower image_size or the dataset's max_* counts"
            ) from error
    return rows


def _write_info(folder: Path, samples: Sequence[Sample], recipe: Recipe[Any]) -> None:
    write_json(folder / INFO, {"ids": [s.id for s in samples], **recipe.info, "key": recipe.key})


def _read_known(root: Path, sample: Sample) -> np.ndarray:
    """The image, provided that it still is the one its id names: other pixels would poison the store."""
    path = root / sample.path
    if sha256_file(path) != sample.id:
        raise DataError(f"{path}: changed since the fetch stage; run `dvc repro`, which fetches it anew")
    return read_rgb(path)


def _restore(rows: np.ndarray, i: int, key: str, id: str) -> bool:
    path = entry_path("features", key, f"{id}.npy")
    if path is None or not path.is_file():
        return False
    rows[i] = np.load(path)
    return True


def _keep(row: np.ndarray, key: str, id: str) -> None:
    path = entry_path("features", key, f"{id}.npy")
    if path is not None:
        with atomic_path(path) as temporary:
            np.save(temporary, row)
