"""AF-CLIP's scores: tokens against the normal and the abnormal state, and against a bank of normal ones."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from adlib.learning.heads.memory import MemoryBank

TEMPERATURE = 0.07


def abnormal_probability(
    tokens: Sequence[Tensor], states: Tensor, temperature: float = TEMPERATURE
) -> Tensor:
    """`softmax(s)[abnormal]`, `s_state = sum over blocks and scales of cos(v, t_state) / temperature`.

    AF-CLIP eq. 9-10.

    Args:
        tokens: the projected tokens v, one `(B, T, E)` for each block and scale.
        states: `(2, E)`, the normal state first.
        temperature: positive.

    Returns:
        `(B, T)` in [0, 1].
    """
    directions = F.normalize(states, dim=1)
    cosines = torch.stack([F.normalize(v, dim=2) @ directions.T for v in tokens]).sum(0)
    normal, abnormal = (cosines / temperature).unbind(2)
    return torch.sigmoid(abnormal - normal)  # the softmax of two


def bank_scores(tokens: Sequence[Tensor], banks: Sequence[MemoryBank]) -> Tensor:
    """`a_p = min over the bank of (1 - cos) / 2`, averaged over blocks and scales (AF-CLIP eq. 16-17).

    Args:
        tokens: aggregated, unadapted patch tokens, one `(B, N, D)` for each block and scale.
        banks: one cosine bank for each of them, in the same order.

    Returns:
        `(B, N)` in [0, 1].
    """
    scores = []
    for f, bank in zip(tokens, banks, strict=True):
        B, N, D = f.shape
        scores.append(bank.nearest(f.reshape(B * N, D)).reshape(B, N) / 2)
    return torch.stack(scores).mean(0)


def few_shot_scores(patch: Tensor, probability: Tensor, weight: float = 0.1) -> tuple[Tensor, Tensor]:
    """Image score `max_p a_p + weight p_cls` and map `a + weight P` (AF-CLIP eq. 18).

    Args:
        patch: `(B, N)`, the distances a.
        probability: `(B, 1 + N)`, the class token's first.
        weight: of the zero-shot scores.

    Returns:
        `(B,)` and `(B, N)`.
    """
    return patch.amax(1) + weight * probability[:, 0], patch + weight * probability[:, 1:]
