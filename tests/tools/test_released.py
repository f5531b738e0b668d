"""AF-CLIP's released files with a tiny tower: a model that predicts, and shows what `adlib explain` shows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from tiny_clip import BLOCKS, DIM, SIZE, tiny_clip
from torch import Tensor, nn
from toys import CPU, ROOT
from typer.testing import CliRunner

from adlib.base.errors import UserError
from adlib.base.tables import read_csv
from adlib.cli.app import app
from adlib.config.params import Params
from adlib.embedding.tokens import open_clip_tower
from adlib.fits.model import load_model
from adlib.supply.weights.afclip import NAMES, released_tensors
from adlib.tools.explain import clip_maps, read_learned
from adlib.tools.released import write_released_model

INNER, WIDTH, LENGTH = 16, 16, 4


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """An adaptor as a state dict, and prompts, under the released names."""
    draw = torch.Generator().manual_seed(0)
    shapes = {
        "norm.weight": (DIM,), "norm.bias": (DIM,), "to_q.weight": (INNER, DIM), "to_k.weight": (INNER, DIM),
        "to_v.weight": (INNER, DIM), "to_out.weight": (DIM, INNER), "to_out.bias": (DIM,),
    }  # fmt: skip
    state = {theirs: torch.randn(shapes[ours], generator=draw) for theirs, ours in NAMES.items()}
    torch.save(state, tmp_path / "visa_adaptor.pt")
    torch.save(nn.Parameter(torch.randn(1, LENGTH, WIDTH, generator=draw)), tmp_path / "visa_prompt.pt")
    return tmp_path / "visa_adaptor.pt", tmp_path / "visa_prompt.pt"


@pytest.fixture
def tensors(files: tuple[Path, Path]) -> dict[str, Tensor]:
    return released_tensors(*files)


@pytest.fixture
def with_tower(params: Params, tmp_path: Path) -> Params:
    return params.model_copy(update={"clip": tiny_clip(tmp_path / "clip")})


def test_the_model_scores_as_explain_shows(tensors: dict[str, Tensor], with_tower: Params, tmp_path: Path):
    write_released_model(tmp_path / "model", tensors, with_tower)
    model = load_model(tmp_path / "model", CPU)
    assert model.threshold is None
    assert model.heat_scale == (0, 1)
    frame = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    _, patch = model.score(frame[None])
    tower = open_clip_tower(with_tower.clip, CPU)
    *_, everything = clip_maps(tower, frame, BLOCKS, read_learned(tmp_path / "model"))
    assert (everything.kind, everything.block) == ("similarity", "all")
    np.testing.assert_allclose(patch[0], everything.values.ravel(), atol=0.02)  # tokens are float16
    assert patch.std() > 0.1


def test_another_tower(tensors: dict[str, Tensor], with_tower: Params, tmp_path: Path):
    tensors["prompts.vectors"] = torch.zeros(LENGTH, WIDTH + 1)
    with pytest.raises(UserError, match=r"of widths \(32, 17\), the tower's are \(32, 16\)"):
        write_released_model(tmp_path / "model", tensors, with_tower)
    assert not (tmp_path / "model").exists()


def test_the_commands(files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From the two files to predictions, as typed."""
    yaml = YAML()
    values = yaml.load(ROOT / "params.yaml")
    values["clip"] = tiny_clip(tmp_path / "clip").model_dump(mode="json")
    yaml.dump(values, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save("image.png")
    converted = ["weights", "convert-afclip", *map(str, files), "--out", "a.safetensors", "--model", "model"]
    result = CliRunner().invoke(app, converted)
    assert result.exit_code == 0, result.output
    assert "adlib predict IMAGES --model model" in result.output
    result = CliRunner().invoke(app, ["predict", "image.png", "--model", "model", "--out", "out"])
    assert result.exit_code == 0, result.output
    (row,) = read_csv("out/predictions.csv")
    assert 0 <= float(row["score"]) <= 1
    assert row["decision"] == ""
