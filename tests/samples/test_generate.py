"""The sample set: the same pixels as committed, exact masks, and no foreign folder overwritten."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adlib.data.images import read_mask, read_rgb
from adlib.samples.defects import DEFECT_RAMPS, DEFECTS
from adlib.samples.generate import GOOD, Item, draw, generate, items, main
from adlib.samples.textures import TEXTURES, Draws, noise, noise_at

COMMITTED = Path(__file__).parents[2] / "samples"
DEFECTIVE = [item for item in items() if item.kind != GOOD]


def pictures(root: Path) -> dict[str, str]:
    """SHA-256 of the pixels, with size and mode, of every picture below a folder."""
    found = {}
    for path in sorted(root.rglob("*.png")):
        with Image.open(path) as picture:
            content = f"{picture.mode} {picture.size}".encode() + picture.convert("RGB").tobytes()
        found[path.relative_to(root).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def render(item: Item, seed: int = 0, with_defect: bool = True) -> np.ndarray:
    """The picture as (256, 256, 3) RGB; its defect-free twin if `with_defect` is False."""
    flawed, clean, palette = draw(item, seed)
    return palette[flawed if with_defect else clean]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("samples") / "set"
    main([str(root)])
    return root


def test_the_committed_set_is_drawn_again_pixel_for_pixel(drawn):
    assert pictures(drawn) == pictures(COMMITTED)
    assert [path.name for path in drawn.parent.iterdir()] == ["set"]  # no temporary name stays behind


def test_the_layout_is_that_of_mvtec_ad(drawn):
    expected = set()
    for texture in ("brushed", "terrazzo", "weave"):
        expected |= {f"{texture}/train/good/{n:03}.png" for n in range(30)}
        expected |= {f"{texture}/test/good/{n:03}.png" for n in range(10)}
        for defect in ("cut", "fibre", "hole", "scratch", "stain"):
            expected |= {f"{texture}/test/{defect}/{n:03}.png" for n in range(5)}
            expected |= {f"{texture}/ground_truth/{defect}/{n:03}_mask.png" for n in range(5)}
    assert set(pictures(drawn)) == expected
    assert "# Sample textures" in (drawn / "README.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in drawn.rglob("*.png")) < 6e6


def test_all_pictures_differ(drawn):
    found = pictures(drawn)
    assert len({found[item.image_path] for item in items()}) == len(items())


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("texture", TEXTURES)
def test_masks_are_the_difference_from_the_twin_without_defect(drawn, texture, defect):
    chosen = [item for item in DEFECTIVE if (item.texture, item.kind) == (texture, defect)]
    assert len(chosen) == 5
    for item in chosen:
        picture = read_rgb(drawn / item.image_path).astype(int)
        difference = np.abs(picture - render(item, with_defect=False)).max(axis=2)
        assert item.mask_path is not None
        mask = read_mask(drawn / item.mask_path, (256, 256))
        np.testing.assert_array_equal(mask, difference > 0)
        assert set(np.unique(read_rgb(drawn / item.mask_path))) == {0, 255}
        assert 100 <= mask.sum() <= 256 * 256 // 4
        assert difference[mask].mean() > 6  # visible
        if defect in ("hole", "stain"):
            # What rounding would have left unchanged is changed too, so that a blot is not a sieve.
            surrounded = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
            assert mask[1:-1, 1:-1][surrounded].mean() > 0.99


def test_pictures_are_rendered_in_any_order(drawn):
    for item in reversed(items()[::40]):
        np.testing.assert_array_equal(read_rgb(drawn / item.image_path), render(item))


def test_normal_pictures_have_no_twin_and_seeds_matter():
    good = items()[0]
    np.testing.assert_array_equal(render(good), render(good, with_defect=False))
    assert (render(good, seed=1) != render(good)).any()
    assert (render(DEFECTIVE[0], seed=1) != render(DEFECTIVE[0])).any()


def test_palettes_have_room_for_every_texture_and_its_stained_twin():
    for texture in TEXTURES.values():
        ramps = texture.ramps + DEFECT_RAMPS
        assert 2 * sum(ramp.levels for ramp in ramps) <= 256
        assert all(ramp.levels % 2 == 0 for ramp in ramps)


def test_noise_is_bounded_and_continuous():
    field = noise(Draws(3), 16.0, 8.0)
    assert np.abs(field).max() <= 1
    assert 0.2 < field.std() < 0.7
    # A smoothstep rises by at most 1.5 per cell, over a range of at most 2.
    assert np.abs(np.diff(field, axis=0)).max() <= 3 / 16
    assert np.abs(np.diff(field, axis=1)).max() <= 3 / 8
    rows, columns = np.meshgrid(np.arange(50.0) / 10, np.arange(70.0) / 5, indexing="ij")
    anywhere = noise_at(Draws(4), rows + 0.1 * columns, columns)
    assert np.abs(anywhere).max() <= 1
    assert np.abs(np.diff(anywhere, axis=0)).max() <= 3 / 10


def test_draws_are_the_raw_stream_of_pcg64():
    raw = np.random.PCG64(5).random_raw(3)
    assert Draws(5).array(3).tolist() == [int(value) // 2**11 / 2**53 for value in raw]
    assert {Draws(seed).below(3) for seed in range(40)} == {0, 1, 2}
    assert {Draws(seed).sign() for seed in range(40)} == {-1.0, 1.0}


def test_a_folder_with_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match=r"holds 1 files .*mine\.txt.*name a new folder"):
        generate(tmp_path)
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "mine.txt" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "keep"
    with pytest.raises(FileExistsError, match="is a file; name a new folder"):
        generate(tmp_path / "mine.txt")
