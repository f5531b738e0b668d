"""DifferNet's flow: its inverse, the log-determinant of autograd's Jacobian, the paper's clamp and loss."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adlib.learning.heads.flow import Flow, latent_scores, likelihood_losses, soft_clamp, subnet


def flow(dim: int, seed: int = 0, blocks: int = 8, hidden: int = 16) -> Flow:
    """A flow in float64 far from the identity, so that a wrong inverse shows."""
    made = Flow(dim, blocks, hidden, 3.0, torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1.5)
        made.mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
        made.std.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    return made


def normal(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25)
@given(dim=st.integers(2, 9), seed=st.integers(0, 20))
def test_round_trip(dim: int, seed: int):
    f, x = flow(dim, seed), normal(5, 3, dim, seed=seed)
    z, log_det = f(x)
    assert (z.shape, log_det.shape) == ((5, 3, dim), (5, 3))
    torch.testing.assert_close(f.inverse(z), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim", [2, 5, 6])
def test_log_determinant_is_that_of_the_jacobian(dim: int):
    f = flow(dim)
    for x in normal(4, dim):
        jacobian = torch.autograd.functional.jacobian(lambda row: f(row[None])[0][0], x)
        # The standardisation divides by std and is left out of the flow's own determinant.
        expected = torch.linalg.slogdet(jacobian).logabsdet + f.std.log().sum()
        torch.testing.assert_close(f(x[None])[1][0], expected)


def test_soft_clamp_is_differnets():
    """`e(s) = exp(clamp * 0.636 * atan(s / clamp))` of DifferNet's coupling layer."""
    for s in (-50.0, -3.0, -0.1, 0.0, 1.0, 7.0):
        assert soft_clamp(torch.tensor(s), 3.0).item() == pytest.approx(
            3 * 0.636 * math.atan(s / 3), rel=1e-6
        )
    assert soft_clamp(torch.tensor(1e9), 3.0) < 3.0


def test_a_block_by_hand():
    """Glow coupling as DifferNet writes it: permute, transform x1 from x2, then x2 from the new x1."""
    f, x = flow(4, blocks=1), normal(3, 4)
    block, permutation = f.blocks[0], f.permutations[0]
    x1, x2 = ((x - f.mean) / f.std)[:, permutation].split(2, dim=1)
    s2, t2 = block.subnet2(x2).split(2, dim=1)
    y1 = torch.exp(soft_clamp(s2, 3.0)) * x1 + t2
    s1, t1 = block.subnet1(y1).split(2, dim=1)
    y2 = torch.exp(soft_clamp(s1, 3.0)) * x2 + t1
    z, log_det = f(x)
    torch.testing.assert_close(z, torch.cat([y1, y2], dim=1))
    torch.testing.assert_close(log_det, soft_clamp(s1, 3.0).sum(1) + soft_clamp(s2, 3.0).sum(1))


def test_loss_and_score_by_hand():
    z, log_det = torch.tensor([[[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]]]), torch.tensor([[1.5, 6.0]])
    torch.testing.assert_close(likelihood_losses(z, log_det), torch.tensor([[1.0, -2.0]]))
    torch.testing.assert_close(latent_scores(z), torch.tensor([[3.0, 0.0]]))


def test_loss_is_the_negative_log_likelihood_up_to_a_constant():
    """`-log p(x) = -log N(z; 0, I) - log|det J|`; a dimension's share of `log(2 pi) / 2` is left out."""
    f, x = flow(5), normal(6, 5)
    z, log_det = f(x)
    likelihood = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1) + log_det
    expected = -likelihood / 5 - math.log(2 * math.pi) / 2
    torch.testing.assert_close(likelihood_losses(z, log_det), expected)


def test_subnet_has_three_hidden_layers():
    layers = [layer for layer in subnet(4, 32, 10) if isinstance(layer, torch.nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in layers] == [(32, 4), (32, 32), (32, 32), (10, 32)]


def test_a_generator_decides_weights_and_permutations_and_nothing_else_is_drawn():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first, second, other = (Flow(6, 2, 8, 3.0, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not torch.equal(first.permutations, other.permutations)
    assert [row.sort().values.tolist() for row in first.permutations] == [list(range(6))] * 2


def test_permutations_are_part_of_the_state():
    trained = flow(6)
    restored = Flow(6, 8, 16, 3.0, torch.Generator().manual_seed(9)).double()
    assert not torch.equal(restored.permutations, trained.permutations)
    restored.load_state_dict(trained.state_dict())
    assert torch.equal(restored(normal(3, 6))[0], trained(normal(3, 6))[0])


def test_one_feature_cannot_be_split():
    with pytest.raises(ValueError, match=r"dim: a coupling block needs two halves, .* got 1"):
        Flow(1, 2, 8, 3.0)
