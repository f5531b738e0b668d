"""CLIP's towers on tiny random models: taps, positions, weights files, and what stays frozen."""

import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adlib.base.files import sha256_file
from adlib.embedding.networks.backbones import WeightsError
from adlib.embedding.networks.clip import Clip, clip_frame, clip_pixels, interpolate_positions, token_taps
from adlib.embedding.networks.clip_loading import has_quick_gelu, load_clip
from adlib.learning.heads.adaptor import AnomalyAdaptor
from adlib.learning.heads.prompts import STATES, PromptPrefix

TINY = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module", autouse=True)
def tiny_architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`tiny` and its relatives among open_clip's names."""
    folder = tmp_path_factory.mktemp("configs")
    text = TINY["text_cfg"]
    towers = {
        "tiny": TINY,
        "tiny-quickgelu": TINY | {"quick_gelu": True},
        "tiny-custom": TINY | {"custom_text": True},
        "tiny-pooled": TINY | {"vision_cfg": TINY["vision_cfg"] | {"pool_type": "avg"}},
        "tiny-resnet": TINY | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}},
        "tiny-timm": TINY | {"vision_cfg": {"timm_model_name": "resnet50", "image_size": 32}},
        "tiny-last": TINY | {"custom_text": True, "text_cfg": text | {"pool_type": "last"}},
    }
    for name, config in towers.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def clip() -> Clip:
    torch.manual_seed(0)
    return load_clip("tiny", "random")


def random_pixels(side: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(side))


def literal_forward(visual: Any, pixels: Tensor) -> list[Tensor]:
    """Every block's tokens at the trained size: convolution, embedding and blocks written out."""
    B, _, H, W = pixels.shape
    size = visual.conv1.kernel_size[0]
    tokens = [visual.class_embedding.expand(B, -1)]
    for row in range(0, H, size):
        for column in range(0, W, size):
            patch = pixels[:, :, row : row + size, column : column + size]
            tokens.append(torch.einsum("bchw,dchw->bd", patch, visual.conv1.weight))
    x = visual.ln_pre(torch.stack(tokens, dim=1) + visual.positional_embedding)
    found = []
    for block in visual.transformer.resblocks:
        q = block.ln_1(x)
        x = x + block.attn(q, q, q, need_weights=False)[0]
        x = x + block.mlp(block.ln_2(x))
        found.append(x)
    return found


def test_taps_equal_the_literal_forward(clip: Clip):
    pixels = random_pixels(32)
    expected = literal_forward(clip.model.visual, pixels)
    for found, number in zip(clip.tokens(pixels, (1, 3)), (1, 3), strict=True):
        assert found.shape == (2, 17, 64)
        torch.testing.assert_close(found, expected[number - 1], rtol=1e-4, atol=1e-5)


def test_the_projected_class_token_of_the_last_block_is_clips_image_feature(clip: Clip):
    pixels = random_pixels(32)
    (last,) = clip.tokens(pixels, (3,))
    with torch.no_grad():
        expected = clip.model.encode_image(pixels)
    torch.testing.assert_close(clip.project(last)[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_another_size_resizes_the_positions_and_nothing_else(clip: Clip):
    before = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}
    (found,) = clip.tokens(random_pixels(56), (1,))
    assert found.shape == (2, 50, 64)
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.model.state_dict().items())


def test_positions_equal_the_literal_interpolation():
    embedding = torch.randn(1 + 16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = interpolate_positions(embedding, (7, 2))
    square, expected = embedding[1:].reshape(4, 4, 3), torch.zeros(7, 2, 3, dtype=torch.float64)
    for i in range(7):
        for j in range(2):
            # Half-pixel centres, clamped at the border, four neighbours whatever the scale.
            y, x = max((i + 0.5) * 4 / 7 - 0.5, 0.0), max((j + 0.5) * 4 / 2 - 0.5, 0.0)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, 3), min(left + 1, 3)
            v, u = y - top, x - left
            expected[i, j] = (1 - v) * ((1 - u) * square[top, left] + u * square[top, right])
            expected[i, j] += v * ((1 - u) * square[bottom, left] + u * square[bottom, right])
    torch.testing.assert_close(found[1:], expected.reshape(14, 3), rtol=0, atol=1e-12)
    assert torch.equal(found[0], embedding[0])
    assert interpolate_positions(embedding, (4, 4)) is embedding


