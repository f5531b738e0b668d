"""CoZAD eq. 1-2 against values by hand and plain loops; chunks, derivatives and symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adlib.learning.equations.contrastive import contrastive_loss, nn_contrastive_loss

TAU = 0.5


def embeddings(B: int, D: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """x and x~, float64."""
    generator = torch.Generator().manual_seed(seed)
    x, delta = (torch.randn((B, D), dtype=torch.float64, generator=generator) for _ in range(2))
    return x, x + 0.3 * delta


def cosine(u: Tensor, v: Tensor) -> float:
    return float(u @ v / (u.norm() * v.norm()))


def by_loops(x: Tensor, x_aug: Tensor, k: int, tau: float) -> list[float]:
    """Eq. 2 as printed, with j != i in its last sum."""
    losses = []
    for i in range(len(x)):
        own = math.exp(cosine(x[i], x_aug[i]) / tau)
        others = [math.exp(cosine(x[i], x[j]) / tau) for j in range(len(x)) if j != i]
        near = sum(sorted(others, reverse=True)[:k])
        losses.append(-math.log((own + near) / (own + near + sum(others))))
    return losses


# Unit vectors at 0, 60 and 180 degrees, their augmentations at 0, 0 and 180 degrees and of other lengths.
AT = torch.tensor([[1, 0], [0.5, math.sqrt(0.75)], [-1, 0]], dtype=torch.float64)
AT_AUG = torch.tensor([[2, 0], [3, 0], [-0.1, 0]], dtype=torch.float64)


def test_eq_1_by_hand():
    """Cosines to the others: row 0 has 0.5 and -1, row 1 has 0.5 and -0.5, row 2 has -1 and -0.5."""
    e = math.exp
    expected = [
        -math.log(e(2) / (e(2) + e(1) + e(-2))),
        -math.log(e(1) / (e(1) + e(1) + e(-1))),
        -math.log(e(2) / (e(2) + e(-2) + e(-1))),
    ]
    losses = contrastive_loss(AT, AT_AUG, TAU)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_eq_2_by_hand():
    """One neighbour each: row 1 for row 0, row 0 for row 1, row 1 for row 2; it stands in both sums."""
    e = math.exp
    positives = [e(2) + e(1), e(1) + e(1), e(2) + e(-1)]
    others = [e(1) + e(-2), e(1) + e(-1), e(-2) + e(-1)]
    expected = [-math.log(p / (p + o)) for p, o in zip(positives, others, strict=True)]
    losses = nn_contrastive_loss(AT, AT_AUG, 1, TAU)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("k", [0, 1, 3, 8])
@pytest.mark.parametrize("chunk_size", [1, 4, 100])
def test_equals_loops(k: int, chunk_size: int):
    x, x_aug = embeddings(9, 5)
    expected = torch.tensor(by_loops(x, x_aug, k, TAU), dtype=torch.float64)
    found = nn_contrastive_loss(x, x_aug, k, TAU, chunk_size=chunk_size)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


def test_no_neighbours_is_eq_1():
    x, x_aug = embeddings(7, 3)
    assert torch.equal(nn_contrastive_loss(x, x_aug, 0, TAU), contrastive_loss(x, x_aug, TAU))


@pytest.mark.parametrize("k", [0, 5])
@pytest.mark.parametrize("chunk_size", [1, 7, 32])
def test_chunks_change_neither_value_nor_gradient(k: int, chunk_size: int):
    x, x_aug = (z.float() for z in embeddings(33, 8))

    def losses_and_gradients(size: int) -> list[Tensor]:
        inputs = [z.clone().requires_grad_() for z in (x, x_aug)]
        losses = nn_contrastive_loss(inputs[0], inputs[1], k, 0.07, chunk_size=size)
        return [losses, *torch.autograd.grad(losses.square().sum(), inputs)]

    for found, expected in zip(losses_and_gradients(chunk_size), losses_and_gradients(33), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize("chunk_size", [2, 100])
def test_first_and_second_derivative(k: int, chunk_size: int):
    """MAML differentiates through a gradient step."""
    inputs = tuple(z.requires_grad_() for z in embeddings(5, 3))

    def loss(x: Tensor, x_aug: Tensor) -> Tensor:
        return nn_contrastive_loss(x, x_aug, k, TAU, chunk_size=chunk_size)

    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


def test_backward_recomputes_the_similarities():
    """Nothing of size B^2 is kept for the backward pass."""
    saved: list[int] = []
    x, x_aug = (z.requires_grad_() for z in embeddings(64, 4))

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        nn_contrastive_loss(x, x_aug, 3, TAU, chunk_size=8)
    assert max(saved) <= 64 * 4


@settings(max_examples=40)
@given(st.integers(2, 12), st.integers(0, 4), st.sampled_from([0.07, 1.0]), st.integers(0, 99))
def test_order_of_the_embeddings_does_not_matter(B: int, k: int, tau: float, seed: int):
    x, x_aug = embeddings(B, 4, seed)
    k = min(k, B - 1)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(seed))
    permuted = nn_contrastive_loss(x[order], x_aug[order], k, tau, chunk_size=5)
    torch.testing.assert_close(permuted, nn_contrastive_loss(x, x_aug, k, tau, chunk_size=5)[order])


@settings(max_examples=40)
@given(st.integers(2, 12), st.floats(1e-3, 1e3), st.integers(0, 99))
def test_lengths_do_not_matter_and_neighbours_lower_the_loss(B: int, scale: float, seed: int):
    x, x_aug = embeddings(B, 4, seed)
    plain, mined = contrastive_loss(x, x_aug, TAU), nn_contrastive_loss(x, x_aug, 1, TAU)
    torch.testing.assert_close(contrastive_loss(x * scale, x_aug / scale, TAU), plain)
    assert (mined > 0).all()
    assert (mined < plain).all()


def test_small_temperature_neither_overflows_nor_vanishes():
    """e^{1/tau} is far above float32's range; the loss of row 1 is (0.5 - 0.1) / tau."""
    x = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]], requires_grad=True)
    x_aug = torch.tensor([[1.0, 0.0], [0.1, math.sqrt(0.99)]]).requires_grad_()
    losses = contrastive_loss(x, x_aug, 1e-3)
    own = cosine(x[1].detach(), x_aug[1].detach())
    assert losses[0].item() == 0
    assert losses[1].item() == pytest.approx(max(0.0, (0.5 - own) / 1e-3), abs=1e-3)
    losses.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_alone_or_zero_embeddings_stay_finite():
    """A row without others loses nothing; a zero row has similarity 0 and an ordinary gradient."""
    alone = torch.ones((1, 3), dtype=torch.float64, requires_grad=True)
    loss = contrastive_loss(alone, alone.detach(), TAU)
    assert loss.item() == 0
    x = torch.eye(3, dtype=torch.float64)
    x[1] = 0
    x.requires_grad_()
    losses = nn_contrastive_loss(x, torch.eye(3, dtype=torch.float64), 1, TAU)
    assert losses[1].item() == pytest.approx(math.log(2))  # own, neighbour and two others, all e^0
    for value, at in ((loss, alone), (losses, x)):
        (gradient,) = torch.autograd.grad(value.sum(), at, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), at)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() < 10
        assert torch.isfinite(second).all()


