"""A flat folder becomes a dataset: names tell good from bad, and the patterns match exactly those files."""

import glob
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mvtec_tree import write_image

from adlib.data.manifest import DataError
from adlib.datasets import dataset_records
from adlib.supply.init import classify, initialise, patterns


def folder(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        write_image(root / name, number)
    return root


def kinds(root: Path) -> dict[str, str]:
    return {record.path: record.defect for record in dataset_records("globs", root, "bolts")}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (["good_1.png", "good_2.png", "good_10.PNG"], ["bad_1.png", "bad_2.png"]),
        (["1_ok.jpg", "2_ok.jpg"], ["1_nok.jpg", "3_NOK.jpg"]),
        (["a1.png", "a2.png"], ["defect-a3.png"]),
        (["OK/1.png", "OK/2.png"], ["NG/scratch/1.png", "NG/2.png"]),
        (["[1] good.png", "[2] good.png"], ["[3] bad.png"]),
        (["1.png", "2.png", "10.png"], []),
    ],
)
def test_names_become_a_dataset(tmp_path: Path, good: list[str], bad: list[str]):
    folder(tmp_path, *good, *bad)
    assert initialise(tmp_path, "bolts") == (len(good), len(bad))
    assert kinds(tmp_path) == dict.fromkeys(good, "good") | dict.fromkeys(bad, "bad")
    records = dataset_records("globs", tmp_path, "bolts")
    splits = {record.split for record in records if not record.anomalous}
    assert splits == {"train", "test"}


def test_a_folder_with_simple_names_gets_simple_patterns(tmp_path: Path):
    folder(tmp_path, "good_1.png", "good_2.png", "bad_1.png", "bad_2.png", ".h/bad_9.png", "good_3.txt.png")
    initialise(tmp_path, "bolts", train=0.5)
    text = (tmp_path / "dataset.yaml").read_text()
    assert "- good_*.png" in text
    assert "- bad_*.png" in text
    assert "train: 0.5" in text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["good_1.png", "good_2.png", "3.png"],
            "1 names tell neither good nor bad, or both: 3.png; name files",
        ),
        (
            ["not_ok_1.png", "ok_1.png", "ok_2.png"],
            "tell neither good nor bad, or both: not_ok_1.png",
        ),
        (["good_1.png", "bad_1.png"], "1 normal images; at least 2 are needed"),
        ([], "no image \\(allowed: .bmp"),
    ],
)
def test_what_is_refused(tmp_path: Path, names: list[str], message: str):
    with pytest.raises(DataError, match=message):
        initialise(folder(tmp_path, *names), "bolts")
    assert not (tmp_path / "dataset.yaml").exists()


def test_a_description_is_not_overwritten(tmp_path: Path):
    folder(tmp_path, "good_1.png", "good_2.png")
    initialise(tmp_path, "bolts")
    with pytest.raises(DataError, match="exists already; edit it, or pass --force"):
        initialise(tmp_path, "bolts")
    initialise(tmp_path, "bolts", force=True)


def test_no_folder(tmp_path: Path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        initialise(tmp_path / "nowhere", "bolts")


NAME = st.from_regex(r"[ab\[*?]{1,4}[0-9]{0,2}\.(png|jpg)", fullmatch=True)


@given(st.lists(NAME, min_size=1, max_size=12, unique=True), st.data())
def test_patterns_match_exactly_what_was_chosen(names: list[str], data: st.DataObject):
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    found = patterns(chosen, names)
    assert {name for name in names if any(fnmatchcase(name, pattern) for pattern in found)} == set(chosen)


def test_words_are_whole():
    assert classify(["book.png", "nokia.png"]) == {"book.png": "good", "nokia.png": "good"}
    assert classify(["bad-book.png", "token.png"]) == {"bad-book.png": "bad", "token.png": "good"}
    assert glob.escape("[1]") == "[[]1]"
