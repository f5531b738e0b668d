"""What every method on SimpleNet's head shares: its start, its batches, its optimiser and its detector."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adlib.base.errors import UserError
from adlib.base.rng import numpy_stream, torch_stream
from adlib.config.methods import SimpleNetHead
from adlib.data.rows import FeatureView
from adlib.learning.heads.simplenet import SimpleNet, anomaly_score
from adlib.learning.methods.contract import Scores
from adlib.learning.methods.epochs import ScheduledOptimiser
from adlib.learning.methods.statistics import feature_statistics


@dataclass(frozen=True)
class SimpleNetDetector:
    """A trained head: the image's score is its largest patch score."""

    head: SimpleNet

    @torch.inference_mode()
    def normality(self, patches: Tensor) -> Tensor:
        """`D(q)` of `(B, N, D)` with the running batch statistics: `(B, N)`."""
        return self.head.eval()(patches)

    def score(self, patches: Tensor) -> Scores:
        """Score `(B, N, D)`."""
        patch = anomaly_score(self.normality(patches))
        return Scores(patch.amax(dim=1), patch)

    def state(self) -> dict[str, Tensor]:
        """Weights, batch statistics and feature statistics."""
        return dict(self.head.state_dict())

    @staticmethod
    def from_state(state: dict[str, Tensor]) -> "SimpleNetDetector":
        """Rebuild from `state()`; widths follow from the tensors."""
        hidden, dim = state["hidden.weight"].shape
        head = SimpleNet(dim, hidden)
        head.load_state_dict(state)
        return SimpleNetDetector(head.to(state["mean"].device).eval())


def new_head(params: SimpleNetHead, features: FeatureView, seed: int, device: torch.device) -> SimpleNet:
    """A fresh head with the training features' statistics, if it is to standardise them."""
    head = untrained(params, features.width, seed, device)
    if params.standardise:
        mean, std = feature_statistics(features, device)
        head.mean.copy_(mean)
        head.std.copy_(std)
    return head


def untrained(params: SimpleNetHead, width: int, seed: int, device: torch.device) -> SimpleNet:
    """A head of random weights that takes features of `width` channels as they come."""
    return SimpleNet(width, params.hidden, torch_stream(seed, "simplenet", "init")).to(device)


def head_optimiser(
    params: SimpleNetHead, head: SimpleNet, steps: int, *, weight_decay: float
) -> ScheduledOptimiser:
    """The head's optimiser with one rate for the adaptor and one for the discriminator."""
    discriminator = [*head.hidden.parameters(), *head.norm.parameters(), *head.out.parameters()]
    groups = [
        {"params": list(head.adaptor.parameters()), "lr": params.lr_adaptor},
        {"params": discriminator, "lr": params.lr_discriminator},
    ]
    return ScheduledOptimiser(
        params.optimiser, groups, steps, annealed=params.annealed, weight_decay=weight_decay
    )


class Draw(NamedTuple):
    """Random patches of a batch of images.

    Attributes:
        images: `(B,)`, positions in the training set.
        columns: `(B, P)`, which of an image's candidates were drawn.
        patches: `(B, P, D)`.
        noise: `(B, P, D)`, the epsilon of CoMet eq. 14; None where no twins were asked for.
        painted: `(B, P, D)`, painted twins (of any images), if there are any.
    """

    images: Tensor
    columns: Tensor
    patches: Tensor
    noise: Tensor | None
    painted: Tensor | None = None


class PatchSampler:
    """Draws random patches of given images together with the noise of their perturbed twins.

    Args:
        params: how many patches, how much noise.
        features: the training set.
        seed: of the two streams.
        device: where the batches go.
        candidates: `(S, C)` patches of each image to draw from; None for all.
    """

    def __init__(
        self,
        params: SimpleNetHead,
        features: FeatureView,
        seed: int,
        device: torch.device,
        candidates: np.ndarray | None = None,
    ) -> None:
        self.features, self.device, self.candidates = features, device, candidates
        self.sigma = params.sigma
        self.choices = features.patches if candidates is None else candidates.shape[1]
        self.count = min(params.patches_per_image, self.choices)
        self._columns = numpy_stream(seed, "simplenet", "patches")
        self._noise = torch_stream(seed, "simplenet", "noise", device=device)

    def draw(self, images: Tensor, *, twins: bool = True) -> Draw:
        """Patches without repetition from each of `images` `(B,)`, and what makes their noisy twins."""
        rows = images.numpy()
        lots = self._columns.random((len(rows), self.choices), dtype=np.float32)
        columns = np.argpartition(lots, self.count - 1, axis=1)[:, : self.count]
        chosen = columns if self.candidates is None else np.take_along_axis(self.candidates[rows], columns, 1)
        patches = self.features.sampled_batch(rows, chosen, self.device)
        noise = None
        if twins:
            noise = torch.randn(patches.shape, generator=self._noise, device=self.device) * self.sigma
        return Draw(images, torch.from_numpy(columns), patches, noise)


def check_trainable(features: FeatureView, batch_size: int, at_least: int = 2) -> int:
    """The batch size that fits: at most the number of training images.

    Raises:
        UserError: fewer than `at_least` training images (batch statistics and quartiles need two).
    """
    if len(features) < at_least:
        raise UserError(f"training set: at least {at_least} images are needed, got {len(features)}")
    return min(batch_size, len(features))
