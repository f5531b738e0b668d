"""Spatial aggregation against the sum that AF-CLIP eq. 5 prints."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adlib.learning.heads.tokens import aggregate_neighbours


def literal(tokens: Tensor, window: int, sigma: float) -> Tensor:
    """Eq. 5, one patch and one neighbour at a time."""
    side, half = math.isqrt(tokens.shape[1] - 1), window // 2
    offsets = [(i, j) for i in range(-half, half + 1) for j in range(-half, half + 1)]
    weight = {(i, j): math.exp(-(i * i + j * j) / (2 * sigma**2)) for i, j in offsets}
    total = sum(weight.values())
    out = torch.zeros_like(tokens)
    out[:, 0] = tokens[:, 0]
    for row in range(side):
        for column in range(side):
            for (i, j), w in weight.items():
                if 0 <= row + i < side and 0 <= column + j < side:
                    out[:, 1 + row * side + column] += (
                        w / total * tokens[:, 1 + (row + i) * side + column + j]
                    )
    return out


@settings(max_examples=25)
@given(side=st.integers(1, 6), window=st.sampled_from([1, 3, 5, 9]), sigma=st.sampled_from([0.5, 4.0, 50.0]))
def test_equals_the_literal_sum(side: int, window: int, sigma: float):
    tokens = torch.randn(
        2, 1 + side**2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(side)
    )
    torch.testing.assert_close(
        aggregate_neighbours(tokens, window, sigma), literal(tokens, window, sigma), rtol=0, atol=1e-12
    )


def test_window_one_is_the_identity_and_the_class_token_never_changes():
    tokens = torch.randn(2, 17, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(aggregate_neighbours(tokens, 1), tokens)
    assert torch.equal(aggregate_neighbours(tokens, 5)[:, 0], tokens[:, 0])


def test_weights_of_a_full_window_sum_to_one_and_those_at_a_corner_do_not():
    mixed = aggregate_neighbours(torch.ones(1, 26, 1, dtype=torch.float64), 3)[0, 1:, 0].reshape(5, 5)
    torch.testing.assert_close(mixed[1:-1, 1:-1], torch.ones(3, 3, dtype=torch.float64))
    # A corner sees 4 of 9 patches: weights 1, 2 e^(-1/32) and e^(-2/32) of the whole window's.
    a, b = math.exp(-1 / 32), math.exp(-2 / 32)
    assert mixed[0, 0].item() == pytest.approx((1 + 2 * a + b) / (1 + 4 * a + 4 * b), abs=1e-12)


def test_is_linear_and_differentiable():
    tokens = torch.randn(1, 10, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: aggregate_neighbours(t, 3), (tokens,))


@pytest.mark.parametrize(
    ("shape", "window", "sigma", "message"),
    [
        ((1, 10, 2), 2, 4.0, "window: must be odd and positive, got 2"),
        ((1, 10, 2), -1, 4.0, "window: must be odd and positive, got -1"),
        ((1, 10, 2), 3, 0.0, "sigma: must be positive, got 0.0"),
        ((1, 12, 2), 3, 4.0, "11 patches do not fill a square grid"),
        ((1, 1, 2), 3, 4.0, r"must be \(B, 1 \+ N, D\)"),
    ],
)
def test_bad_values_are_named(shape: tuple[int, ...], window: int, sigma: float, message: str):
    with pytest.raises(ValueError, match=message):
        aggregate_neighbours(torch.zeros(shape), window, sigma)
