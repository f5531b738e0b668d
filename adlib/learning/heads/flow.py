"""DifferNet's normalizing flow over one feature vector a view (Rudolph et al. 2021; CoMet 4.4)."""

from itertools import pairwise

import torch
from FrEIA.modules import GLOWCouplingBlock
from torch import Tensor, nn


class Flow(nn.Module):
    """Affine coupling blocks with fixed permutations before them, over standardised features.

    Args:
        dim: feature width D, at least 2.
        blocks: number of coupling blocks.
        hidden: width of the three hidden layers of every subnet.
        clamp: bound of a block's log-scale, the alpha of `soft_clamp`.
        generator: draws permutations and initial weights.
    """

    mean: Tensor
    std: Tensor
    permutations: Tensor
    clamp: Tensor

    def __init__(
        self, dim: int, blocks: int, hidden: int, clamp: float, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if dim < 2:
            raise ValueError(f"dim: a coupling block needs two halves, so at least 2 features, got {dim}")
        # Backbones differ in feature scale, and the latent space has unit variance: so should its input.
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        # Part of the state: a flow restored with other permutations would be another function.
        order = [torch.randperm(dim, generator=generator) for _ in range(blocks)]
        self.register_buffer("permutations", torch.stack(order))
        self.register_buffer("clamp", torch.tensor(clamp, dtype=torch.float64))

        def activation(s: Tensor) -> Tensor:
            # FrEIA multiplies by the clamp again.
            return soft_clamp(s, clamp) / clamp

        self.blocks = nn.ModuleList(
            GLOWCouplingBlock(
                [(dim,)],
                subnet_constructor=lambda inputs, outputs: subnet(inputs, hidden, outputs, generator),
                clamp=clamp,
                clamp_activation=activation,
            )
            for _ in range(blocks)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features to the latent space.

        Args:
            features: `(..., D)`.

        Returns:
            `z` `(..., D)` and `log|det J|` `(...)` of the flow itself: the standardisation before it is a
            constant, which no loss and no ranking notices.
        """
        shape = features.shape
        x = ((features - self.mean) / self.std).flatten(0, -2)
        log_det = x.new_zeros(len(x))
        # In half precision the sums of log-scales would be off by more than scores differ.
        with torch.autocast(x.device.type, enabled=False):
            for block, permutation in zip(self.blocks, self.permutations, strict=True):
                (x,), step = block([x[:, permutation]])
                log_det = log_det + step
        return x.reshape(shape), log_det.reshape(shape[:-1])

    def inverse(self, z: Tensor) -> Tensor:
        """Latent vectors `(..., D)` back to the features `(..., D)`."""
        x = z.flatten(0, -2)
        for block, permutation in zip(reversed(self.blocks), self.permutations.flip(0), strict=True):
            (x,), _ = block([x], rev=True)
            x = x[:, permutation.argsort()]
        return x.reshape(z.shape) * self.std + self.mean


def soft_clamp(s: Tensor, alpha: float) -> Tensor:
    """DifferNet's bound on log-scales: `alpha * 0.636 * atan(s / alpha)`, within about +-alpha."""
    return alpha * 0.636 * torch.atan(s / alpha)


def subnet(inputs: int, hidden: int, outputs: int, generator: torch.Generator | None = None) -> nn.Sequential:
    """Scale and shift of one half from the other: three hidden layers with ReLU."""
    widths = (inputs, hidden, hidden, hidden, outputs)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        # PyTorch's own initial distribution, which DifferNet uses, from a stream of ours.
        for parameter in linear.parameters():
            nn.init.uniform_(parameter, -(fan_in**-0.5), fan_in**-0.5, generator=generator)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def likelihood_losses(z: Tensor, log_det: Tensor) -> Tensor:
    """Negative log-likelihood a dimension, less its constant: `(||z||^2 / 2 - log|det J|) / D`, CoMet eq. 11.

    Args:
        z: `(..., D)`.
        log_det: `(...)`.

    Returns:
        `(...)`, one loss a view; of either sign.
    """
    return (z.square().sum(-1) / 2 - log_det) / z.shape[-1]


def latent_scores(z: Tensor) -> Tensor:
    """`mean(z^2)` of a view, non-negative: DifferNet's anomaly score. `(..., D)` to `(...)`."""
    return z.square().mean(-1)
