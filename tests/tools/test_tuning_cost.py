"""What four ways of tuning cost: parameters as the paper prints them, operations as counted by hand."""

import json

import open_clip
import pytest
import torch
from torch import nn
from toys import CPU
from typer.testing import CliRunner

from adlib.cli.app import app
from adlib.embedding.networks.clip import token_taps
from adlib.embedding.networks.clip_loading import load_clip
from adlib.learning.heads.adaptor import AnomalyAdaptor
from adlib.learning.heads.tokens import aggregate_neighbours
from adlib.tools.tuning_cost import Cost, kept_bytes, paper_costs, times_per_image, tuned_tokens, tuning_costs
from adlib.tools.tuning_ways import LowRank, TokenPrompts

S, DEPTH, D, E, PATCH = 32, 4, 64, 12, 8
TINY = {
    "embed_dim": E,
    "vision_cfg": {"image_size": S, "layers": DEPTH, "width": D, "patch_size": PATCH},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module", autouse=True)
def tiny_architecture(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny-tuned.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def costs() -> list[Cost]:
    """Of ViT-L/14@336px at 518 x 518."""
    return tuning_costs()


def test_parameters_are_the_papers(costs: list[Cost]):
    found = {cost.way: cost.parameters for cost in costs}
    assert found == {"prompt": 21_504, "prefix": 70_656, "lora": 2_106_368, "adaptor": 2_109_440}
    assert found == {way: cost.parameters for way, cost in paper_costs().items()}


def test_operations_of_prompt_tuning_by_hand():
    (prompt, *_) = tuning_costs("tiny-tuned", S)
    side = S // PATCH
    N, T = side**2, side**2 + 1 + 12
    multiplications = (
        N * 3 * PATCH**2 * D  # patches
        + DEPTH * (12 * T * D**2 + 2 * T**2 * D)  # projections and perceptron; attention
        + DEPTH * 2 * 2 * side * N * D  # two windows above 1, two axes: (side, side) on (side, side, D)
        + DEPTH * 3 * (N + 1) * D * E  # to the space of the texts
    )
    assert prompt.gflops == pytest.approx(2 * multiplications / 1e9, rel=1e-6)


def test_the_adaptor_costs_little_more_than_lora():
    costs = {cost.way: cost for cost in tuning_costs("tiny-tuned", S)}
    assert costs["prefix"].gflops == costs["prompt"].gflops > 0
    assert costs["adaptor"].parameters == 4 * D * 512 + 3 * D + 12 * 16


def test_memory_by_hand():
    """Two linear layers around a ReLU keep the input of each and the sign's; shared storage counts once."""
    first, second = nn.Linear(4, 8), nn.Linear(8, 2)
    x = torch.zeros(3, 4)
    assert kept_bytes(lambda: second(torch.relu(first(x)))) == 4 * (3 * 4 + 3 * 8)
    first.requires_grad_(False)
    assert kept_bytes(lambda: second(torch.relu(first(x)))) == 4 * 3 * 8
    assert kept_bytes(lambda: first(x)) == 0


def test_what_is_tuned_late_keeps_least(costs: list[Cost]):
    """The order of the paper's Table 5: the frozen tower in front of the adaptor keeps nothing."""
    memory = {cost.way: cost.memory_mib for cost in costs}
    assert memory["adaptor"] < memory["lora"] < memory["prompt"] <= memory["prefix"]
    paper = {way: cost.memory_mib for way, cost in paper_costs().items()}
    assert sorted(paper, key=paper.__getitem__) == sorted(memory, key=memory.__getitem__)


def test_tokens_of_each_way():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = load_clip("tiny-tuned", "random")
    visual, draw = clip.model.visual, torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, S, S, generator=draw)
    plain = [aggregate_neighbours(t, r) for t in token_taps(visual, pixels, (2, 4)) for r in (1, 3, 5)]
    expected = [clip.project(tokens) for tokens in plain]
    lora = tuned_tokens(visual, pixels, (2, 4), LowRank(D, (2, 4), 3, draw))
    for found, reference in zip(lora, expected, strict=True):
        torch.testing.assert_close(found, reference, rtol=1e-4, atol=1e-5)
    adaptor = AnomalyAdaptor(D, 2, 8, draw)
    with torch.no_grad():
        adapted = [clip.project(adaptor(tokens)) for tokens in plain]
    for found, reference in zip(tuned_tokens(visual, pixels, (2, 4), adaptor), adapted, strict=True):
        torch.testing.assert_close(found, reference)
    for module in (TokenPrompts(D, generator=draw), TokenPrompts(D, depths=3, generator=draw)):
        found = tuned_tokens(visual, pixels, (2, 4), module)
        assert [tokens.shape for tokens in found] == [(2, 17, E)] * 6
        assert not torch.allclose(found[0], expected[0])
        sum(tokens.square().sum() for tokens in found).backward()
        assert module.vectors.grad is not None
        assert bool(module.vectors.grad.any(-1).all())
    assert all(parameter.grad is None for parameter in clip.model.parameters())


def test_the_command():
    result = CliRunner().invoke(app, ["tuning-cost"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    (line,) = [line for line in result.output.splitlines() if "adaptor" in line]
    assert "2,109,440 (2,109,440)" in line
    assert "1156.2 (293.998)" in line
    result = CliRunner().invoke(app, ["tuning-cost", "--model", "tiny-tuned", "--image-size", "32"])
    assert result.exit_code == 0
    assert "293.998" not in result.output  # the paper's are of its own model
    assert "seconds" not in result.output
    result = CliRunner().invoke(app, ["tuning-cost", "--model", "tiny-tuned", "--image-size", "33"])
    assert result.exit_code == 1
    assert "multiples of the patch 8 x 8" in result.output


def test_times():
    seconds = times_per_image("tiny-tuned", S, CPU, repeats=2)
    assert seconds.keys() == {cost.way for cost in tuning_costs("tiny-tuned", S)}
    assert all(0 < value < 10 for value in seconds.values())
    arguments = ["tuning-cost", "--model", "tiny-tuned", "--image-size", "32", "--time", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "seconds" in result.output
