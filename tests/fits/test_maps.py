"""Gradient maps of flows: the views they differentiate, gradients by hand, and what comes of the files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from toys import CPU

from adlib.base.yaml import ParamsError
from adlib.config.params import Params, checked_params
from adlib.data.manifest import Sample
from adlib.embedding.networks.backbones import load_backbone
from adlib.embedding.rotations import embed_views, rotated_views
from adlib.fits.files import FitScores, Suspects, with_maps
from adlib.fits.maps import image_maps, mapped_ids, score_gradients, view_features, write_maps
from adlib.learning.heads.flow import Flow
from adlib.learning.methods.flow.sampling import FlowDetector

RNG = np.random.default_rng(0)


def levels(level: Callable[[Tensor], Tensor]) -> Any:
    """A backbone that is one function of the pixels."""
    return SimpleNamespace(device=CPU, forward=lambda images: [level(images)])


def flow(width: int) -> FlowDetector:
    return FlowDetector(Flow(width, 2, 8, 3.0, torch.Generator().manual_seed(0)).double(), likelihood=False)


def scores(**changes: Any) -> FitScores:
    plain = FitScores(
        test=("a", "b"), image=np.zeros(2), patch=np.zeros((2, 4)), grid=None, image_size=448,
        features_key="k", weights_sha256="w", train=("c", "d", "e"), weight=None, train_score=None,
        suspicion=None, suspects=None,
    )  # fmt: skip
    return replace(plain, **changes)


def test_views_are_those_that_the_flow_was_trained_on(params: Params):
    """Up to PIL's rounding to bytes, and its edge between the turned picture and the black corners."""
    network = params.views.backbone.model_copy(
        update={"name": "test_efficientnet", "weights": "random", "out_indices": (1, 2)}
    )
    backbone = load_backbone(network, CPU)
    smooth = ndimage.gaussian_filter(RNG.uniform(0, 255, (64, 64, 3)), (3, 3, 0))
    picture = np.clip((smooth - smooth.mean()) * 6 + 128, 0, 255).astype(np.uint8)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    for angle in (0.0, 40.0):
        rows = embed_views(backbone, 1, [rotated_views(picture, (64, 48), [angle])])[0, 0]
        ours = view_features(backbone, pixels, (64, 48), angle)[0].numpy()
        assert np.abs(ours - rows).max() < 0.1 * np.abs(rows).max()
        assert np.corrcoef(ours, rows)[0, 1] > 0.99


def test_gradient_of_a_mean_by_hand():
    """Where the features are the colours' means, every pixel moves the score equally."""
    detector = flow(3)
    images = torch.rand((2, 3, 8, 8), dtype=torch.float64)
    found = score_gradients(detector, levels(lambda x: x), images, [8], [0.0])
    means = images.mean((2, 3)).requires_grad_(True)
    (by_mean,) = torch.autograd.grad(detector.view_scores(means[:, None]).sum(), means)
    expected = (by_mean.abs().sum(1) / 64).square()
    torch.testing.assert_close(found, expected[:, None, None].expand(2, 8, 8))


def test_maps_come_back_upright():
    """A network that sees the upper left corner alone sees the upper right one of a picture turned by 90."""
    corner = levels(lambda x: x[:, :, :2, :2])
    images = torch.rand((1, 3, 8, 8), dtype=torch.float64)
    found = score_gradients(flow(3), corner, images, [8], [90.0])[0]
    seen = torch.zeros(8, 8, dtype=torch.bool)
    seen[:2, 6:] = True
    assert (found[seen] > 0).all()
    assert found[~seen].abs().max() < 1e-9 * found[seen].min()


def test_rotations_are_averaged_before_squaring():
    detector, images = flow(3), torch.rand((1, 3, 8, 8), dtype=torch.float64)
    corner = levels(lambda x: x[:, :, :2, :2])
    upright, turned = (score_gradients(detector, corner, images, [8], [angle]) for angle in (0.0, 90.0))
    both = score_gradients(detector, corner, images, [8], [0.0, 90.0])
    torch.testing.assert_close(both, ((upright.sqrt() + turned.sqrt()) / 2).square())


def test_maps_of_files(params: Params, tmp_path: Path):
    for i in range(3):
        Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    changed = params.model_copy(
        update={
            "gradient_maps": params.gradient_maps.model_copy(
                update={"rotations": 2, "cells": 4, "batch_size": 2}
            ),
            "views": params.views.model_copy(update={"sizes": (32, 16)}),
        }
    )
    detector = FlowDetector(Flow(6, 2, 8, 3.0, torch.Generator().manual_seed(0)), likelihood=False)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    maps = image_maps(changed, detector, levels(lambda x: x), paths)
    assert maps.shape == (3, 16)
    assert (maps > 0).all()
    np.testing.assert_allclose(
        image_maps(changed, detector, levels(lambda x: x), paths[2:]), maps[2:], rtol=1e-5
    )


def test_without_rotations_there_are_no_maps(params: Params, tmp_path: Path):
    samples = {"a": Sample("a", "a.png", "test")}
    write_maps(params, "c", "differnet", samples, tmp_path, fits=tmp_path / "fits", out=tmp_path / "maps")
    assert list((tmp_path / "maps").iterdir()) == []
    plain = scores()
    assert with_maps(plain, tmp_path / "maps" / "noise-0_seed-0") is plain


def test_maps_take_the_place_of_the_views_scores(tmp_path: Path):
    suspects = Suspects(np.array([2, 0]), np.zeros((2, 4)), np.zeros((2, 1), dtype=int))
    assert mapped_ids(scores()) == ["a", "b"]
    assert mapped_ids(scores(suspects=suspects)) == ["a", "b", "e", "c"]
    np.save(tmp_path / "maps.npy", np.arange(36.0).reshape(4, 9))
    found = with_maps(scores(suspects=suspects, image_size=256), tmp_path)
    assert (found.grid, found.image_size) == ((3, 3), 256)
    assert found.patch.tolist() == np.arange(18.0).reshape(2, 9).tolist()
    assert found.suspects is not None
    assert found.suspects.patch[0].tolist() == list(range(18, 27))


def test_there_are_no_more_rotations_than_views(params: Params):
    raw = params.model_dump(mode="json", by_alias=True)
    raw["gradient_maps"]["rotations"] = 5
    with pytest.raises(ParamsError, match=r"gradient_maps\.rotations: at most views\.count = 4, got 5"):
        checked_params(raw, "params.yaml")
