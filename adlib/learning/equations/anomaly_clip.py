"""AF-CLIP's training losses (4.3, eq. 11-15), as pure functions."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def focal_loss(p: Tensor, y: Tensor, gamma: float = 4.0) -> Tensor:
    """Mean binary focal loss on probabilities, without class weights (AF-CLIP eq. 11).

    `mean of -(1 - p_t)^gamma log p_t`, `p_t = p` where `y = 1` and `1 - p` where `y = 0`.

    Args:
        p: probabilities of `y = 1`, any shape, in [0, 1].
        y: labels of the same shape, bool or 0 and 1.
        gamma: >= 0; 0 is the binary cross entropy.

    Example:
        Half of log 2, since every probability is 1/2:

        >>> focal_loss(torch.tensor([0.5, 0.5]), torch.tensor([1, 0]), gamma=1.0)
        tensor(0.3466)
    """
    if p.shape != y.shape:
        raise ValueError(f"p and y: must have one shape, got {tuple(p.shape)} and {tuple(y.shape)}")
    if not gamma >= 0:
        raise ValueError(f"gamma: must be >= 0, got {gamma}")
    p_t = torch.where(y.bool(), p, 1 - p)
    # log 0 would make one certain mistake infinite, and the gradient of the whole batch with it.
    return -((1 - p_t) ** gamma * p_t.clamp_min(torch.finfo(p.dtype).tiny).log()).mean()


def segmentation_loss(p: Tensor, mask: Tensor, gamma: float = 4.0) -> Tensor:
    """Focal loss plus mean absolute error of the patch probabilities, AF-CLIP eq. 13: both `(B, N)`.

    Example:
        log 2 / 2 plus a mean absolute error of 1/2:

        >>> segmentation_loss(torch.tensor([[0.5, 0.5]]), torch.tensor([[1, 0]]), gamma=1.0)
        tensor(0.8466)
    """
    return focal_loss(p, mask, gamma) + (p - mask.to(p.dtype)).abs().mean()


def patch_alignment_loss(tokens: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Patches of one kind should be alike, and unlike those of the other kind (AF-CLIP eq. 14).

    The cosine similarity of every pair of patches inside an image; the mean over the batch's mixed pairs
    (normal, abnormal) minus the mean over its pairs of one kind (self-pairs and those of normal images
    included), clamped at 0; then the mean over `tokens`. Without mixed pairs the loss is 0.

    A sum of similarities over pairs is the product of two sums of unit vectors, so that no `(N, N)` matrix is
    ever built.

    Args:
        tokens: one `(B, N, E)` for each block and scale.
        mask: `(B, N)`, bool or 0 and 1; 1 marks an abnormal patch. It is not changed.

    Example:
        A normal patch at 0 degrees and abnormal ones at 60 and -60: mixed pairs have the cosine 1/2, the five
        pairs of one kind (1 + 2 - 2/2) / 5 = 2/5.

        >>> tokens = torch.tensor([[[1.0, 0.0], [1.0, 3**0.5], [1.0, -(3**0.5)]]])
        >>> patch_alignment_loss([tokens], torch.tensor([[0, 1, 1]]))
        tensor(0.1000)
    """
    if not tokens:
        raise ValueError("tokens: at least one block and scale is needed, got none")
    for v in tokens:
        if v.shape[:-1] != mask.shape:
            raise ValueError(f"tokens: must be (*{tuple(mask.shape)}, E) as the mask, got {tuple(v.shape)}")
    abnormal = mask.bool()
    kinds = torch.stack([~abnormal, abnormal], dim=1).to(tokens[0].dtype)
    count = kinds.sum(2)
    mixed_pairs = 2 * count.prod(1).sum()
    same_pairs = count.square().sum()
    losses = []
    for v in tokens:
        normal_sum, abnormal_sum = (kinds @ F.normalize(v, dim=2)).unbind(1)
        mixed = 2 * (normal_sum * abnormal_sum).sum() / mixed_pairs.clamp_min(1)
        same = (normal_sum.square().sum() + abnormal_sum.square().sum()) / same_pairs
        losses.append(F.relu(mixed - same))
    return torch.stack(losses).mean() * (mixed_pairs > 0)


def af_clip_loss(
    p: Tensor,
    anomalous: Tensor,
    mask: Tensor,
    tokens: Sequence[Tensor],
    *,
    gamma: float = 4.0,
    lambda1: float = 1.0,
    lambda2: float = 1.0,
) -> Tensor:
    """`focal(p_cls, y) + lambda1 (focal(P, M) + L1(P, M)) + lambda2 L_align`, AF-CLIP eq. 15.

    Args:
        p: `(B, 1 + N)` probabilities of being abnormal, the class token's first.
        anomalous: `(B,)`, the images' labels.
        mask: `(B, N)`, the masks at patch resolution (`patch_mask`).
        tokens: the projected patch tokens, one `(B, N, E)` for each block and scale.
        gamma: of both focal losses.
        lambda1: weight of the segmentation loss.
        lambda2: weight of the patch alignment loss.

    Example:
        The sum of the examples above, 0.3466 + 0.8466 + 0.1:

        >>> tokens = torch.tensor([[[1.0, 0.0], [1.0, 3**0.5], [1.0, -(3**0.5)]]])
        >>> p, mask = torch.full((1, 4), 0.5), torch.tensor([[0, 1, 1]])
        >>> af_clip_loss(p, torch.tensor([1]), mask, [tokens], gamma=1.0)
        tensor(1.2931)
    """
    classification = focal_loss(p[:, 0], anomalous, gamma)
    segmentation = segmentation_loss(p[:, 1:], mask, gamma)
    return classification + lambda1 * segmentation + lambda2 * patch_alignment_loss(tokens, mask)


def patch_mask(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Pixel masks at patch resolution: bilinear, then > 0.5 (AF-CLIP 4.3).

    Args:
        masks: `(B, H, W)`, bool or 0 and 1.
        grid: rows and columns of patches.

    Returns:
        `(B, N)` bool, row-major.

    Example:
        >>> masks = torch.tensor([[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]])
        >>> patch_mask(masks, (2, 2))
        tensor([[ True, False, False, False]])
    """
    resized = F.interpolate(masks[:, None].float(), size=grid, mode="bilinear", align_corners=False)
    return resized.flatten(1) > 0.5
