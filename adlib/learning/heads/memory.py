"""A bank of patch features and exact nearest neighbours in it."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

CELLS = 2**24  # of the distance matrix at a time: 64 MiB in float32


class MemoryBank:
    """Exact nearest-neighbour distances to a growing set of vectors.

    Args:
        metric: `"euclidean"` (not squared) or `"cosine"` (`1 - cos`, of vectors that are not zero).
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
        parts = [self._search(part, bank, k) for part in x.split(max(1, CELLS // len(bank)))]
        distances, positions = (torch.cat(column) for column in zip(*parts, strict=True))
        return distances, positions

    def _search(self, x: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if self.metric == "cosine":
            x, bank = F.normalize(x, dim=1), F.normalize(bank, dim=1)
        # The expanded square finds the neighbours fast, the more exactly the closer all lie to the origin;
        # subtraction then measures them without cancellation: identical vectors have distance 0.
        centre = bank.mean(0)
        centred = bank - centre
        # In half precision the rounding of the square would choose among neighbours.
        with torch.autocast(x.device.type, enabled=False):
            squared = torch.addmm(centred.square().sum(1), x - centre, centred.T, alpha=-2)
        positions = squared.topk(k, largest=False).indices
        distances, order = (x[:, None] - bank[positions]).norm(dim=2).sort(dim=1)
        if self.metric == "cosine":
            distances = distances.square() / 2  # |a - b|^2 = 2 (1 - cos) for unit vectors
        return distances, positions.gather(1, order)