def test_frozen_towers_take_no_gradient_and_one_step_equals_the_naive_one(clip: Clip):
    """Adaptor and prefix are trained through the frozen projection and text tower."""
    before = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}
    adaptor, prompts = AnomalyAdaptor(64, 2, 4), PromptPrefix(16)
    trained = [*adaptor.parameters(), *prompts.parameters()]
    (tokens,), text = clip.tokens(random_pixels(32), (2,)), clip.tokenise(STATES)

    def loss() -> Tensor:
        v, t = clip.project(adaptor(tokens)), prompts(clip.text, text)
        return (F.normalize(v, dim=2) @ F.normalize(t, dim=1).T).square().sum()

    gradients = torch.autograd.grad(loss(), trained)
    # Adam's first step moves every weight by lr * g / (|g| + eps).
    expected = [p.detach() - 1e-4 * g / (g.abs() + 1e-8) for p, g in zip(trained, gradients, strict=True)]
    adam = torch.optim.Adam(trained, lr=1e-4, betas=(0.5, 0.999))
    loss().backward()
    adam.step()
    for parameter, wanted in zip(trained, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), wanted, rtol=0, atol=1e-6)
    assert not any(
        parameter.requires_grad or parameter.grad is not None for parameter in clip.model.parameters()
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.model.state_dict().items())


def test_trainable_parameters_of_the_paper():
    """Adaptor and prompts for ViT-L/14@336: the paper's 2,109,440."""
    config = open_clip.get_model_config("ViT-L-14-336")
    with torch.device("meta"):
        adaptor = AnomalyAdaptor(config["vision_cfg"]["width"])
        prompts = PromptPrefix(config["text_cfg"]["width"])
    assert sum(p.numel() for part in (adaptor, prompts) for p in part.parameters()) == 2_109_440


def test_a_text_tower_of_its_own_gives_prompt_features_too():
    clip = load_clip("tiny-custom", "random")
    text = clip.tokenise(STATES)
    assert text.shape == (2, 77)
    assert PromptPrefix(16)(clip.text, text).shape == (2, 12)
    # With an empty prefix the feature is the tower's own.
    found = PromptPrefix(16, length=0)(clip.text, text)
    torch.testing.assert_close(found, clip.model.encode_text(text), rtol=1e-4, atol=1e-5)


