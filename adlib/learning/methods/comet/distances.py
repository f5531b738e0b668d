"""A second discriminator, which learns how far a patch lies from those of trusted images.

Not in the papers. CoMet's discriminator knows on which side of a line a patch lies, a memory bank how far it
is from every normal patch. This one learns that distance, of training patches and of painted twins, and keeps
no bank: a network of the same form beside CoMet's own, whose training it leaves alone. Doubted images are no
neighbours, and neither is a patch's own, so that dirt vouches neither for itself nor for its like.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from adlib.base.device import mixed_precision
from adlib.base.progress import track
from adlib.base.rng import numpy_stream, torch_stream
from adlib.config.methods import DistancesParams, SimpleNetHead
from adlib.learning.equations.density import nearest_elsewhere
from adlib.learning.heads.simplenet import SimpleNet, anomaly_score
from adlib.learning.methods.comet.simplenet import Start
from adlib.learning.methods.comet.twins import PaintedTwins
from adlib.learning.methods.contract import Detector, Scores
from adlib.learning.methods.simplenet.sampling import SimpleNetDetector, head_optimiser, untrained

BATCH = 512  # patches of a step, and as many painted twins
OTHER = "distance."


@dataclass(frozen=True)
class TwoDiscriminators:
    """CoMet's discriminator beside one that knows distances: the mean of both scores, each on its own scale.

    Attributes:
        comet: scores by the side of the line.
        distance: scores by the distance.
        scale: `(2, 2)`, mean and deviation (rows) of the two scores over patches of trusted training images.
    """

    comet: SimpleNetDetector
    distance: SimpleNetDetector
    scale: Tensor

    def normality(self, patches: Tensor) -> Tensor:
        """`D(q)` of CoMet's discriminator: `(B, N, D)` to `(B, N)`."""
        return self.comet.normality(patches)

    def score(self, patches: Tensor) -> Scores:
        """Score `(B, N, D)`: the image's score is its largest patch score."""
        mean, std = self.scale
        patch = ((_both(self.comet, self.distance, patches) - mean) / std).mean(dim=-1)
        return Scores(patch.amax(dim=1), patch)

    def state(self) -> dict[str, Tensor]:
        """CoMet's tensors as they are, those of the other, and the scale of both."""
        other = {OTHER + name: tensor for name, tensor in self.distance.state().items()}
        return {**self.comet.state(), **other, "usual": self.scale}


def restore_comet_sn(state: dict[str, Tensor]) -> Detector:
    """Rebuild one discriminator or both from `state()`."""
    if "usual" not in state:
        return SimpleNetDetector.from_state(state)
    other = {name.removeprefix(OTHER): tensor for name, tensor in state.items() if name.startswith(OTHER)}
    comet = SimpleNetDetector.from_state({name: state[name] for name in other})
    return TwoDiscriminators(comet, SimpleNetDetector.from_state(other), state["usual"])


def with_distances(params: DistancesParams, start: Start) -> TwoDiscriminators:
    """Train a discriminator of distances to stand beside CoMet's.

    Args:
        params: what is compared, and for how many steps.
        start: CoMet's head, which has been trained since, and what it began with: two images at least.
    """
    learner, seed, device = start.learner, start.seed, start.device
    features, head, weights = learner.features, start.head, start.prior.image
    S = len(features)
    lots = numpy_stream(seed, "distances", "patches").random((S, features.patches))
    patches = features.sampled_batch(np.arange(S), lots.argsort(axis=1)[:, : params.patches], device)
    trusted = trusted_images(params, weights)
    module = untrained(learner.params, features.width, seed, device)
    module.mean.copy_(head.mean)
    module.std.copy_(head.std)
    known = known_distances(patches, weights, trusted, learner.twins, module)
    comet = SimpleNetDetector(head)
    distance = SimpleNetDetector(train_distances(module, known, params.steps, learner.params, seed, device))
    std, mean = torch.std_mean(_both(comet, distance, patches[trusted]).flatten(0, 1), dim=0)
    # A score that never varies stays at zero.
    return TwoDiscriminators(comet, distance, torch.stack([mean, torch.where(std > 0, std, 1.0)]))


