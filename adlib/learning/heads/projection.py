"""CLIP's own way from a token to the space that images and texts share, kept with the model."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ClipProjection(nn.Module):
    """`ln_post` and the visual projection, frozen (AF-CLIP eq. 7): `(..., D)` to `(..., E)`.

    A copy of its own lets a saved model score tokens without CLIP's weights.
    """

    weight: Tensor
    bias: Tensor
    matrix: Tensor

    def __init__(self, dim: int, embed_dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(dim))
        self.register_buffer("bias", torch.zeros(dim))
        self.register_buffer("matrix", torch.zeros(dim, embed_dim))
        self.eps = 1e-5

    @staticmethod
    def of(visual: Any) -> "ClipProjection":
        """The copy of an open_clip `VisionTransformer`'s, on the CPU."""
        projection = ClipProjection(*visual.proj.shape)
        norm = visual.ln_post
        for own, theirs in (
            (projection.weight, norm.weight),
            (projection.bias, norm.bias),
            (projection.matrix, visual.proj),
        ):
            own.copy_(theirs.detach())
        projection.eps = norm.eps
        return projection

    def get_extra_state(self) -> Tensor:
        """`eps`, which belongs to the saved model as the weights do."""
        return torch.tensor(self.eps, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore `eps`."""
        self.eps = float(state)

    def forward(self, tokens: Tensor) -> Tensor:
        """Differentiable in the tokens alone."""
        return F.layer_norm(tokens, self.weight.shape, self.weight, self.bias, self.eps) @ self.matrix
