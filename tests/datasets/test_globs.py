"""A folder described by patterns: what matches, how it is split, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mvtec_tree import write_image, write_mask

from adlib.data.manifest import DataError, Record
from adlib.datasets import dataset_records
from adlib.datasets.globs import training_files

YAML = """
bolts:
  normal: ["ok/**/*.png"]
  anomalous:
    crack: ["crack_*.jpg"]
    dent: ["other/dent*.PNG"]
  masks: "masks/{folder}-{stem}_mask.*"
  train: 0.75
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, path in enumerate(["ok/0.png", "ok/deep/1.png", "ok/2.png", "ok/deep/er/3.png"]):
        write_image(tmp_path / path, number)
    for path in ("crack_[1].jpg", "other/dent1.PNG"):
        write_image(tmp_path / path, 9)
    write_mask(tmp_path / f"masks/{tmp_path.name}-none_mask.png")
    write_mask(tmp_path / "masks/-crack_[1]_mask.png")
    write_mask(tmp_path / "masks/other-dent1_mask.bmp")
    (tmp_path / "ok/notes.txt").write_text("no image")
    (tmp_path / "dataset.yaml").write_text(YAML)
    return tmp_path


def records(root: Path, old: str = "", new: str = "") -> list[Record]:
    (root / "dataset.yaml").write_text(YAML.replace(old, new))
    return dataset_records("globs", root, "bolts")


def test_patterns_become_records(root: Path):
    found = records(root)
    assert [r.path for r in found if not r.anomalous] == sorted(
        ["ok/0.png", "ok/2.png", "ok/deep/1.png", "ok/deep/er/3.png"]
    )
    assert sum(r.split == "train" for r in found) == 3
    assert [r for r in found if r.anomalous] == [
        Record("crack_[1].jpg", "test", "crack", "masks/-crack_[1]_mask.png"),
        Record("other/dent1.PNG", "test", "dent", "masks/other-dent1_mask.bmp"),
    ]


def test_training_images_by_pattern(root: Path):
    found = records(root, "train: 0.75", 'train: ["ok/deep/**/*.png"]')
    assert {r.path for r in found if r.split == "train"} == {"ok/deep/1.png", "ok/deep/er/3.png"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["ok/**/*.png"]', '["good/*.png"]', "the pattern 'good/\\*.png' matches no image below"),
        ('["ok/**/*.png"]', '["../x/*.png"]', "bolts.normal.0: .* must be relative to the folder of dataset"),
        ('["ok/**/*.png"]', '["/x/*.png"]', "bolts.normal.0: .* must be relative to the folder of dataset"),
        ('["ok/**/*.png"]', "[]", "bolts.normal: .* at least 1 item"),
        ('["crack_*.jpg"]', '["ok/0.png"]', "ok/0.png is both good and crack; narrow the patterns"),
        ("_mask.*", "_gt.*", "one mask is needed, 0 files match masks/-crack_"),
        ("{folder}-{stem}_mask.*", "*", "one mask is needed, 3 files match masks/\\*"),
        ("0.75", "1.0", "bolts.train.* less than 1"),
        ("0.75", '["crack_*.jpg"]', "train matches crack_\\[1\\].jpg, which is not normal"),
        ("normal:", "normals:", "bolts.normal: Field required"),
        ("bolts:", "bolts: [", "not valid YAML"),
    ],
)
def test_what_is_refused(root: Path, old: str, new: str, message: str):
    assert old in YAML
    with pytest.raises(DataError, match=message):
        records(root, old, new)


def test_without_a_description(tmp_path: Path):
    with pytest.raises(DataError, match=r"dataset.yaml: missing; `adlib data init .*` writes one"):
        dataset_records("globs", tmp_path, "bolts")


NAMES = st.lists(st.from_regex(r"[a-z]{1,8}\.png", fullmatch=True), min_size=2, max_size=40, unique=True)


@given(names=NAMES, share=st.floats(0.01, 0.99), category=st.sampled_from(["a", "b"]))
def test_a_fraction_leaves_images_on_both_sides(names: list[str], share: float, category: str):
    train = training_files(Path(), sorted(names), share, category)
    assert train < set(names)
    assert len(train) == min(max(1, round(share * len(names))), len(names) - 1)
    assert train == training_files(Path(), sorted(names), share, category)


def test_one_normal_image_cannot_be_split():
    assert training_files(Path(), ["a.png"], 0.5, "a") == set()
