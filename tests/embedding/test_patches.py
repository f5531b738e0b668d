"""Building features: each image once, shared through the store, rows that depend on their image alone."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import CPU

from adlib.base.code import code_version
from adlib.base.files import sha256_file
from adlib.config.networks import BackboneParams
from adlib.config.params import Params
from adlib.data.manifest import DataError, Sample
from adlib.data.rows import INFO, ROWS, open_features
from adlib.embedding import patches as build
from adlib.embedding.networks.backbones import Backbone, load_backbone
from adlib.embedding.patches import build_features, embed_images

SIZE = 64
GRID = (16, 16)
WIDTH = 24
Build = Callable[..., int]


@pytest.fixture
def backbone_params(params: Params) -> BackboneParams:
    changes = {"name": "test_efficientnet", "weights": "random", "sha256": None, "out_indices": (1, 2)}
    dims = {"pretrain_dim": 32, "target_dim": WIDTH, "batch_size": 4, "patch_size": 3}
    return params.backbone.model_copy(update=changes | dims)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Ten pictures of another size than the network's, in `tmp_path/images`."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    names = [f"{i}.png" for i in range(10)]
    for name in names:
        pixels = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    return [Sample(sha256_file(tmp_path / "images" / name), name, "train") for name in names]


@pytest.fixture
def make(tmp_path: Path, backbone_params: BackboneParams) -> Build:
    """`make(folder name, samples)`: the number of images that had to be embedded."""

    def run(folder: str, samples: list[Sample], /, **changes: object) -> int:
        frame = {"image_size": SIZE, "keep_aspect": False} | {
            key: changes.pop(key) for key in ("image_size", "keep_aspect") if key in changes
        }
        params = backbone_params.model_copy(update=changes)
        return build_features(tmp_path / folder, samples, tmp_path / "images", params, device=CPU, **frame)  # pyright: ignore[reportArgumentType]

    return run


def rows(folder: Path) -> np.ndarray:
    return np.load(folder / ROWS)


@pytest.mark.usefixtures("store")
def test_what_is_written(tmp_path: Path, samples: list[Sample], make: Build, backbone_params: BackboneParams):
    assert make("out", samples) == 10
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([INFO, ROWS])
    features = open_features(tmp_path / "out")
    assert features.shape == (10, GRID[0] * GRID[1], WIDTH)
    assert features.info.ids == tuple(sample.id for sample in samples)
    assert features.info.grid == GRID
    assert features.info.image_size == SIZE
    assert features.info.weights_sha256 == load_backbone(backbone_params, CPU).weights_sha256
    view = features.select(features.info.ids)
    assert isinstance(view.rows, np.memmap)
    assert view.rows.dtype == np.float16
    assert np.isfinite(view.rows).all()
    assert len({row.tobytes() for row in view.rows}) == 10


@pytest.mark.usefixtures("store")
def test_rows_are_those_of_the_images(
    tmp_path: Path, samples: list[Sample], make: Build, backbone_params: BackboneParams
):
    make("out", samples)
    backbone = load_backbone(backbone_params, CPU)
    for row, sample in zip(rows(tmp_path / "out"), samples, strict=True):
        with Image.open(tmp_path / "images" / sample.path) as image:
            pixels = np.array(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(row, embed_images(backbone, backbone_params, pixels[None])[0])


@pytest.mark.usefixtures("store")
def test_the_second_build_embeds_nothing(tmp_path: Path, samples: list[Sample], make: Build):
    assert make("first", samples) == 10
    assert make("second", samples) == 0
    for name in (ROWS, INFO):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.usefixtures("store")
def test_only_new_images_are_embedded_and_order_is_the_manifests(
    tmp_path: Path, samples: list[Sample], make: Build
):
    assert make("some", samples[3:8]) == 5
    assert make("all", samples[::-1]) == 5
    np.testing.assert_array_equal(rows(tmp_path / "all")[::-1][3:8], rows(tmp_path / "some"))
    assert open_features(tmp_path / "all").info.ids == tuple(sample.id for sample in samples[::-1])


@pytest.mark.usefixtures("store")
def test_a_moved_image_is_found_a_changed_one_is_not(tmp_path: Path, samples: list[Sample], make: Build):
    make("out", samples)
    images = tmp_path / "images"
    (images / "0.png").rename(images / "moved.png")
    assert make("out", [replace(samples[0], path="moved.png"), *samples[1:]]) == 0
    Image.fromarray(np.zeros((50, 70, 3), dtype=np.uint8)).save(images / "1.png")
    changed = replace(samples[1], id=sha256_file(images / "1.png"))
    before = rows(tmp_path / "out")
    assert make("out", [changed, samples[2]]) == 1
    assert (rows(tmp_path / "out")[0] != before[1]).any()
    np.testing.assert_array_equal(rows(tmp_path / "out")[1], before[2])


@pytest.mark.parametrize("setting", ["store", "off"])
def test_an_image_that_is_not_the_manifests_is_refused(
    tmp_path: Path, samples: list[Sample], make: Build, setting: str, monkeypatch: pytest.MonkeyPatch
):
    """Its pixels would be kept under another image's name, for every later experiment."""
    store = tmp_path / "store"
    monkeypatch.setenv("ADLIB_CACHE", str(store) if setting == "store" else "off")
    Image.fromarray(np.zeros((50, 70, 3), dtype=np.uint8)).save(tmp_path / "images" / "1.png")
    with pytest.raises(DataError, match=r"1.png: changed since the fetch stage; run `dvc repro`"):
        make("out", samples)
    assert not (tmp_path / "out").exists()
    assert not [path for path in store.rglob("*") if path.name.startswith(samples[1].id)]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 96},
        {"keep_aspect": True},
        {"name": "test_resnet"},
        {"out_indices": (2, 3)},
        {"patch_size": 5},
        {"pretrain_dim": 16},
        {"target_dim": 12},
    ],
    ids=str,
)
def test_other_parameters_embed_again(
    tmp_path: Path, samples: list[Sample], make: Build, changes: dict[str, object]
):
    make("first", samples[:2])
    assert make("second", samples[:2], **changes) == 2
    first, second = (open_features(tmp_path / name) for name in ("first", "second"))
    assert first.info.key != second.info.key
    assert first.shape != second.shape or (rows(tmp_path / "first") != rows(tmp_path / "second")).any()
    assert make("third", samples[:2]) == 0, "the first rows are still there"


