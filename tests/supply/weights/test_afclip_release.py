"""AF-CLIP's released files: a pickled module and a pickled parameter, read without running anything."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

from adlib.cli.app import app
from adlib.embedding.networks.identity import WeightsError
from adlib.learning.heads.adaptor import AnomalyAdaptor
from adlib.learning.heads.prompts import PromptPrefix
from adlib.supply.weights.afclip import NAMES, released_tensors

DIM, INNER = 16, 32
RAN = Path("ran")


def release() -> types.ModuleType:
    """A module `clip.adaptor` with classes of the released names and parts, which note when they are used."""

    class CrossAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.heads = 64**-0.5, 8
            self.to_q, self.to_k, self.to_v = (nn.Linear(DIM, INNER, bias=False) for _ in range(3))
            self.to_out = nn.Sequential(nn.Linear(INNER, DIM), nn.Dropout(0.0))

    class BasicTransformerBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = CrossAttention()
            self.norm = nn.LayerNorm(DIM)

    class Adaptor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = BasicTransformerBlock()

        def __setstate__(self, state: dict[str, Any]) -> None:
            RAN.touch()

    module = types.ModuleType("clip.adaptor")
    for kind in (CrossAttention, BasicTransformerBlock, Adaptor):
        kind.__module__, kind.__qualname__ = "clip.adaptor", kind.__name__
        setattr(module, kind.__name__, kind)
    return module


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, nn.Module, Tensor]:
    """The two files as the authors saved them, and what is in them. Their classes are gone again."""
    monkeypatch.chdir(tmp_path)
    classes = release()
    monkeypatch.setitem(sys.modules, "clip", types.ModuleType("clip"))
    monkeypatch.setitem(sys.modules, "clip.adaptor", classes)
    adaptor = classes.Adaptor()
    draw = torch.Generator().manual_seed(0)
    prompt = nn.Parameter(torch.randn(1, 12, 24, generator=draw))
    with torch.no_grad():
        for parameter in adaptor.parameters():
            parameter.normal_(generator=draw)
    torch.save(adaptor, "mvtec_adaptor.pt")
    torch.save(prompt, "mvtec_prompt.pt")
    monkeypatch.delitem(sys.modules, "clip.adaptor")
    return tmp_path / "mvtec_adaptor.pt", tmp_path / "mvtec_prompt.pt", adaptor, prompt


def literal_adaptor(adaptor: nn.Module, x: Tensor) -> Tensor:
    """The released forward pass, one head after another."""
    block = adaptor.get_submodule("attention")
    attention: Any = block.attn
    x = block.norm(x)
    heads = []
    projections = (attention.to_q, attention.to_k, attention.to_v)
    for q, k, v in zip(*(to(x).chunk(8, -1) for to in projections), strict=True):
        weights = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1)
        heads.append(weights @ v)
    return attention.to_out(torch.cat(heads, -1))


def test_the_converted_adaptor_computes_what_the_released_one_does(files: Any):
    path, prompt_path, theirs, prompt = files
    state = released_tensors(path, prompt_path)
    assert not RAN.exists()
    ours = AnomalyAdaptor(DIM, 8, INNER // 8)
    ours.load_state_dict({name: state[f"adaptor.{name}"] for name in ours.state_dict()})
    tokens = torch.randn(2, 5, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.double()(tokens), literal_adaptor(theirs.double(), tokens))
    prefix = PromptPrefix(24)
    prefix.load_state_dict({"vectors": state["prompts.vectors"]})
    assert torch.equal(prefix.vectors, prompt[0])


def test_the_command(files: Any):
    path, prompt_path, *_ = files
    arguments = ["weights", "convert-afclip", str(path), str(prompt_path), "--out", "out/afclip.safetensors"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    stored = load_file("out/afclip.safetensors")
    expected = released_tensors(path, prompt_path)
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], expected[name]) for name in stored)
    assert "adaptor of width 16, 8 heads of 4; 12 prompt vectors of width 24" in result.output
    numbers = sum(tensor.numel() for tensor in expected.values()) - 1  # the number of heads
    assert f"{numbers:,} numbers" in result.output


def test_a_state_dict_of_the_adaptor(files: Any):
    path, prompt_path, theirs, _ = files
    expected = released_tensors(path, prompt_path)
    torch.save(theirs.state_dict(), path)
    found = released_tensors(path, prompt_path)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


class Explosive:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (RAN,)


@pytest.mark.parametrize(
    ("which", "content", "message"),
    [
        (0, Explosive(), "cannot be read without running code in it"),
        (1, Explosive(), "cannot be read without running code in it"),
        (0, nn.Conv2d(1, 1, 1), "without running code in it: it needs torch.nn.modules.conv.Conv2d$"),
        (0, nn.Linear(2, 2), "not AF-CLIP's adaptor; .* got weight, bias"),
        (0, torch.zeros(3), "not AF-CLIP's adaptor; .* got none"),
        (0, {"a": 1}, "not AF-CLIP's adaptor; .* got a"),
        (1, torch.zeros(2, 12, 24), r"they are one tensor \(1, n, W\), got \(2, 12, 24\)"),
        (1, {"a": 1}, r"they are one tensor \(1, n, W\), got dict"),
        (1, torch.full((1, 12, 24), torch.inf), "prompts.vectors hold infinities"),
        (0, None, "no file .*adaptor.pt; the authors' release holds"),
    ],
)
def test_other_files(files: Any, which: int, content: object, message: str):
    path = files[which]
    path.unlink()
    if content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=message):
        released_tensors(files[0], files[1])
    assert not RAN.exists()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("attention.attn.to_q.weight", (30, DIM), "its width 30 is not a multiple of 8 heads"),
        ("attention.attn.to_k.weight", (INNER, 3), "do not fit together: size mismatch for to_k.weight"),
    ],
)
def test_tensors_of_other_shapes(files: Any, name: str, shape: tuple[int, int], message: str):
    assert name in NAMES
    path, prompt_path, theirs, _ = files
    torch.save(theirs.state_dict() | {name: torch.zeros(shape)}, path)
    with pytest.raises(WeightsError, match=message):
        released_tensors(path, prompt_path)
