"""SimpleNet's head against formulas written out in the test."""

import pytest
import torch
from torch import nn

from adlib.learning.heads.simplenet import SimpleNet, anomaly_score, patch_losses


@pytest.fixture
def head() -> SimpleNet:
    return SimpleNet(6, 5, torch.Generator().manual_seed(0)).double()


def features(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def discriminator(head: SimpleNet, q: torch.Tensor, mean: torch.Tensor, var: torch.Tensor) -> torch.Tensor:
    h = q @ head.hidden.weight.T + head.hidden.bias
    h = (h - mean) / torch.sqrt(var + head.norm.eps) * head.norm.weight + head.norm.bias
    return torch.where(h > 0, h, 0.2 * h) @ head.out.weight[0]


def test_adaptor_is_linear_without_bias(head: SimpleNet):
    assert isinstance(head.adaptor, nn.Linear)
    assert head.adaptor.bias is None
    assert head.out.bias is None


def test_adaptor_starts_as_the_identity(head: SimpleNet):
    o = features(2, 3, 6)
    torch.testing.assert_close(head.adapt(o), o)


def test_score_is_minus_the_discriminator(head: SimpleNet):
    o = features(2, 4, 6)
    head.eval()
    expected = -discriminator(head, o, head.norm.running_mean, head.norm.running_var)
    torch.testing.assert_close(anomaly_score(head(o)), expected)


def test_patch_loss_by_hand(head: SimpleNet):
    o, noise = features(2, 3, 6), 0.3 * features(2, 3, 6, seed=2)
    head.train()
    both = torch.cat([o, o + noise]).reshape(-1, 6)
    hidden = both @ head.hidden.weight.T + head.hidden.bias
    d = discriminator(head, both, hidden.mean(0), hidden.var(0, unbiased=False)).reshape(4, 3)
    expected = (0.5 - d[:2]).clamp_min(0) + (0.5 + d[2:]).clamp_min(0)
    torch.testing.assert_close(patch_losses(head(o, noise), 0.5), expected)


def test_discriminator_sees_both_halves_at_once(head: SimpleNet):
    """A shift of all perturbed features is visible in the loss; separate normalisation would remove it."""
    o = features(8, 4, 6)
    head.train()
    shifted = patch_losses(head(o, torch.full_like(o, 5.0)), 0.5)
    unmoved = patch_losses(head(o, torch.zeros_like(o)), 0.5)
    assert not torch.allclose(shifted, unmoved)


def test_a_constant_discriminator_is_not_free(head: SimpleNet):
    """CoMet eq. 15 as printed costs nothing at D = 0.5; this loss does."""
    with torch.no_grad():
        head.out.weight.zero_()
    loss = patch_losses(head.train()(features(2, 3, 6), features(2, 3, 6)), 0.5)
    torch.testing.assert_close(loss, torch.ones_like(loss))


def test_statistics_are_part_of_the_state(head: SimpleNet):
    head.mean.fill_(2.0)
    head.std.fill_(4.0)
    other = SimpleNet(6, 5).double()
    other.load_state_dict(head.state_dict())
    o = features(2, 3, 6)
    torch.testing.assert_close(other.eval()(o), head.eval()(o))
    torch.testing.assert_close(other.adapt(o), (o - 2) / 4)


def test_same_generator_same_start():
    a, b = (SimpleNet(6, 5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
