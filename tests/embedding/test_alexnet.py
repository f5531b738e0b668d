"""AlexNet as a backbone: torchvision's layers, its weights from a file, the hub or at random, and views."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import AlexNet_Weights, alexnet
from toys import CPU

from adlib.base.files import sha256_file
from adlib.config.networks import NetworkParams
from adlib.embedding.networks.backbones import WeightsError, load_backbone
from adlib.embedding.rotations import embed_views, rotated_views

END = (12,)  # of the convolutions: DifferNet's level


@pytest.fixture(scope="module")
def whole() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return alexnet().eval()


def network(**changes: Any) -> NetworkParams:
    values = {"name": "alexnet", "weights": "random", "out_indices": END, "sha256": None}
    return NetworkParams(**values | changes)


def images(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def test_a_local_file_gives_torchvisions_features(whole: nn.Module, tmp_path: Path):
    path = tmp_path / "alexnet.pth"
    torch.save(whole.state_dict(), path)
    params = network(weights=str(path), sha256=sha256_file(path), out_indices=(0, 5, 12))
    backbone = load_backbone(params, CPU)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((images().float() / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = [whole.features[: end + 1](x) for end in (0, 5, 12)]
    found = backbone.levels(images())
    assert [level.shape[1] for level in found] == [64, 192, 256]
    for level, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(level, reference, rtol=1e-4, atol=1e-5)


def test_the_hub(whole: nn.Module, monkeypatch: pytest.MonkeyPatch):
    """The hash in the file's name is checked, and nothing in the file is run."""

    def fetched(_: object, **arguments: object) -> dict[str, torch.Tensor]:
        assert arguments == {"check_hash": True, "weights_only": True}
        return whole.state_dict()

    monkeypatch.setattr(AlexNet_Weights, "get_state_dict", fetched)
    backbone = load_backbone(network(weights="hub"), CPU)
    assert torch.equal(backbone.network.state_dict()["features.0.weight"], whole.features[0].weight)


@pytest.mark.parametrize("error", [ConnectionError("no route"), RuntimeError("invalid hash value")])
def test_the_hub_cannot_be_reached_or_trusted(error: Exception, monkeypatch: pytest.MonkeyPatch):
    def fails(_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(AlexNet_Weights, "get_state_dict", fails)
    with pytest.raises(WeightsError, match=f"alexnet.*{error}"):
        load_backbone(network(weights="hub"), CPU)


def test_random_weights_are_the_same_every_time():
    first, second = load_backbone(network(), CPU), load_backbone(network(), CPU)
    assert first.weights_sha256 == second.weights_sha256
    assert first.levels(images())[0].std() > 0


def test_a_layer_that_it_lacks():
    with pytest.raises(WeightsError, match=r"cannot build alexnet with out_indices \[12, 13\].* 0 .. 12"):
        load_backbone(network(out_indices=(12, 13)), CPU)


def test_its_views():
    """Three scales of 256 channels each, as in DifferNet."""
    backbone = load_backbone(network(), CPU)
    rgb = np.random.default_rng(1).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    views = embed_views(backbone, 4, [rotated_views(rgb, (128, 96, 64), (0.0, 30.0))])
    assert views.shape == (1, 2, 3 * 256)
    with torch.inference_mode():
        x = torch.from_numpy(rotated_views(rgb, (128,), (30.0,))[0])
        expected = backbone.levels(x)[0].mean((2, 3))[0]
    np.testing.assert_allclose(views[0, 1, :256], expected, rtol=1e-2, atol=1e-3)
