"""The adaptor against its formula, written out head by head."""

import pytest
import torch
from torch import Tensor, nn

from adlib.learning.heads.adaptor import AnomalyAdaptor


def literal(state: dict[str, Tensor], tokens: Tensor, heads: int, head_dim: int) -> Tensor:
    x = nn.functional.layer_norm(tokens, tokens.shape[-1:], state["norm.weight"], state["norm.bias"], 1e-5)
    mixed = []
    for h in range(heads):
        rows = slice(h * head_dim, (h + 1) * head_dim)
        q, k, v = (x @ state[f"to_{name}.weight"][rows].T for name in "qkv")
        attention = torch.softmax(q @ k.transpose(1, 2) / head_dim**0.5, dim=2)
        mixed.append(attention @ v)
    return torch.cat(mixed, dim=2) @ state["to_out.weight"].T + state["to_out.bias"]


@pytest.mark.parametrize(("heads", "head_dim"), [(8, 64), (1, 3), (2, 5)])
def test_equals_the_formula(heads: int, head_dim: int):
    generator = torch.Generator().manual_seed(1)
    adaptor = AnomalyAdaptor(6, heads, head_dim, generator).double()
    for parameter in adaptor.parameters():  # a fresh norm would hide its own parameters
        nn.init.normal_(parameter, generator=generator)
    tokens = torch.randn(2, 7, 6, dtype=torch.float64, generator=generator)
    expected = literal(adaptor.state_dict(), tokens, heads, head_dim)
    torch.testing.assert_close(adaptor(tokens), expected, rtol=0, atol=1e-10)


def test_state_keys_are_stable():
    assert set(AnomalyAdaptor(4).state_dict()) == {
        "norm.weight", "norm.bias", "to_q.weight", "to_k.weight", "to_v.weight",
        "to_out.weight", "to_out.bias",
    }  # fmt: skip


def test_there_is_no_residual():
    adaptor = AnomalyAdaptor(4, 2, 3)
    nn.init.zeros_(adaptor.to_out.weight)
    nn.init.constant_(adaptor.to_out.bias, 2.0)
    assert torch.equal(adaptor(torch.randn(1, 5, 4)), torch.full((1, 5, 4), 2.0))


def test_number_of_parameters_for_clip():
    with torch.device("meta"):
        adaptor = AnomalyAdaptor(1024)
    assert sum(parameter.numel() for parameter in adaptor.parameters()) == 2_100_224


def test_a_generator_decides_the_weights():
    a, b, c = (AnomalyAdaptor(4, generator=torch.Generator().manual_seed(s)).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["to_q.weight"], c["to_q.weight"])
    assert a["to_q.weight"].abs().max() <= 0.5  # 1 / sqrt(4)


@pytest.mark.parametrize("sizes", [(0, 8, 64), (4, 0, 64), (4, 8, -1)])
def test_sizes_must_be_positive(sizes: tuple[int, int, int]):
    with pytest.raises(ValueError, match="dim, heads, head_dim: must be positive"):
        AnomalyAdaptor(*sizes)
