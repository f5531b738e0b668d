"""Verification: what is a problem, what is a note, and that near duplicates are found whatever the blocks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mvtec_tree import write_image, write_mask, write_tree
from PIL import Image

from adlib.data.manifest import Record
from adlib.datasets import dataset_records
from adlib.datasets.catalogue import Benchmark, Counts, catalogue
from adlib.supply.verify import count, findings, inspect, published


def report(root: Path, *, test_only: bool = False) -> tuple[list[str], list[str]]:
    """Problems and notes about the category `bottle`."""
    records = dataset_records("folder", root, "bottle")
    images, unreadable = inspect(root, records)
    found = list(findings(records, images, unreadable, test_only=test_only))
    return [f.what for f in found if f.problem], [f.what for f in found if not f.problem]


def test_a_sound_set(tmp_path: Path):
    write_tree(tmp_path, defects={"crack": 6})
    problems, notes = report(tmp_path)
    assert problems == []
    assert notes == [
        "images: test crack 6, test good 3, train good 4",
        "sizes (height x width): 12 x 12 (13)",
        "masks: 6, defects cover 3.47 % to 6.94 % of an image, median 5.21 %",
    ]


def test_bad_files_are_listed(tmp_path: Path):
    base = write_tree(tmp_path)
    (base / "train/good/000.png").write_bytes(b"no image")
    write_mask(base / "ground_truth/crack/001_mask.png", side=9)
    write_mask(base / "ground_truth/hole/000_mask.png", 0)
    problems, _ = report(tmp_path)
    assert len(problems) == 3
    assert "train/good/000.png: not an image of a known kind" in problems[0]
    assert "crack/001_mask.png: the mask is 9 x 9 pixels" in problems[1]
    assert (
        problems[2]
        == "bottle/ground_truth/hole/000_mask.png: the mask of an anomalous image has no defect pixel"
    )


@pytest.mark.parametrize(("copy", "problem"), [("train/good/9.png", False), ("test/good/9.png", True)])
def test_identical_files(tmp_path: Path, copy: str, problem: bool):
    base = write_tree(tmp_path)
    shutil.copy(base / "train/good/000.png", base / copy)
    problems, notes = report(tmp_path)
    if problem:
        assert problems == [
            "identical files: bottle/train/good/000.png (train, good) = bottle/test/good/9.png (test, good)"
        ]
    else:
        assert problems == []
        assert "1 identical copies within a split and label (fetch keeps the first)" in notes


def test_near_duplicates_across_splits(tmp_path: Path):
    base = write_tree(tmp_path)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    picture.save(base / "train/good/a.png")
    picture.save(base / "test/good/b.jpg", quality=92)
    problems, notes = report(tmp_path)
    assert problems == []
    assert any(note.startswith("1 pairs across splits or labels look alike") for note in notes)
    assert any("good/b.jpg (test, good) ~ bottle/train/good/a.png (train, good)" in note for note in notes)


def test_a_rare_kind(tmp_path: Path):
    write_tree(tmp_path, defects={"crack": 2})
    assert "only 2 of the kind 'crack': its own numbers will be noise" in report(tmp_path)[1]


@pytest.mark.parametrize(
    ("records", "test_only", "problems"),
    [
        ([("train", "good"), ("test", "good")], False, ["no anomalous image: nothing can be evaluated"]),
        ([("test", "good"), ("test", "bad")], False, ["no training image"]),
        ([("train", "good"), ("test", "bad")], False, ["no normal test image"]),
        ([("test", "bad")], True, []),
        ([(None, "good"), (None, "bad")], False, ["fewer than two normal images: some train and some test"]),
        ([(None, "good"), (None, "good"), (None, "bad")], False, []),
    ],
)
def test_balance(tmp_path: Path, records: list[tuple], test_only: bool, problems: list[str]):
    rows = [Record(f"{n}.png", split, defect) for n, (split, defect) in enumerate(records)]
    for n, row in enumerate(rows):
        write_image(tmp_path / row.path, n)
    images, _ = inspect(tmp_path, rows)
    assert [f.what for f in findings(rows, images, [], test_only=test_only) if f.problem] == problems


def benchmark(counts: Counts, sure: bool = True) -> Benchmark:
    changes = {"categories": 1, "counts": counts, "counts_sure": sure}
    return catalogue()["mvtec"].model_copy(update=changes)


def test_other_numbers_than_published():
    records = [Record("a", "train"), Record("b", "test"), Record("c", "test", "bad")]
    assert count(records) == (1, 1, 1)
    assert list(published(records, 1, benchmark(Counts(1, 1, 1)))) == []
    (wrong,) = published(records, 1, benchmark(Counts(2, 1, 1)))
    assert wrong.problem
    assert wrong.what.startswith("published are 2 training, 1 normal and 1 anomalous test images, found 1")
    assert [f.problem for f in published(records, 1, benchmark(Counts(2, 1, 1), sure=False))] == [False]
    (partly,) = published(records, 2, benchmark(Counts(2, 1, 1)))
    assert partly.what == "2 of 1 categories are here"
