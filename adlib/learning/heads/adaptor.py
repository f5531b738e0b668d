"""AF-CLIP's adaptor: one attention layer that turns the tokens of a frozen network towards anomalies."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AnomalyAdaptor(nn.Module):
    """Pre-norm self-attention over all tokens, without a residual (AF-CLIP 4.1, eq. 3-4).

    `Q, K, V = LN(F) W_q, LN(F) W_k, LN(F) W_v`; `softmax(Q K^T / sqrt(head_dim)) V` a head, then the output
    projection. One adaptor serves all blocks and scales. Without the residual an output token is a mixture of
    what it attends to, and not its old self plus a correction.

    Args:
        dim: token width D.
        heads: number of attention heads.
        head_dim: width of a head.
        generator: draws the initial weights; None draws from torch's global generator.
    """

    def __init__(
        self, dim: int, heads: int = 8, head_dim: int = 64, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if min(dim, heads, head_dim) < 1:
            raise ValueError(f"dim, heads, head_dim: must be positive, got {dim}, {heads}, {head_dim}")
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_k = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_v = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim)
        if generator is not None:
            for layer in (self.to_q, self.to_k, self.to_v, self.to_out):
                bound = layer.in_features**-0.5  # as torch's own initialisation of a linear layer
                for parameter in layer.parameters():
                    nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, T, D)` to `(B, T, D)`; the class token is one of the T."""
        B, T, _ = tokens.shape
        x = self.norm(tokens)
        q, k, v = (
            to(x).reshape(B, T, self.heads, -1).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v)
        )
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(attended.transpose(1, 2).reshape(B, T, -1))
