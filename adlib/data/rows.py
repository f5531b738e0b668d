"""Features on disk, one float16 row an image, memory-mapped: all that training and scoring ever read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from adlib.base.device import to_device
from adlib.base.errors import UserError
from adlib.base.files import read_json

ROWS = "features.npy"
INFO = "features.json"


@dataclass(frozen=True)
class FeatureInfo:
    """What a feature file holds: the ids of its rows, and where they came from.

    `grid` is the rows and columns of the patches, None where a row holds views of an image instead.
    `embedding` has the backbone's block of params.yaml and `keep_aspect` (patches only).
    """

    ids: tuple[str, ...]
    grid: tuple[int, int] | None
    image_size: int
    weights_sha256: str
    key: str
    embedding: Mapping[str, Any] = field(default_factory=dict)


class Rows(Protocol):
    """`(S, N, D)` float16, wherever they lie: a memory-mapped array, several, or none until asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, key: Any, /) -> Any: ...


class Features:
    """Rows `(N, D)` of images, float16, read as float32 batches."""

    def __init__(self, info: FeatureInfo, rows: Rows, start: int = 0) -> None:
        self.info = info
        self._rows = rows
        self._index = {id: i for i, id in enumerate(info.ids, start)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(S, N, D)`: images, patches per image, width."""
        _, N, D = self._rows.shape
        return len(self.info.ids), N, D

    def select(self, ids: Sequence[str]) -> "FeatureView":
        """The images `ids`, in that order.

        Raises:
            UserError: an image has no row.
        """
        missing = [id for id in ids if id not in self._index]
        if missing:
            raise UserError(
                f"{len(missing)} images have no features, the first is {missing[0]}; rerun `features`"
            )
        return FeatureView(tuple(ids), self._rows, np.array([self._index[id] for id in ids], dtype=np.intp))


class StackedRows:
    """The rows of several feature files as one array `(S, N, D)`, read where they lie."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(part.shape[0] for part in parts)])

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(S, N, D)`."""
        _, N, D = self._parts[0].shape
        return int(self._starts[-1]), N, D

    def __getitem__(self, key: np.ndarray | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Rows `(B,)`, or rows `(B, 1)` and patches `(B, P)`, as NumPy indexes them."""
        rows, patches = key if isinstance(key, tuple) else (key, None)
        rows = rows.reshape(-1)
        part = np.searchsorted(self._starts, rows, side="right") - 1
        found: list[np.ndarray] = [np.empty(0)] * len(rows)
        for p in np.unique(part):  # at most one read a part: it may have to make its rows
            (own,) = np.nonzero(part == p)
            for i, row in zip(own, self._parts[p][rows[own] - self._starts[p]], strict=True):
                found[i] = row if patches is None else row[patches[i]]
        return np.stack(found)


@dataclass(frozen=True)
class FeatureView:
    """Some images of a feature file, addressed by their position in `ids`."""

    ids: tuple[str, ...]
    rows: Rows
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def patches(self) -> int:
        """N, patches per image."""
        return self.rows.shape[1]

    @property
    def width(self) -> int:
        """D, the feature width."""
        return self.rows.shape[2]

    def subset(self, positions: np.ndarray) -> "FeatureView":
        """The images at `positions` `(K,)`, in that order."""
        return FeatureView(tuple(self.ids[i] for i in positions), self.rows, self.index[positions])

    def batch(self, positions: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
        """All patches of some images: `(B, N, D)` float32 on `device`."""
        return to_device(self.rows[self.index[positions]], device).float()

    def sampled_batch(self, positions: np.ndarray, patches: np.ndarray, device: torch.device) -> Tensor:
        """Chosen patches of some images: `patches` is `(B, P)`, the result `(B, P, D)` float32."""
        rows = self.index[positions][:, None]
        return to_device(self.rows[rows, patches], device).float()

    def batches(self, size: int, device: torch.device) -> Iterator[Tensor]:
        """All images in order, at most `size` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(np.arange(start, min(start + size, len(self))), device)


def join_views(views: Sequence[FeatureView]) -> FeatureView:
    """The images of several feature files, one after the other; nothing is read yet.

    Raises:
        ValueError: the files have different numbers or widths of patches.
    """
    shapes = {view.rows.shape[1:] for view in views}
    if len(shapes) != 1:
        raise ValueError(f"views: all must have one (N, D), got {sorted(shapes)}")
    parts = list({id(view.rows): view.rows for view in views}.values())
    sizes = np.cumsum([0, *(part.shape[0] for part in parts)])
    starts = {id(part): start for part, start in zip(parts, sizes, strict=False)}
    index = np.concatenate([starts[id(view.rows)] + view.index for view in views])
    ids = tuple(name for view in views for name in view.ids)
    return FeatureView(ids, parts[0] if len(parts) == 1 else StackedRows(parts), index)


def open_features(folder: str | Path) -> Features:
    """Open a feature folder, memory-mapped."""
    return Features(read_info(folder), np.load(Path(folder) / ROWS, mmap_mode="r"))


def read_info(folder: str | Path) -> FeatureInfo:
    """What a feature folder says about its rows."""
    raw = read_json(Path(folder) / INFO)
    grid = None if raw["grid"] is None else tuple(raw["grid"])
    return FeatureInfo(**{**raw, "ids": tuple(raw["ids"]), "grid": grid})
