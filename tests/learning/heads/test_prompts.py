"""Soft prompts through a tiny frozen text tower, against a forward written out block by block."""

import math

import pytest
import torch
from torch import Tensor, nn

from adlib.learning.heads.prompts import INIT_STD, LENGTH, PromptPrefix, prompt_features

CONTEXT, WIDTH, END = 20, 8, 99


class Block(nn.Module):
    """Causal single-head attention with a residual: enough to make positions matter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH) / math.sqrt(WIDTH))

    def forward(self, x: Tensor, attn_mask: Tensor) -> Tensor:
        attention = torch.softmax(x @ x.transpose(1, 2) + attn_mask, dim=2)
        return x + attention @ x @ self.weight


class Tower(nn.Module):
    """The attributes of open_clip's text side."""

    def __init__(self) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(100, WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, WIDTH))
        self.transformer = Block()
        self.ln_final = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.randn(WIDTH, 5))
        self.register_buffer("attn_mask", torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1))


@pytest.fixture
def tower() -> Tower:
    torch.manual_seed(0)
    return Tower().double().requires_grad_(False)


def suffix(*words: int) -> list[int]:
    ids = [98, *words, END]
    return ids + [0] * (CONTEXT - len(ids))


TEXT = torch.tensor([suffix(5, 6), suffix(7, 6, 8)])


def test_equals_the_formula_one_prompt_at_a_time(tower: Tower):
    prefix = torch.randn(LENGTH, WIDTH, dtype=torch.float64)
    found = prompt_features(tower, prefix, TEXT)
    for i, (row, end) in enumerate(zip(TEXT, (3, 4), strict=True)):
        x = torch.zeros(CONTEXT, WIDTH, dtype=torch.float64)
        for position in range(CONTEXT):
            word = prefix[position] if position < 12 else tower.token_embedding.weight[row[position - 12]]
            x[position] = word + tower.positional_embedding[position]
        x = tower.transformer(x[None], tower.attn_mask)[0, end + 12]
        expected = nn.functional.layer_norm(x, (WIDTH,)) @ tower.text_projection
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-10)


def test_only_the_prefix_gets_a_gradient(tower: Tower):
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    prompts = PromptPrefix(WIDTH).double()
    prompts(tower, TEXT).square().sum().backward()
    gradient = prompts.vectors.grad
    assert gradient is not None
    assert (gradient.abs().sum(1) > 0).all()
    assert all(parameter.grad is None for parameter in tower.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tower.state_dict().items())


def test_a_linear_projection_is_as_good_as_a_matrix(tower: Tower):
    prefix = torch.randn(3, WIDTH, dtype=torch.float64)
    expected = prompt_features(tower, prefix, TEXT)
    linear = nn.Linear(WIDTH, 5, bias=False).double()
    linear.weight.data = tower.text_projection.data.T
    del tower.text_projection
    tower.text_projection = linear
    torch.testing.assert_close(prompt_features(tower, prefix, TEXT), expected)


def test_prefix_size_and_start():
    prompts = PromptPrefix(768, generator=torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in prompts.parameters()) == 9_216
    assert prompts.vectors.std().item() == pytest.approx(INIT_STD, rel=0.05)


def test_a_prefix_that_leaves_no_room_is_an_error(tower: Tower):
    with pytest.raises(ValueError, match="17 vectors push the end of the text to position 21"):
        prompt_features(tower, torch.zeros(17, WIDTH, dtype=torch.float64), TEXT)
    assert prompt_features(tower, torch.zeros(15, WIDTH, dtype=torch.float64), TEXT).shape == (2, 5)
