"""AF-CLIP's text prompts: learned vectors before a fixed suffix, through a frozen text tower (4.2, eq. 8)."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

# The suffixes of learned vectors, the normal state first, and what stands in their place without any (5.5).
STATES = ("without defect.", "with defect.")
FIXED = ("a photo of an object without defect.", "a photo of an object with defect.")
LENGTH = 12
INIT_STD = 0.01


class TextTower(Protocol):
    """The text side of an open_clip `CLIP` (`CustomTextCLIP` keeps it in `.text`)."""

    token_embedding: Any
    positional_embedding: Any
    transformer: Any
    attn_mask: Any
    ln_final: Any
    text_projection: Any


class PromptPrefix(nn.Module):
    """The learnable vectors `[V_1] .. [V_n]`, shared by both states.

    Args:
        width: of the text tower's token embedding.
        length: n; 0 learns nothing.
        std: of the initial normal distribution.
        generator: draws the initial vectors; None draws from torch's global generator.
    """

    def __init__(
        self,
        width: int,
        length: int = LENGTH,
        std: float = INIT_STD,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.vectors, std=std, generator=generator)

    def forward(self, tower: TextTower, text: Tensor) -> Tensor:
        """Features of the prompts `(P, E)`, differentiable in the vectors (see `prompt_features`)."""
        return prompt_features(tower, self.vectors, text)


def prompt_features(tower: TextTower, prefix: Tensor, text: Tensor) -> Tensor:
    """Features of prompts that begin with learned vectors, AF-CLIP eq. 8.

    The prefix stands before the token embeddings of the whole suffix, its start token included; the sequence
    is cut to the context length, and the feature is read where the end-of-text token has moved to.

    Args:
        tower: the frozen text tower; OpenAI's tokens, whose end-of-text is the largest id.
        prefix: `(n, W)`.
        text: `(P, L)` token ids of the suffixes, padded with 0 to the context length L.

    Returns:
        `(P, E)`, not normalised.

    Raises:
        ValueError: the prefix pushes an end-of-text token out of the context.
    """
    P, L = text.shape
    end = text.argmax(dim=1) + len(prefix)
    if int(end.max()) >= L:
        raise ValueError(
            f"prefix: {len(prefix)} vectors push the end of the text to position {int(end.max())}, beyond "
            f"the context length {L}; use fewer vectors or a shorter suffix"
        )
    words = tower.token_embedding(text)
    sequence = torch.cat([prefix.to(words).expand(P, -1, -1), words], dim=1)[:, :L]
    x = tower.transformer(sequence + tower.positional_embedding.to(words), attn_mask=tower.attn_mask)
    read = tower.ln_final(x)[torch.arange(P, device=x.device), end]
    projection = tower.text_projection
    return projection(read) if isinstance(projection, nn.Module) else read @ projection
