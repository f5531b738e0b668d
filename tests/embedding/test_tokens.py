"""CLIP's tokens as rows: what is written, what is streamed instead, and that both are the same numbers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import BLOCKS, DIM, NAME, SIZE, tiny_clip
from toys import CPU

from adlib.base.errors import UserError
from adlib.base.files import sha256_file
from adlib.config.networks import ClipParams
from adlib.config.params import Params
from adlib.config.workspace import FetchedFiles
from adlib.data.images import read_rgb
from adlib.data.manifest import DataError, Sample, write_rows
from adlib.data.rows import INFO, Features, StackedRows, join_views
from adlib.data.source import Source, write_source
from adlib.embedding.networks.clip import clip_frame, clip_pixels
from adlib.embedding.networks.clip_loading import load_clip
from adlib.embedding.opening import open_rows
from adlib.embedding.tokens import build_tokens, open_clip_tower, token_recipe

SIDE = 4


@dataclass
class Project:
    """Two categories of images below a root, and parameters that name it."""

    root: Path
    params: Params
    samples: dict[str, list[Sample]]

    def build(self, category: str, folder: str, **changes: object) -> int | None:
        clip = self.params.clip.model_copy(update=changes)
        target, samples = self.root.parent / folder / category, self.samples[category]
        return build_tokens(target, samples, self.root, clip, keep_aspect=False, device=CPU)

    def open(self, *folders: tuple[str, str]) -> list[Features]:
        pairs = []
        for folder, category in folders:
            fetched = FetchedFiles(self.root.parent / "fetch" / category)
            write_rows(fetched.manifest, self.samples[category], Sample)
            write_source(fetched.source, Source(str(self.root)))
            pairs.append((self.root.parent / folder / category, fetched))
        return open_rows(self.params, pairs, CPU)


@pytest.fixture
def project(tmp_path: Path, params: Params, store: Path) -> Project:
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    samples = {}
    for category, count in (("cloth", 5), ("stone", 3)):
        (root / category).mkdir(parents=True)
        samples[category] = []
        for i in range(count):
            path = f"{category}/{i}.png"
            Image.fromarray(rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)).save(root / path)
            samples[category].append(Sample(sha256_file(root / path), path, "train"))
    dataset = params.dataset.model_copy(update={"name": "folder", "root": str(root)})
    clip = tiny_clip(tmp_path / "clip")
    return Project(root, params.model_copy(update={"dataset": dataset, "clip": clip}), samples)


def test_a_row_holds_the_tokens_of_every_block(project: Project, capsys: pytest.CaptureFixture[str]):
    assert project.build("cloth", "out") == 5
    assert "CLIP tokens: 5 images of 0.00435 MB each, 2.18e-05 GB in all" in capsys.readouterr().err
    (features,) = project.open(("out", "cloth"))
    info = features.info
    assert features.shape == (5, len(BLOCKS) * (1 + SIDE**2), DIM)
    assert (info.grid, info.image_size) == ((SIDE, SIDE), SIZE)
    assert info.weights_sha256 == project.params.clip.sha256
    assert info.embedding["clip"] == project.params.clip.model_dump(mode="json")
    clip = load_clip(NAME, str(project.params.clip.weights), project.params.clip.sha256)
    sample = project.samples["cloth"][2]
    frame = clip_frame(read_rgb(project.root / sample.path), SIZE)
    taps = clip.tokens(clip_pixels(torch.from_numpy(frame)[None]), BLOCKS)
    expected = torch.cat(taps, dim=1)[0]
    found = features.select([sample.id]).batch(np.array([0]), CPU)[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)  # float16


def test_rows_are_shared_through_the_store_and_no_row_depends_on_its_company(project: Project):
    assert project.build("cloth", "out") == 5
    assert project.build("cloth", "again") == 0
    assert project.build("cloth", "alone", batch_size=1) == 0, "memory is no part of the key"
    assert project.build("cloth", "fewer", blocks=(2, 4)) == 5
    (all_blocks, fewer) = project.open(("out", "cloth"), ("fewer", "cloth"))
    ids = all_blocks.info.ids
    wide = all_blocks.select(ids).batch(np.arange(5), CPU).unflatten(1, (4, -1))
    narrow = fewer.select(ids).batch(np.arange(5), CPU).unflatten(1, (2, -1))
    assert torch.equal(wide[:, [1, 3]], narrow)


def test_too_many_tokens_are_streamed_and_are_the_same(project: Project, capsys: pytest.CaptureFixture[str]):
    for category in project.samples:
        project.build(category, "cached")
        assert project.build(category, "streamed", max_gb=1e-6) is None
    assert (
        "0.00435 MB each, 1.31e-05 GB in all, above clip.max_gb = 1e-06: streamed" in capsys.readouterr().err
    )
    assert [path.name for path in (project.root.parent / "streamed" / "cloth").iterdir()] == [INFO]
    names = tuple(project.samples)
    cached = project.open(*(("cached", name) for name in names))
    streamed = project.open(*(("streamed", name) for name in names))
    mixed = project.open(("cached", "cloth"), ("streamed", "stone"))
    assert [features.shape for features in streamed] == [features.shape for features in cached]
    assert [f.info for f in streamed] != [f.info for f in cached], "the limit is told"
    assert [f.info.key for f in streamed] == [f.info.key for f in cached]
    views = [
        join_views([features.select(features.info.ids[::-1]) for features in opened])
        for opened in (cached, streamed, mixed)
    ]
    # One batch across streamed categories is one batch of the tower.
    assert not isinstance(views[1].rows, StackedRows)
    positions = np.array([7, 0, 3, 5, 2])
    first, *others = (view.batch(positions, CPU) for view in views)
    assert all(torch.equal(other, first) for other in others)


def test_a_streamed_image_that_changed_is_an_error(project: Project):
    project.build("cloth", "out", max_gb=0)
    (features,) = project.open(("out", "cloth"))
    path = project.root / project.samples["cloth"][1].path
    Image.fromarray(np.zeros((9, 9, 3), dtype=np.uint8)).save(path)
    view = features.select(features.info.ids)
    assert view.batch(np.array([0]), CPU).shape[0] == 1
    with pytest.raises(DataError, match=r"cloth/1.png: changed since the fetch stage"):
        view.batch(np.array([1]), CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": None}, r"clip.weights: afclip needs CLIP's weights, got null; name a local checkpoint"),
        ({"blocks": None}, f"clip.blocks: null is known for ViT-L-14-336, .* only, got {NAME}; name some"),
        ({"blocks": (2, 5)}, rf"clip.blocks: {NAME} has blocks 1 .. 4, got \[2, 5\]"),
        ({"image_size": 44}, f"clip.image_size: must be a multiple of {NAME}'s patch, 10 x 10, got 44"),
    ],
)
def test_bad_settings_are_named(project: Project, changes: dict[str, object], message: str):
    params = project.params.clip.model_copy(update=changes)
    with pytest.raises(UserError, match=message):
        token_recipe(params, keep_aspect=False, device=CPU)


def test_random_weights_are_always_the_same(project: Project):
    params = ClipParams.model_validate(
        project.params.clip.model_dump() | {"weights": "random", "sha256": None}
    )
    first = open_clip_tower(params, CPU)
    torch.manual_seed(17)
    second = load_clip(NAME, "random")
    assert first.weights_sha256 == second.weights_sha256
    state = second.model.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in first.model.state_dict().items())
    assert state["visual.class_embedding"].std() > 0
    assert first.weights_sha256 != project.params.clip.sha256