def test_half_precision_is_raised_to_single():
    x, x_aug = (z.to(torch.bfloat16) for z in embeddings(8, 16))
    losses = nn_contrastive_loss(x, x_aug, 2, 0.07, chunk_size=3)
    assert losses.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        inside = nn_contrastive_loss(x, x_aug, 2, 0.07, chunk_size=3)
    assert torch.equal(inside, losses)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"k": 4}, "k: must be between 0 and B - 1 = 3 .*, got 4"),
        ({"k": -1}, "k: must be between 0 and B - 1 = 3 .*, got -1"),
        ({"temperature": 0.0}, "temperature: must be positive and finite, got 0"),
        ({"temperature": -1.0}, "temperature: must be positive"),
        ({"temperature": math.inf}, "temperature: must be positive and finite, got inf"),
        ({"temperature": math.nan}, "temperature: must be positive and finite, got nan"),
        ({"chunk_size": 0}, "chunk_size: must be >= 1, got 0"),
        ({"x": torch.zeros(4)}, r"x: must be \(B, D\) with B >= 1, got shape \(4,\)"),
        ({"x": torch.zeros(0, 3)}, r"x: must be \(B, D\) with B >= 1, got shape \(0, 3\)"),
        ({"x_aug": torch.zeros(4, 2)}, r"x_aug: must have the shape of x, \(4, 3\), got \(4, 2\)"),
    ],
)
def test_errors(changed: dict, message: str):
    arguments = {"x": torch.ones(4, 3), "x_aug": torch.ones(4, 3), "k": 1, "temperature": 0.07}
    with pytest.raises(ValueError, match=message):
        nn_contrastive_loss(**(arguments | changed))