def trusted_images(params: DistancesParams, weights: Tensor) -> Tensor:
    """Positions of the images that are trusted; of the two best where fewer are."""
    count = max(2, int((weights >= params.trusted).sum()))
    return weights.argsort(descending=True, stable=True)[:count].sort().values


@dataclass(frozen=True)
class KnownDistances:
    """What there is to learn.

    Attributes:
        patches: `(n, D)`.
        distances: `(n,)`, their logarithms, standardised.
        chances: `(n,)`, of being drawn.
    """

    patches: Tensor
    distances: Tensor
    chances: Tensor


def known_distances(
    patches: Tensor, weights: Tensor, trusted: Tensor, twins: PaintedTwins | None, module: SimpleNet
) -> list[KnownDistances]:
    """How far patches `(S, P, D)` and painted twins lie from patches of other, trusted images.

    Args:
        patches: of the training images.
        weights: `(S,)`, of those images.
        trusted: positions of the trusted ones.
        twins: painted ones, if there are any.
        module: its statistics standardise the features.
    """
    S, P, _ = patches.shape
    parts = [(patches.flatten(0, 1), torch.arange(S).repeat_interleave(P), weights.repeat_interleave(P))]
    if twins is not None and len(twins.patches):
        parts.append((twins.patches, twins.images, twins.weights))
    bank, device = module.standardise(patches[trusted.to(patches.device)]), patches.device
    far = [
        nearest_elsewhere(module.standardise(some), images.to(device), bank, trusted.to(device))
        for some, images, _ in parts
    ]
    logs = standard_logs(torch.cat(far)).split([len(distances) for distances in far])
    return [KnownDistances(some, log, chances) for (some, _, chances), log in zip(parts, logs, strict=True)]


def standard_logs(distances: Tensor) -> Tensor:
    """Logarithms of distances `(n,)`, standardised; what is nearer than a tenth of the mean counts as that.

    Without a floor the twins of a plain background, at no distance at all, would be all there is to learn.
    """
    floor = (distances.mean() / 10).clamp_min(torch.finfo(distances.dtype).tiny)
    logs = torch.maximum(distances, floor).log()
    std, mean = torch.std_mean(logs)
    return (logs - mean) / torch.where(std > 0, std, 1.0)


def train_distances(
    module: SimpleNet,
    known: list[KnownDistances],
    steps: int,
    params: SimpleNetHead,
    seed: int,
    device: torch.device,
) -> SimpleNet:
    """Teach a fresh head that its anomaly score is the distance, by squared errors."""
    # From the mean of all distances: what a random start says of odd patches never quite leaves it.
    nn.init.zeros_(module.out.weight)
    optimiser = head_optimiser(params, module.train(), steps, weight_decay=params.weight_decay)
    draws = torch_stream(seed, "distances", "draws")
    with track("distances", steps, "steps") as advance:
        for _ in range(steps):
            lots = [
                torch.multinomial(part.chances, BATCH, replacement=True, generator=draws).to(device)
                for part in known
            ]
            drawn = torch.stack([part.patches[lot] for part, lot in zip(known, lots, strict=True)])
            distances = torch.stack([part.distances[lot] for part, lot in zip(known, lots, strict=True)])
            optimiser.zero_grad()
            with mixed_precision(device):
                loss = (anomaly_score(module(drawn)) - distances).square().mean()
            loss.backward()
            optimiser.step()
            advance(1)
    return module.eval()


def _both(comet: SimpleNetDetector, distance: SimpleNetDetector, patches: Tensor) -> Tensor:
    """Both scores of patches `(B, N, D)`: `(B, N, 2)`."""
    return torch.stack([part.score(patches).patch for part in (comet, distance)], dim=-1)
