"""AF-CLIP's losses against their formulas, pair by pair and patch by patch."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adlib.learning.equations.anomaly_clip import (
    af_clip_loss,
    focal_loss,
    patch_alignment_loss,
    patch_mask,
    segmentation_loss,
)


def literal_focal(p: Tensor, y: Tensor, gamma: float) -> float:
    terms = []
    for probability, label in zip(p.flatten().tolist(), y.flatten().tolist(), strict=True):
        p_t = probability if label else 1 - probability
        terms.append(-((1 - p_t) ** gamma) * math.log(p_t))
    return sum(terms) / len(terms)


def literal_alignment(tokens: list[Tensor], mask: Tensor) -> float:
    """Eq. 14 by a loop over every ordered pair of patches of every image."""
    losses = []
    for v in tokens:
        mixed, same = [], []
        for image, kinds in zip(v, mask.tolist(), strict=True):
            for i, j in product(range(len(kinds)), repeat=2):
                cosine = torch.dot(image[i], image[j]) / (image[i].norm() * image[j].norm())
                (same if kinds[i] == kinds[j] else mixed).append(cosine.item())
        losses.append(max(0.0, sum(mixed) / len(mixed) - sum(same) / len(same)) if mixed else 0.0)
    return sum(losses) / len(losses)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30)
@given(
    values=st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=1, max_size=8),
    gamma=st.sampled_from([0.0, 1.0, 2.0, 4.0]),
)
def test_focal_loss_equals_the_formula(values: list[tuple[float, bool]], gamma: float):
    p = torch.tensor([value for value, _ in values], dtype=torch.float64)
    y = torch.tensor([label for _, label in values])
    assert focal_loss(p, y, gamma).item() == pytest.approx(literal_focal(p, y, gamma), abs=1e-12)


def test_focal_loss_without_focus_is_the_cross_entropy():
    p, y = torch.sigmoid(random(3, 4)), random(3, 4, seed=1) > 0
    expected = torch.nn.functional.binary_cross_entropy(p, y.double())
    torch.testing.assert_close(focal_loss(p, y, gamma=0), expected)
    torch.testing.assert_close(focal_loss(p, y.double()), focal_loss(p, y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_focal_loss_of_certain_predictions_is_finite(dtype: torch.dtype):
    p = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=dtype, requires_grad=True)
    loss = focal_loss(p, torch.tensor([0, 1, 1, 0]))
    loss.backward()
    assert loss.item() > 40
    assert p.grad is not None
    assert p.grad.isfinite().all()
    assert focal_loss(p[:2], torch.tensor([0, 1])) == 0


def test_segmentation_loss_is_focal_plus_l1():
    p, mask = torch.sigmoid(random(2, 9)), random(2, 9, seed=1) > 0
    l1 = sum(abs(a - b) for a, b in zip(p.flatten().tolist(), mask.flatten().tolist(), strict=True)) / 18
    assert segmentation_loss(p, mask).item() == pytest.approx(literal_focal(p, mask, 4.0) + l1, abs=1e-12)


@settings(max_examples=25)
@given(B=st.integers(1, 3), N=st.integers(1, 6), seed=st.integers(0, 99))
def test_alignment_equals_the_sum_over_pairs(B: int, N: int, seed: int):
    tokens = [random(B, N, 3, seed=seed), random(B, N, 5, seed=seed + 100)]
    mask = random(B, N, seed=seed + 200) > 0
    assert patch_alignment_loss(tokens, mask).item() == pytest.approx(
        literal_alignment(tokens, mask), abs=1e-12
    )


def test_alignment_by_hand():
    """A mixed image of equal patches, and a normal image of opposed ones: mixed mean 1, same mean 2/6."""
    v = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]]])
    mask = torch.tensor([[0, 1], [0, 0]])
    assert patch_alignment_loss([v], mask).item() == pytest.approx(2 / 3)
    apart = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
    assert patch_alignment_loss([v, apart], mask).item() == pytest.approx(1 / 3)  # -1 - 1 is clamped at 0


@pytest.mark.parametrize("value", [0, 1])
def test_alignment_without_mixed_pairs_is_zero_with_finite_gradients(value: int):
    v = random(2, 4, 3).requires_grad_()
    loss = patch_alignment_loss([v], torch.full((2, 4), value))
    loss.backward()
    assert loss == 0
    assert v.grad is not None
    assert (v.grad == 0).all()


def test_alignment_of_zero_tokens_has_finite_gradients():
    v = torch.zeros(1, 4, 3, requires_grad=True)
    patch_alignment_loss([v], torch.tensor([[0, 0, 1, 1]])).backward()
    assert v.grad is not None
    assert v.grad.isfinite().all()


def test_total_is_the_weighted_sum_and_leaves_the_mask_alone():
    p, y = torch.sigmoid(random(2, 5)), torch.tensor([True, False])
    mask = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0]])
    tokens, before = [random(2, 4, 3)], mask.clone()
    total = af_clip_loss(p, y, mask, tokens, gamma=2.0, lambda1=0.5, lambda2=3.0)
    expected = focal_loss(p[:, 0], y, 2.0) + 0.5 * segmentation_loss(p[:, 1:], mask, 2.0)
    torch.testing.assert_close(total, expected + 3.0 * patch_alignment_loss(tokens, mask))
    assert torch.equal(mask, before)


def test_patch_mask_is_bilinear_then_above_one_half():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :3, :4] = True
    resized = torch.nn.functional.interpolate(
        mask[:, None].float(), (4, 4), mode="bilinear", align_corners=False
    )
    assert torch.equal(patch_mask(mask, (4, 4)), resized.reshape(1, 16) > 0.5)
    # Rows 2 and 3 average to exactly one half, which is not above it.
    assert patch_mask(mask, (4, 4)).reshape(4, 4).int().tolist() == [[1, 1, 0, 0], *([[0] * 4] * 3)]


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="p and y: must have one shape"):
        focal_loss(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="gamma: must be >= 0, got -1"):
        focal_loss(torch.zeros(2), torch.zeros(2), -1)
    with pytest.raises(ValueError, match="tokens: at least one"):
        patch_alignment_loss([], torch.zeros(1, 2))
    with pytest.raises(ValueError, match="tokens: must be"):
        patch_alignment_loss([torch.zeros(1, 3, 2)], torch.zeros(1, 2))
