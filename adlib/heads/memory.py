"""A bank of patch features and exact nearest neighbours in it."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 8192  # queries at a time: bounds the distance matrix


class MemoryBank:
    """Exact nearest-neighbour distances to a growing set of vectors.

    Args:
        metric: `"euclidean"` (not squared) or `"cosine"` (`1 - cos`).
    """

    def __init__(self, metric: Literal["euclidean", "cosine"] = "euclidean") -> None:
        if metric not in ("euclidean", "cosine"):
            raise ValueError(f"metric: must be euclidean or cosine, got {metric!r}")
        self.metric = metric
        self._parts: list[Tensor] = []

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    @property
    def vectors(self) -> Tensor:
        """`(M, D)`, everything added so far."""
        if not self._parts:
            raise ValueError("the memory bank is empty; add vectors first")
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        return self._parts[0]

    def add(self, x: Tensor) -> None:
        """Add vectors `(M, D)`."""
        if x.ndim != 2 or (self._parts and x.shape[1] != self._parts[0].shape[1]):
            width = self._parts[0].shape[1] if self._parts else "D"
            raise ValueError(f"x: must be (M, {width}), got {tuple(x.shape)}")
        self._parts.append(x)

    def nearest(self, x: Tensor, k: int = 1) -> Tensor:
        """Distances of `x` `(N, D)` to its `k` nearest vectors, ascending: `(N, k)`.

        Raises:
            ValueError: k is not between 1 and the number of vectors.
        """
        return self.search(x, k)[0]

    def search(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Distances `(N, k)` and positions `(N, k)` of the `k` nearest vectors."""
        bank = self.vectors
        if not 1 <= k <= len(bank):
            raise ValueError(f"k: must be between 1 and the bank's {len(bank)} vectors, got {k}")
        if x.ndim != 2 or x.shape[1] != bank.shape[1]:
            raise ValueError(f"x: must be (N, {bank.shape[1]}), got {tuple(x.shape)}")
        parts = [self._search(part, bank, k) for part in x.split(CHUNK)]
        distances, positions = (torch.cat(column) for column in zip(*parts, strict=True))
        return distances, positions

    def _search(self, x: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if self.metric == "cosine":
            similarity, positions = (F.normalize(x, dim=1) @ F.normalize(bank, dim=1).T).topk(k)
            return 1 - similarity, positions
        # The expanded square finds the neighbours fast; subtraction then measures them without cancellation.
        squared = bank.square().sum(1) - 2 * (x @ bank.T)
        positions = squared.topk(k, largest=False).indices
        distances = (x[:, None] - bank[positions]).norm(dim=2)
        distances, order = distances.sort(dim=1)
        return distances, positions.gather(1, order)