@pytest.mark.usefixtures("store")
def test_the_batch_size_is_no_part_of_the_key(samples: list[Sample], make: Build):
    make("first", samples)
    assert make("second", samples, batch_size=3) == 0


@pytest.mark.usefixtures("store")
def test_edited_code_embeds_again(samples: list[Sample], make: Build, monkeypatch: pytest.MonkeyPatch):
    make("first", samples[:2])
    monkeypatch.setattr(build, "code_version", lambda module: code_version(module) + "edited")
    assert make("second", samples[:2]) == 2


def test_without_a_store_the_bytes_are_the_same(
    tmp_path: Path, store: Path, samples: list[Sample], make: Build, monkeypatch: pytest.MonkeyPatch
):
    make("with", samples)
    assert len(list(store.rglob("*.npy"))) == 10
    monkeypatch.setenv("ADLIB_CACHE", "off")
    assert make("without", samples) == 10
    for name in (ROWS, INFO):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    assert len(list(store.rglob("*.npy"))) == 10


def test_a_row_does_not_depend_on_its_company(
    tmp_path: Path, samples: list[Sample], make: Build, monkeypatch: pytest.MonkeyPatch
):
    """Kernels are chosen by the batch's shape, and the last of nine images is alone in its batch."""
    monkeypatch.setenv("ADLIB_CACHE", "off")
    make("nine", samples[:9])
    make("pair", [samples[8], samples[2]])
    expected = rows(tmp_path / "nine")[[8, 2]]
    np.testing.assert_array_equal(rows(tmp_path / "pair"), expected)


def test_a_batch_is_its_images_one_by_one(backbone_params: BackboneParams):
    """Up to rounding whatever the batch size; exactly for batches up to `batch_size`."""
    backbone = load_backbone(backbone_params, CPU)
    images = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), dtype=np.uint8)
    alone = np.concatenate([embed_images(backbone, backbone_params, image[None]) for image in images])
    assert alone.shape == (7, GRID[0] * GRID[1], WIDTH)
    np.testing.assert_array_equal(embed_images(backbone, backbone_params, images[:4]), alone[:4])
    together = embed_images(backbone, backbone_params, images)
    np.testing.assert_allclose(together.astype(np.float32), alone, rtol=2e-3, atol=2e-3)


def test_values_beyond_half_precision_are_clamped(backbone_params: BackboneParams):
    backbone = load_backbone(backbone_params, CPU)
    loud = replace(backbone, std=backbone.std * 1e-12)
    images = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    found = embed_images(loud, backbone_params, images)
    assert np.isfinite(found).all()
    assert np.abs(found).max() == np.finfo(np.float16).max


@pytest.mark.usefixtures("store")
def test_an_interrupted_build_leaves_nothing_but_finished_rows(
    tmp_path: Path, samples: list[Sample], make: Build, monkeypatch: pytest.MonkeyPatch
):
    """The output is absent; the rows of the two finished batches of four need not be embedded again."""
    batches: list[int] = []

    def interrupted(backbone: Backbone, params: BackboneParams, images: np.ndarray) -> np.ndarray:
        batches.append(len(images))
        if len(batches) == 3:
            raise KeyboardInterrupt
        return embed_images(backbone, params, images)

    with monkeypatch.context() as patch:
        patch.setattr(build, "embed_images", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make("out", samples)
    assert batches == [4, 4, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "store"]
    assert make("out", samples) == 2
    make("reference", samples)
    np.testing.assert_array_equal(rows(tmp_path / "out"), rows(tmp_path / "reference"))


def test_an_interrupted_build_leaves_the_old_output(
    tmp_path: Path, samples: list[Sample], make: Build, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ADLIB_CACHE", "off")
    make("out", samples[:2])
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "images" / samples[9].path).unlink()
    with pytest.raises(FileNotFoundError):
        make("out", samples)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out"]


@pytest.mark.usefixtures("store")
def test_a_full_disk_is_an_error_before_the_first_image(
    tmp_path: Path, samples: list[Sample], make: Build, monkeypatch: pytest.MonkeyPatch
):
    def full(file: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(DataError, match=r"features of 10 images take 0\.\d+ GB: No space left on device"):
            make("out", samples)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


@pytest.mark.usefixtures("store")
def test_room_is_taken_before_the_rows_are_made(
    tmp_path: Path, samples: list[Sample], make: Build, monkeypatch: pytest.MonkeyPatch
):
    taken: list[int] = []

    def note(backbone: Backbone, params: BackboneParams, images: np.ndarray) -> np.ndarray:
        taken.append(next(tmp_path.glob(f".out.*/new/{ROWS}")).stat().st_blocks * 512)
        return embed_images(backbone, params, images)

    monkeypatch.setattr(build, "embed_images", note)
    make("out", samples)
    assert taken[0] >= rows(tmp_path / "out").nbytes
