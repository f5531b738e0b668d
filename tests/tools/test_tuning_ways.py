"""Prompt, prefix and LoRA tuning of a frozen tower: shapes, what they start from, and where gradients go."""

import pytest
import torch
from open_clip.transformer import Transformer
from torch import Tensor, nn

from adlib.tools.tuning_ways import LowRank, TokenPrompts

D, HEADS, DEPTH = 16, 2, 4


@pytest.fixture(scope="module")
def blocks() -> nn.ModuleList:
    """A frozen transformer of open_clip's blocks."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = Transformer(D, DEPTH, HEADS)
    return tower.double().eval().requires_grad_(False).resblocks


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tokens(B: int = 2, T: int = 5) -> Tensor:
    return torch.randn(B, T, D, generator=draw(), dtype=torch.float64)


def through(blocks: nn.ModuleList, x: Tensor, module: nn.Module | None) -> Tensor:
    for number, block in enumerate(blocks, start=1):
        x = module(number, block, x) if module else block(x)
    return x


def literal_attention(block: nn.Module, x: Tensor, weights: list[Tensor]) -> Tensor:
    """A block with its four projections given, one head after another."""
    attn, y = block.attn, block.ln_1(x)
    biases = attn.in_proj_bias.chunk(3)
    q, k, v = (y @ w.T + b for w, b in zip(weights[:3], biases, strict=True))
    heads = []
    for a, b, c in zip(*(part.chunk(HEADS, -1) for part in (q, k, v)), strict=True):
        heads.append(torch.softmax(a @ b.transpose(1, 2) / (D / HEADS) ** 0.5, -1) @ c)
    x = x + torch.cat(heads, -1) @ weights[3].T + attn.out_proj.bias
    return x + block.mlp(block.ln_2(x))


def test_lora_changes_nothing_at_first(blocks: nn.ModuleList):
    lora = LowRank(D, (2, 4), rank=3, generator=draw()).double()
    torch.testing.assert_close(through(blocks, tokens(), lora), through(blocks, tokens(), None))


def test_lora_adds_its_product_to_each_projection(blocks: nn.ModuleList):
    lora = LowRank(D, (1,), rank=3, generator=draw()).double()
    nn.init.normal_(lora.up["1"], generator=draw(1))
    block = blocks[0]
    own = [*block.attn.in_proj_weight.chunk(3), block.attn.out_proj.weight]
    weights = [w + lora.up["1"][i] @ lora.down["1"][i] for i, w in enumerate(own)]
    torch.testing.assert_close(lora(1, block, tokens()), literal_attention(block, tokens(), weights))
    assert torch.equal(lora(2, blocks[1], tokens()), blocks[1](tokens()))


def test_prompts_are_tokens_like_others(blocks: nn.ModuleList):
    """One depth: the tower sees the image's tokens and the learned ones, and carries both on."""
    prompts = TokenPrompts(D, length=3, generator=draw()).double()
    expected = through(blocks, torch.cat([tokens(), prompts.vectors.expand(2, -1, -1)], 1), None)
    torch.testing.assert_close(through(blocks, tokens(), prompts), expected)


def test_a_prefix_is_replaced_at_every_depth(blocks: nn.ModuleList):
    prefix = TokenPrompts(D, length=3, depths=3, generator=draw()).double()
    x = tokens()
    for number, block in enumerate(blocks):
        if number < 3:
            x = torch.cat([x[:, :5], prefix.vectors[number].expand(2, -1, -1)], 1)
        x = block(x)
    torch.testing.assert_close(through(blocks, tokens(), prefix), x)


@pytest.mark.parametrize("way", ["prompt", "prefix", "lora"])
def test_only_what_is_learned_takes_a_gradient(blocks: nn.ModuleList, way: str):
    module = {
        "prompt": TokenPrompts(D, 3, generator=draw()),
        "prefix": TokenPrompts(D, 3, 3, generator=draw()),
        "lora": LowRank(D, (2, 3), 3, generator=draw()),
    }[way].double()
    before = {name: tensor.clone() for name, tensor in blocks.state_dict().items()}
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    old = [parameter.detach().clone() for parameter in module.parameters()]
    for _ in range(2):  # LoRA's A moves once B is no longer zero
        optimiser.zero_grad()
        through(blocks, tokens(), module)[:, :5].square().sum().backward()
        optimiser.step()
    assert all(parameter.grad is None for parameter in blocks.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in blocks.state_dict().items())
    assert all(not torch.equal(a, b) for a, b in zip(old, module.parameters(), strict=True))
