"""`adlib explain`: maps of a tiny CLIP and of the backbone against formulas, and what it writes."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from toys import CPU, ROOT
from typer.testing import CliRunner

from adlib.base.errors import UserError
from adlib.base.files import read_json, sha256_file
from adlib.cli.app import app
from adlib.config.params import Params
from adlib.embedding.networks.backbones import load_backbone
from adlib.embedding.networks.clip import Clip, clip_pixels
from adlib.embedding.networks.clip_loading import load_clip
from adlib.learning.heads.adaptor import AnomalyAdaptor
from adlib.learning.heads.prompts import STATES, prompt_features
from adlib.learning.heads.tokens import aggregate_neighbours
from adlib.tools.explain import Learned, backbone_maps, class_attention, clip_maps, read_learned

S, PATCH, D, W, HEADS = 32, 8, 64, 16, 1
CONFIG = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": S, "layers": 4, "width": D, "patch_size": PATCH},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": W, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny-explained.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return load_clip("tiny-explained", "random")


@pytest.fixture(scope="module")
def learned() -> Learned:
    draw = torch.Generator().manual_seed(0)
    return Learned(AnomalyAdaptor(D, 2, 8, draw), torch.randn(12, W, generator=draw))


@pytest.fixture
def model(learned: Learned, tmp_path: Path) -> Path:
    """A model's folder."""
    state = {f"adaptor.{name}": tensor for name, tensor in learned.adaptor.state_dict().items()}
    save_file(
        state | {"prompts.vectors": learned.vectors, "heads": torch.tensor(2)}, tmp_path / "model.safetensors"
    )
    return tmp_path


def frame(seed: int = 0, size: int = S) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def test_attention_of_the_class_token(clip: Clip):
    block = clip.model.visual.transformer.resblocks[1]
    x = torch.randn(2, 5, D, generator=torch.Generator().manual_seed(1))
    found = class_attention(block, x)
    y = block.ln_1(x)
    q, k, _ = (y @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, -1)
    assert block.attn.num_heads == HEADS
    expected = torch.softmax(q[:, :1] @ k.transpose(1, 2) / D**0.5, -1)[:, 0]
    torch.testing.assert_close(found, expected[:, 1:])
    torch.testing.assert_close(found.sum(1) + expected[:, 0], torch.ones(2))


@pytest.mark.parametrize("tuned", [True, False])
def test_similarity_of_each_block_and_of_all(clip: Clip, learned: Learned, tuned: bool):
    maps = {(m.kind, m.block): m.values for m in clip_maps(clip, frame(), (2, 4), learned if tuned else None)}
    assert set(maps) == {("similarity", "all")} | {
        (kind, block) for kind in ("attention", "similarity") for block in ("2", "4")
    }
    assert all(values.shape == (4, 4) for values in maps.values())
    vectors = learned.vectors if tuned else torch.zeros(0, W)
    with torch.no_grad():
        states = F.normalize(prompt_features(clip.text, vectors, clip.tokenise(STATES)), dim=1)
        total = torch.zeros(16)
        taps = clip.tokens(clip_pixels(torch.from_numpy(frame()[None])), (2, 4))
        for number, tokens in zip(("2", "4"), taps, strict=True):
            gap = torch.zeros(16)
            for window in (1, 3, 5):
                mixed = aggregate_neighbours(tokens, window)
                v = F.normalize(clip.project(learned.adaptor(mixed) if tuned else mixed), dim=2)[0, 1:]
                gap += (v @ states[1] - v @ states[0]) / 0.07
            total += gap
            np.testing.assert_allclose(maps["similarity", number].ravel(), torch.sigmoid(gap), rtol=1e-4)
    np.testing.assert_allclose(maps["similarity", "all"].ravel(), torch.sigmoid(total), rtol=1e-4)


def test_the_backbones_maps(params: Params):
    block = params.backbone.model_copy(
        update={"name": "test_efficientnet", "weights": "random", "out_indices": (1, 2)}
    )
    backbone = load_backbone(block, CPU)
    maps = backbone_maps(backbone, frame(), (1, 2))
    assert [(m.kind, m.block) for m in maps] == [("unlikeness", "1"), ("unlikeness", "2")]
    for found, level in zip(maps, backbone.levels(torch.from_numpy(frame()[None])), strict=True):
        vectors = level[0].flatten(1).T.double().numpy()
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        mean = vectors.mean(0) / np.linalg.norm(vectors.mean(0))
        np.testing.assert_allclose(found.values.ravel(), 1 - vectors @ mean, atol=1e-5)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["explain", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_command_with_clip(clip: Clip, model: Path, tmp_path: Path):
    Image.fromarray(frame(size=50)).save(tmp_path / "image.png")
    save_file(clip.model.state_dict(), tmp_path / "clip.safetensors")
    sha256 = sha256_file(tmp_path / "clip.safetensors")
    code, text = run(
        tmp_path / "image.png", "--clip", "tiny-explained", "--weights", tmp_path / "clip.safetensors",
        "--sha256", sha256, "--model", model, "--image-size", 48, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert f"9 maps of tiny-explained ({sha256[:12]})" in text
    listed = read_json(tmp_path / "out" / "maps.json")
    assert listed["weights"] == sha256
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {entry["file"] for entry in listed["maps"]} | {"maps.json"}
    for entry in listed["maps"]:
        assert entry["grid"] == [6, 6]
        assert 0 <= entry["low"] <= entry["mean"] <= entry["high"] <= 1
        with Image.open(tmp_path / "out" / entry["file"]) as picture:
            assert picture.size == (48, 48)


def test_the_command_without_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    code, text = run("samples/weave/test/hole/000.png", "--image-size", 128, "--out", tmp_path)
    assert code == 0
    assert "2 maps of efficientnet_lite0 (8bf97050b038)" in text
    first = read_json(tmp_path / "maps.json")["maps"][0]
    assert (first["file"], first["grid"]) == ("unlikeness-2.png", [16, 16])
    assert all(0 < place < 128 for place in first["highest_at"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clip", "tiny-explained"], "--weights: name a local checkpoint of CLIP, or random"),
        (
            ["--clip", "tiny-explained", "--weights", "random", "--image-size", 33],
            "--image-size: must be a multiple of tiny-explained's patch 8, got 33",
        ),
        (
            ["--clip", "tiny-explained", "--weights", "random", "--image-size", 32, "--model", "nowhere"],
            "--model: no file nowhere; name a model of afclip",
        ),
    ],
)
def test_arguments_that_cannot_be_used(clip: Clip, tmp_path: Path, arguments: list[str], message: str):
    Image.fromarray(frame()).save(tmp_path / "image.png")
    code, text = run(tmp_path / "image.png", "--out", tmp_path / "out", *arguments)
    assert code == 1
    assert message in text
    assert not (tmp_path / "out").exists()


def test_another_model(clip: Clip, learned: Learned, model: Path, tmp_path: Path):
    found = read_learned(model)
    assert torch.equal(found.vectors, learned.vectors)
    wider = Learned(AnomalyAdaptor(D + 8, 2, 8), learned.vectors)
    with pytest.raises(UserError, match=r"of widths \(72, 16\), the tower's are \(64, 16\)"):
        clip_maps(clip, frame(), (2,), wider)
    save_file({"states": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="holds no adaptor and prompts of AF-CLIP, got states"):
        read_learned(tmp_path / "other.safetensors")
