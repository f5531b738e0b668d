"""MVTec-AD's layout: what becomes a record, which mask belongs to it, and what is refused."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from mvtec_tree import write_image, write_mask, write_tree

from adlib.data.manifest import DataError, Record
from adlib.datasets import dataset_records, dataset_source
from adlib.datasets.files import SUFFIXES


def records(root: Path, category: str = "bottle") -> list[Record]:
    return dataset_records("folder", dataset_source("folder", str(root), "").folder, category)


def test_counts_labels_and_masks(tmp_path: Path):
    write_tree(tmp_path)
    write_tree(tmp_path, "cable", train=1, good=1, defects={"bent": 1})
    (tmp_path / "licence.txt").write_text("a file beside the categories")
    found = records(tmp_path)
    counts = Counter((record.split, record.defect) for record in found)
    assert counts == {("train", "good"): 4, ("test", "good"): 3, ("test", "crack"): 3, ("test", "hole"): 2}
    for record in found:
        folder = "train" if record.split == "train" else "test"
        assert record.path.startswith(f"bottle/{folder}/{record.defect}/")
        assert (tmp_path / record.path).is_file()
        assert record.anomalous == (record.defect != "good")
        stem = Path(record.path).stem
        expected = f"bottle/ground_truth/{record.defect}/{stem}_mask.png" if record.anomalous else ""
        assert record.mask == expected
    assert len(records(tmp_path, "cable")) == 3


def test_samples_are_such_a_tree(tmp_path: Path):
    write_tree(tmp_path)
    root = dataset_source("samples", str(tmp_path), "").folder
    assert dataset_records("samples", root, "bottle") == records(tmp_path)


def test_order_is_by_name(tmp_path: Path):
    write_tree(tmp_path)
    paths = [record.path for record in records(tmp_path)]
    assert paths == sorted(paths, key=lambda path: (path.split("/")[1] != "train", path))


def test_without_ground_truth(tmp_path: Path):
    write_tree(tmp_path, masks=False)
    assert {record.mask for record in records(tmp_path)} == {""}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.png", "a_mask.png"),
        ("a.png", "a.png"),
        ("a.JPG", "a_mask.PNG"),
        ("a.jpeg", "a.bmp"),
        ("a b (1).png", "a b (1)_mask.png"),
        ("a.b.tif", "a.b_mask.tiff"),
        ("ä.png", "ä_mask.png"),
    ],
)
def test_masks_are_paired_by_stem(tmp_path: Path, image: str, mask: str):
    write_tree(tmp_path)
    write_image(tmp_path / "bottle/test/big hole" / image, 1)
    write_mask(tmp_path / "bottle/ground_truth/big hole" / mask)
    (found,) = (record for record in records(tmp_path) if record.defect == "big hole")
    assert found.path == f"bottle/test/big hole/{image}"
    assert found.mask == f"bottle/ground_truth/big hole/{mask}"


def test_one_stem_in_two_folders_is_two_images(tmp_path: Path):
    write_tree(tmp_path)
    masks = {r.defect: r.mask for r in records(tmp_path) if Path(r.path).name == "000.png" and r.anomalous}
    assert masks == {d: f"bottle/ground_truth/{d}/000_mask.png" for d in ("crack", "hole")}


def test_masks_of_normal_images_are_ignored(tmp_path: Path):
    base = write_tree(tmp_path)
    write_mask(base / "ground_truth/good/000_mask.png", 0)
    write_mask(base / "ground_truth/good/999_mask.png", 0)
    assert all(record.mask == "" for record in records(tmp_path) if not record.anomalous)


def test_other_files_and_hidden_ones_are_not_images(tmp_path: Path):
    base = write_tree(tmp_path)
    before = records(tmp_path)
    (base / "train/good/notes.txt").write_text("x")
    (base / "train/good/._000.png").write_bytes(b"x")
    (base / "ground_truth/crack/.DS_Store").write_bytes(b"x")
    write_image(base / "train/.ipynb_checkpoints/000.png", 1)
    write_image(base / "test/.ipynb_checkpoints/000-checkpoint.png", 2)
    assert records(tmp_path) == before


def test_root_must_be_a_folder(tmp_path: Path):
    with pytest.raises(DataError, match=r"dataset.root: no folder '.*nowhere'; name the folder that holds"):
        _ = dataset_source("folder", str(tmp_path / "nowhere"), "").folder


@pytest.mark.parametrize(("asked", "known"), [("botle", "bottle, cable"), ("", "bottle, cable")])
def test_an_unknown_category_lists_the_known(tmp_path: Path, asked: str, known: str):
    write_tree(tmp_path, "cable")
    write_tree(tmp_path)
    (tmp_path / "no category").mkdir()
    with pytest.raises(DataError, match=rf"folder has no category '{asked}'; it has {known}$"):
        records(tmp_path, asked)


def test_a_root_without_categories(tmp_path: Path):
    with pytest.raises(DataError, match="has no category 'bottle'; it has none"):
        records(tmp_path)


def test_a_train_folder_with_strangers(tmp_path: Path):
    base = write_tree(tmp_path)
    write_image(base / "train/crack/000.png", 1)
    write_image(base / "train/unsure/000.png", 2)
    with pytest.raises(DataError, match="train: only 'good' belongs here, found crack, unsure"):
        records(tmp_path)


def test_no_test_folder(tmp_path: Path):
    shutil.rmtree(write_tree(tmp_path) / "test")
    with pytest.raises(DataError, match="no folder 'test'; it must hold 'good' and a folder for each kind"):
        records(tmp_path)


@pytest.mark.parametrize("folder", ["test/dent", "train/good"])
def test_an_empty_folder(tmp_path: Path, folder: str):
    base = write_tree(tmp_path)
    shutil.rmtree(base / folder, ignore_errors=True)
    (base / folder).mkdir()
    (base / folder / "readme.txt").write_text("x")
    with pytest.raises(DataError, match=rf"{folder}: no image \(allowed: {', '.join(sorted(SUFFIXES))}\)"):
        records(tmp_path)


def test_an_image_without_a_mask(tmp_path: Path):
    base = write_tree(tmp_path)
    (base / "ground_truth/crack/001_mask.png").unlink()
    with pytest.raises(
        DataError, match=r"test/crack/001.png: anomalous image without a mask; add .*001_mask.png"
    ):
        records(tmp_path)


def test_masks_without_an_image(tmp_path: Path):
    base = write_tree(tmp_path)
    write_mask(base / "ground_truth/crack/777_mask.png")
    write_mask(base / "ground_truth/dent/000.png")
    with pytest.raises(
        DataError,
        match=r"2 masks without an image: ground_truth/crack/777_mask.png, ground_truth/dent/000.png",
    ):
        records(tmp_path)


def test_two_masks_for_one_image(tmp_path: Path):
    base = write_tree(tmp_path)
    write_mask(base / "ground_truth/crack/001.png")
    with pytest.raises(
        DataError, match=r"001_mask.png: a second mask for one image beside 001.png; keep one"
    ):
        records(tmp_path)
