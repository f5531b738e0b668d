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
    eps: Tensor
    matrix: Tensor

    def __init__(self, dim: int, embed_dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(dim))
        self.register_buffer("bias", torch.zeros(dim))
        self.register_buffer("eps", torch.tensor(1e-5, dtype=torch.float64))
        self.register_buffer("matrix", torch.zeros(dim, embed_dim))

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
        projection.eps.fill_(norm.eps)
        return projection

    def forward(self, tokens: Tensor) -> Tensor:
        """Differentiable in the tokens alone."""
        shape = self.weight.shape
        return F.layer_norm(tokens, shape, self.weight, self.bias, float(self.eps)) @ self.matrix
