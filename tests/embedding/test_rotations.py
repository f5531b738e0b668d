"""Rotated views: fixed angles, the image itself first, rows that depend on image and views alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import CPU

from adlib.base.files import sha256_file
from adlib.config.networks import ViewParams
from adlib.config.params import Params
from adlib.data.images import resize_rgb
from adlib.data.manifest import Sample
from adlib.data.rows import open_features
from adlib.embedding.networks.backbones import load_backbone
from adlib.embedding.rotations import build_views, embed_views, rotated_views, view_angles

Build = Callable[..., int]
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (50, 70, 3), dtype=np.uint8)


@pytest.fixture
def views(params: Params) -> ViewParams:
    changes = {"name": "test_efficientnet", "weights": "random", "out_indices": (1, 2)}
    backbone = params.views.backbone.model_copy(update=changes)
    small = {"backbone": backbone, "sizes": (48, 32), "count": 3, "batch_size": 4}
    return params.views.model_copy(update=small)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    (tmp_path / "images").mkdir()
    for i in range(3):
        Image.fromarray(RNG.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(
            tmp_path / "images" / f"{i}.png"
        )
    return [Sample(sha256_file(tmp_path / "images" / f"{i}.png"), f"{i}.png", "train") for i in range(3)]


@pytest.fixture
def make(tmp_path: Path, views: ViewParams, samples: list[Sample]) -> Build:
    """`make(folder name, **changes)`: the number of images that had to be embedded."""

    def run(folder: str, some: slice = slice(None), *, keep_aspect: bool = False, **changes: object) -> int:
        params = views.model_copy(update=changes)
        images = tmp_path / "images"
        return build_views(
            tmp_path / folder, samples[some], images, params, keep_aspect=keep_aspect, device=CPU
        )

    return run


def test_angles_are_fixed_by_seed_and_number_and_begin_with_the_image_itself():
    eight = view_angles(8, seed=3)
    assert eight[0] == 0
    assert view_angles(5, seed=3) == eight[:5]
    assert view_angles(8, seed=4)[1:] != eight[1:]
    assert len(set(eight)) == 8
    many = np.array(view_angles(300, seed=0))
    assert ((many >= -180) & (many < 180)).all()
    assert many.min() < -150
    assert many.max() > 150


def test_views_are_the_resized_image_turned():
    large, small = rotated_views(PICTURE, [64, 32], [0.0, 90.0, 180.0, 45.0])
    assert (large.shape, small.shape) == ((4, 64, 64, 3), (4, 32, 32, 3))
    for views, size in ((large, 64), (small, 32)):
        square = resize_rgb(PICTURE, size)
        np.testing.assert_array_equal(views[0], square)
        np.testing.assert_array_equal(views[1], np.rot90(square))
        np.testing.assert_array_equal(views[2], np.rot90(square, 2))
        assert (views[3, 0, 0] == 0).all()  # a corner that the turned square leaves free
    np.testing.assert_array_equal(
        rotated_views(PICTURE, [64], [0.0], True)[0][0], resize_rgb(PICTURE, 64, True)
    )


def test_a_vector_is_the_mean_over_positions_of_every_level_and_scale(views: ViewParams):
    backbone = load_backbone(views.backbone, CPU)
    turned = rotated_views(PICTURE, views.sizes, [0.0, 30.0])
    (row,) = embed_views(backbone, 1, [turned])
    expected = [
        torch.cat([
            level[0].mean((1, 2))
            for scale in turned
            for level in backbone.levels(torch.from_numpy(scale[k : k + 1]))
        ])
        for k in range(2)
    ]  # fmt: skip
    np.testing.assert_allclose(row, torch.stack(expected).numpy(), rtol=2e-3, atol=1e-4)


@pytest.mark.usefixtures("store")
def test_what_is_written(tmp_path: Path, samples: list[Sample], make: Build, views: ViewParams):
    assert make("out") == 3
    features = open_features(tmp_path / "out")
    assert features.info.ids == tuple(sample.id for sample in samples)
    assert features.info.grid is None
    assert features.info.image_size == 48
    levels = load_backbone(views.backbone, CPU).levels(torch.zeros((1, 32, 32, 3), dtype=torch.uint8))
    assert features.shape == (3, 3, 2 * sum(level.shape[1] for level in levels))
    rows = features.select(features.info.ids).batch(np.arange(3), CPU)
    assert torch.isfinite(rows).all()
    assert len({row.numpy().tobytes() for row in rows.flatten(0, 1)}) == 9


@pytest.mark.usefixtures("store")
def test_a_row_does_not_depend_on_its_company(tmp_path: Path, make: Build, monkeypatch: pytest.MonkeyPatch):
    assert make("all") == 3
    assert make("again") == 0
    monkeypatch.setenv("ADLIB_CACHE", "off")
    assert make("last", slice(2, 3)) == 1
    rows = [np.load(tmp_path / name / "features.npy") for name in ("all", "again", "last")]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0][2:], rows[2])


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "changes", [{"sizes": (48,)}, {"count": 2}, {"seed": 1}, {"keep_aspect": True}], ids=str
)
def test_other_views_embed_again(make: Build, changes: dict[str, object]):
    assert make("first", slice(1)) == 1
    assert make("second", slice(1), **changes) == 1


@pytest.mark.usefixtures("store")
def test_another_level_embeds_again_another_batch_size_does_not(make: Build, views: ViewParams):
    assert make("first", slice(1)) == 1
    assert make("second", slice(1), batch_size=9) == 0
    other = views.backbone.model_copy(update={"out_indices": (2, 3)})
    assert make("third", slice(1), backbone=other) == 1