def test_images_are_squashed_bicubic_and_normalised():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    assert clip_frame(rgb).shape == (518, 518, 3)
    assert (clip_frame(np.full((9, 5, 3), 77, dtype=np.uint8), 20) == 77).all()
    pixels = clip_pixels(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8))
    expected = (1 - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor(
        [0.26862954, 0.26130258, 0.27577711]
    )
    torch.testing.assert_close(pixels[0, :, 0, 0], expected)


def openai_state() -> dict[str, Tensor]:
    """A tiny state dict as OpenAI publishes it: half precision, with three entries that are no weights."""
    torch.manual_seed(7)
    state = open_clip.create_model("tiny", pretrained=None).state_dict()
    half = {name: tensor.half() for name, tensor in state.items()}
    sizes = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    return half | {name: torch.tensor(value) for name, value in sizes.items()}


class Tree(nn.Module):
    """Named tensors as a module, to be scripted."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for name in dict.fromkeys(key.split(".")[0] for key in state):
            below = {key.partition(".")[2]: t for key, t in state.items() if key.split(".")[0] == name}
            if "" in below:
                self.register_buffer(name, below[""])
            else:
                self.add_module(name, Tree(below))

    def forward(self, x: Tensor) -> Tensor:
        return x


def save(state: dict[str, Tensor], path: Path, kind: str) -> tuple[Path, str]:
    if kind == "archive":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            torch.jit.save(torch.jit.script(Tree(state)), path)
    elif kind == "safetensors":
        from safetensors.torch import save_file

        path = path.with_suffix(".safetensors")
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    elif kind == "training":
        wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save({"epoch": 3, "state_dict": wrapped}, path)
    else:
        torch.save(state, path)
    return path, sha256_file(path)


@pytest.mark.parametrize("kind", ["archive", "safetensors", "training", "plain"])
@pytest.mark.parametrize("name", ["tiny", "tiny-quickgelu", "tiny-custom"])
def test_openai_weights_in_every_container(tmp_path: Path, kind: str, name: str):
    state = openai_state()
    path, sha256 = save(state, tmp_path / "clip.pt", kind)
    loaded = load_clip(name, path, sha256)
    assert loaded.weights_sha256 == sha256
    assert loaded.quick_gelu
    assert has_quick_gelu(loaded.model)
    found = loaded.model.state_dict()
    assert found["visual.proj"].dtype == torch.float32
    assert torch.equal(found["visual.conv1.weight"], state["visual.conv1.weight"].float())
    prefix = "text." if name == "tiny-custom" else ""
    assert torch.equal(found[f"{prefix}token_embedding.weight"], state["token_embedding.weight"].float())


def test_other_weights_keep_the_configured_activation(tmp_path: Path):
    state = {
        name: t for name, t in openai_state().items() if name not in ("input_resolution", "context_length")
    }
    del state["vocab_size"]
    path, sha256 = save(state, tmp_path / "clip.pt", "plain")
    assert not load_clip("tiny", path, sha256).quick_gelu
    assert load_clip("tiny-quickgelu", path, sha256).quick_gelu


def test_a_changed_or_missing_file_is_an_error(tmp_path: Path):
    path, sha256 = save(openai_state(), tmp_path / "clip.pt", "plain")
    with pytest.raises(WeightsError, match=f"has sha256 {sha256}, expected None"):
        load_clip("tiny", path)
    with pytest.raises(WeightsError, match=f"has sha256 {sha256}, expected {'0' * 64}"):
        load_clip("tiny", path, "0" * 64)
    with pytest.raises(WeightsError, match=r"no file .*nowhere.pt; allowed: random or a local checkpoint"):
        load_clip("tiny", tmp_path / "nowhere.pt", sha256)


def test_no_pickle_is_executed(tmp_path: Path):
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    for name, write in (("zip.pt", torch.save), ("legacy.pt", None)):
        path = tmp_path / name
        if write:
            write({"state_dict": Bomb()}, path)
        else:
            path.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(WeightsError, match="no named tensors that can be read without running code"):
            load_clip("tiny", path, sha256_file(path))
    assert not (tmp_path / "exploded").exists()


def test_weights_of_another_architecture_are_an_error(tmp_path: Path):
    state = openai_state()
    state["visual.positional_embedding"] = torch.zeros(50, 64)
    path, sha256 = save(state, tmp_path / "clip.pt", "plain")
    with pytest.raises(WeightsError, match=r"do not fit tiny: size mismatch for visual.positional_embedding"):
        load_clip("tiny", path, sha256)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-L-14-335", "open_clip has no model 'ViT-L-14-335'; near it: ViT-L-14-336"),
        ("tiny-resnet", "its vision tower is a ModifiedResNet"),
        ("tiny-timm", "built from another library's towers"),
        ("tiny-pooled", "its image feature is not the projected class token"),
        ("tiny-last", "its text feature is not read at the end-of-text token"),
    ],
)
def test_towers_without_taps_are_named(name: str, message: str):
    with pytest.raises(WeightsError, match=message):
        load_clip(name, "random")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(WeightsError, match=r"CLIP needs the package open_clip_torch; .*'adlib\[clip\]'"):
        load_clip("tiny", "random")


def test_bad_blocks_and_sizes_are_named(clip: Clip):
    visual = clip.model.visual
    for blocks in ((), (0, 1), (2, 1), (1, 1), (3, 4)):
        with pytest.raises(ValueError, match=r"blocks: must increase within 1 .. 3, got \["):
            token_taps(visual, random_pixels(32), blocks)
    with pytest.raises(ValueError, match="multiples of the patch 8 x 8, got 33 x 33"):
        token_taps(visual, random_pixels(33), (1,))
    with pytest.raises(ValueError, match="its 3 patch rows do not fill a square grid"):
        interpolate_positions(torch.zeros(4, 2), (2, 2))
