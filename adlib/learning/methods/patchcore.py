"""PatchCore: a greedy coreset of training patches as memory bank (Roth et al. 2022), the baseline to beat."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adlib.base.rng import numpy_stream, torch_stream
from adlib.config.methods import PatchCoreParams
from adlib.data.rows import FeatureView
from adlib.learning.heads.memory import MemoryBank
from adlib.learning.methods.contract import Fit, Scores
from adlib.learning.methods.statistics import feature_statistics


@dataclass(frozen=True)
class PatchCore:
    """The fitted memory bank of standardised patches; `neighbours` is b of the paper's eq. 7."""

    bank: MemoryBank
    neighbours: int
    mean: Tensor
    std: Tensor

    @torch.inference_mode()
    def score(self, patches: Tensor) -> Scores:
        """Distance of every patch to the bank; the image's score is its largest, re-weighted."""
        B, N, D = patches.shape
        patches = (patches - self.mean) / self.std
        distances, positions = self.bank.search(patches.reshape(B * N, D))
        patch, nearest = distances.reshape(B, N), positions.reshape(B, N)
        highest, worst = patch.max(dim=1)
        images = torch.arange(B, device=patches.device)
        return Scores(self._reweighted(patches[images, worst], nearest[images, worst], highest), patch)

    def _reweighted(self, patch: Tensor, nearest: Tensor, distance: Tensor) -> Tensor:
        """Roth et al. eq. 7: a patch whose neighbour is itself rare in the bank counts for more.

        `s = (1 - exp(d*) / sum_m exp(d_m)) d*` over the b nearest bank vectors m of the neighbour.
        """
        if self.neighbours == 1:
            return distance
        bank = self.bank.vectors
        _, around = self.bank.search(bank[nearest], min(self.neighbours, len(bank)))
        to_neighbours = (patch[:, None] - bank[around]).norm(dim=2)
        weight = 1 - torch.exp(distance - torch.logsumexp(to_neighbours, dim=1))
        return weight * distance

    def state(self) -> dict[str, Tensor]:
        """The bank and the feature statistics."""
        neighbours = torch.tensor(self.neighbours)
        return {"bank": self.bank.vectors, "neighbours": neighbours, "mean": self.mean, "std": self.std}

    @staticmethod
    def from_state(state: dict[str, Tensor]) -> "PatchCore":
        """Rebuild from `state()`."""
        bank = MemoryBank("euclidean")
        bank.add(state["bank"])
        return PatchCore(bank, int(state["neighbours"]), state["mean"], state["std"])


def fit_patchcore(params: PatchCoreParams, features: FeatureView, seed: int, device: torch.device) -> Fit:
    """Choose the coreset from a random presample of the training patches."""
    mean, std = feature_statistics(features, device)
    patches = (presample(features, params.presample, seed, device) - mean) / std
    projection = torch.randn(
        (features.width, min(params.projection_dim, features.width)),
        generator=torch_stream(seed, "patchcore", "projection", device=device),
        device=device,
    )
    bank = MemoryBank("euclidean")
    bank.add(patches[greedy_coreset(patches @ projection, params.coreset)])
    return Fit(PatchCore(bank, params.neighbours, mean, std))


def presample(features: FeatureView, count: int, seed: int, device: torch.device) -> Tensor:
    """About `count` random patches, the same number from every image: `(M, D)` float32."""
    S, N = len(features), features.patches
    per_image = min(N, max(1, count // S))
    rng = numpy_stream(seed, "patchcore", "presample")
    chosen = np.stack([rng.permutation(N)[:per_image] for _ in range(S)])
    return features.sampled_batch(np.arange(S), chosen, device).flatten(0, 1)


def greedy_coreset(points: Tensor, count: int) -> Tensor:
    """Positions of a greedy k-centre coreset: each next point is the farthest from those chosen.

    Args:
        points: `(M, P)`, possibly a random projection (Johnson-Lindenstrauss).
        count: size of the coreset; at most M are returned.

    Returns:
        `(min(count, M),)` int64. The first is the point nearest to the mean, so nothing is random.
    """
    squared = points.square().sum(1)
    current = (points - points.mean(0)).square().sum(1).argmin()
    distance = torch.full_like(squared, torch.inf)
    chosen = []
    for _ in range(min(count, len(points))):
        chosen.append(current)
        at = current[None]  # a 0-d index would wait for its value, once a point
        to_current = squared + squared.index_select(0, at) - 2 * (points @ points.index_select(0, at)[0])
        distance = torch.minimum(distance, to_current)
        current = distance.argmax()
    return torch.stack(chosen)
