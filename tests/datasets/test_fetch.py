"""Fetch: identity by content, caps, splits, duplicates, and every bad file in one error."""

import csv
import hashlib
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mvtec_tree import write_image, write_mask, write_tree
from PIL import Image
from ruamel.yaml import YAML
from toys import ROOT

import stages.fetch
from adlib.config.images import DatasetParams
from adlib.config.params import load_params
from adlib.data.manifest import DataError, Record, read_labels, read_manifest
from adlib.data.source import Source
from adlib.datasets import DATASETS, Layout
from adlib.datasets.fetch import Fetched, cap, drop_duplicates, fetch, split

DATASET = load_params(ROOT / "params.yaml").dataset


def dataset_at(
    root: Path, train: int = 100, normal: int = 100, anomalous: int = 100, seed: int = 0, calibration: int = 0
) -> DatasetParams:
    """Parameters of the dataset `folder` at `root` with these caps."""
    changes = {"name": "folder", "root": str(root), "categories": ("bottle",), "split_seed": seed}
    caps = {"max_train": train, "max_test_normal": normal, "max_test_anomalous": anomalous}
    caps["max_calibration"] = calibration
    return DATASET.model_copy(update=changes | caps)


def counts(fetched: Fetched) -> Counter[tuple[str, str]]:
    labels = {label.id: label for label in fetched.labels}
    return Counter((sample.split, labels[sample.id].defect) for sample in fetched.samples)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_everything_below_the_caps(tmp_path: Path):
    write_tree(tmp_path)
    fetched = fetch(dataset_at(tmp_path), "bottle")
    assert counts(fetched) == {
        ("train", "good"): 4,
        ("test", "good"): 3,
        ("test", "crack"): 3,
        ("test", "hole"): 2,
    }
    assert fetched.duplicates == 0
    assert {label.id for label in fetched.labels} == {sample.id for sample in fetched.samples}
    for sample in fetched.samples:
        assert sample.id == sha256(tmp_path / sample.path)
    for label in fetched.labels:
        assert bool(label.mask) == label.anomalous
        assert label.mask_sha256 == (sha256(tmp_path / label.mask) if label.mask else "")


def test_a_renamed_image_is_the_same(tmp_path: Path):
    base = write_tree(tmp_path)
    before = fetch(dataset_at(tmp_path), "bottle")
    (base / "train/good/000.png").rename(base / "train/good/zzz.png")
    after = fetch(dataset_at(tmp_path), "bottle")
    assert {sample.id for sample in after.samples} == {sample.id for sample in before.samples}


def test_an_edited_mask_is_another_label(tmp_path: Path):
    base = write_tree(tmp_path)
    before = {label.id: label for label in fetch(dataset_at(tmp_path), "bottle").labels}
    edited = write_mask(base / "ground_truth/crack/001_mask.png", 9)
    after = {label.id: label for label in fetch(dataset_at(tmp_path), "bottle").labels}
    changed = [id for id in before if before[id] != after[id]]
    assert changed == [sha256(base / "test/crack/001.png")]
    assert after[changed[0]].mask_sha256 == sha256(edited)


def test_caps(tmp_path: Path):
    write_tree(tmp_path, train=9, good=8, defects={"crack": 6, "hole": 5})
    fetched = fetch(dataset_at(tmp_path, train=5, normal=4, anomalous=3), "bottle")
    found = counts(fetched)
    assert (found["train", "good"], found["test", "good"]) == (5, 4)
    assert found["test", "crack"] + found["test", "hole"] == 3


def test_smaller_caps_keep_a_part_of_the_larger(tmp_path: Path):
    write_tree(tmp_path, train=9, good=8, defects={"crack": 6, "hole": 5})
    larger, smaller = (
        {sample.id for sample in fetch(dataset_at(tmp_path, n, n, n), "bottle").samples} for n in (5, 3)
    )
    assert smaller < larger


@pytest.mark.parametrize("unsplit", [True, False])
def test_an_edited_image_exchanges_at_most_one_other_of_each_part(unsplit: bool):
    """Its bytes are its id: the image leaves under one id and comes back under another."""
    params, records = (
        dataset_at(Path(), 20, 12, 9),
        identified(unsplit=unsplit, train=30, normal=30, anomalous=20),
    )

    def parts(records: list[tuple[str, Record]]) -> dict[tuple[object, bool], set[str]]:
        found: dict[tuple[object, bool], set[str]] = {}
        for id, record in cap(split(records, params, "bottle"), params, "bottle"):
            found.setdefault((record.split, record.anomalous), set()).add(id)
        return found

    before = parts(records)
    for i in range(0, len(records), 7):
        edited = [*records[:i], ("f" * 64, records[i][1]), *records[i + 1 :]]
        for part, ids in parts(edited).items():
            assert len(ids - before[part] - {"f" * 64}) <= 1
            assert len(before[part] - ids - {records[i][0]}) <= 1


def test_another_seed_draws_others(tmp_path: Path):
    write_tree(tmp_path, train=40)
    zero, again, one = (
        {sample.id for sample in fetch(dataset_at(tmp_path, train=5, seed=seed), "bottle").samples}
        for seed in (0, 0, 1)
    )
    assert zero == again
    assert zero != one


def identified(*, unsplit: bool, train: int, normal: int, anomalous: int) -> list[tuple[str, Record]]:
    """Records with hashes as ids: published splits, or none."""
    groups = [("train", "good", train), ("test", "good", normal), ("test", "crack", anomalous)]
    records = [
        Record(f"{part}/{defect}/{i}.png", None if unsplit else part, defect)  # pyright: ignore[reportArgumentType]
        for part, defect, count in groups
        for i in range(count)
    ]
    return [(hashlib.sha256(record.path.encode()).hexdigest(), record) for record in records]


@given(st.booleans(), *[st.integers(1, 12)] * 6, st.randoms(use_true_random=False))
def test_draws_do_not_depend_on_the_order_of_files(
    unsplit: bool, train: int, normal: int, anomalous: int, a: int, b: int, c: int, shuffle: random.Random
):
    params = dataset_at(Path(), a, b, c)
    records = identified(unsplit=unsplit, train=train, normal=normal, anomalous=anomalous)
    chosen = cap(split(records, params, "bottle"), params, "bottle")
    shuffle.shuffle(records)
    assert set(cap(split(records, params, "bottle"), params, "bottle")) == set(chosen)
    found = Counter((record.split, record.anomalous) for _, record in chosen)
    trained = min(a, train + normal) if unsplit else min(a, train)
    tested = min(b, train + normal - trained) if unsplit else min(b, normal)
    expected = {("train", False): trained, ("test", False): tested, ("test", True): min(c, anomalous)}
    assert found == {key: count for key, count in expected.items() if count}


def test_a_published_split_is_kept():
    params = dataset_at(Path(), train=2)
    records = identified(unsplit=False, train=5, normal=5, anomalous=5)
    assert split(records, params, "bottle") == records


@pytest.fixture
def unsplit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset `elpv` of 20 normal and 6 anomalous images without a published split."""
    for i in range(26):
        write_image(tmp_path / f"{i}.png", i)
    records = [Record(f"{i}.png", None, "good" if i < 20 else "crack") for i in range(26)]
    layout = Layout(
        lambda root, version: Source(str(tmp_path)),
        lambda root: ["cells", "mono"],
        lambda root, kind: records,
    )
    monkeypatch.setitem(DATASETS, "elpv", layout)
    return tmp_path


def test_a_set_without_a_split_gets_one(unsplit: Path):
    def train_ids(seed: int, category: str = "cells") -> set[str]:
        params = dataset_at(unsplit, train=12, seed=seed).model_copy(update={"name": "elpv"})
        fetched = fetch(params, category)
        assert counts(fetched) == {("train", "good"): 12, ("test", "good"): 8, ("test", "crack"): 6}
        return {sample.id for sample in fetched.samples if sample.split == "train"}

    assert train_ids(0) == train_ids(0)
    assert train_ids(0) != train_ids(1)
    assert train_ids(0) != train_ids(0, "mono")


@given(st.booleans(), *[st.integers(1, 60)] * 3, st.integers(0, 40))
def test_calibration_images(unsplit: bool, train: int, normal: int, limit: int, wanted: int):
    """No published split: at most half of what training leaves. Published: test images stay test images."""
    params = dataset_at(Path(), train=limit, normal=999, calibration=wanted)
    records = identified(unsplit=unsplit, train=train, normal=normal, anomalous=5)
    chosen = cap(split(records, params, "bottle"), params, "bottle")
    found = Counter((record.split, record.anomalous) for _, record in chosen)
    total = train + normal
    if unsplit:
        expected = min(wanted, max(total - limit, 0) // 2)
        assert found["train", False] == min(limit, total)
        assert found["test", False] == max(total - limit, 0) - expected
    else:
        expected = min(wanted, max(train - limit, train // 5))
        assert found["train", False] == min(limit, train - expected) >= 1
        published = {id for id, record in records if record.split == "test"}
        assert {id for id, record in chosen if record.split == "test"} == published
    assert found["calibration", False] == expected
    assert found["calibration", True] == 0


def test_calibration_moves_no_training_image_of_a_set_without_a_split():
    records = identified(unsplit=True, train=20, normal=20, anomalous=5)
    without, some = (
        {id for id, record in split(records, params, "bottle") if record.split == "train"}
        for params in (dataset_at(Path(), train=12, calibration=n) for n in (0, 9))
    )
    assert without == some


def test_another_seed_calibrates_on_others():
    records = identified(unsplit=False, train=60, normal=5, anomalous=5)
    zero, one = (
        {id for id, record in split(records, params, "bottle") if record.split == "calibration"}
        for params in (dataset_at(Path(), train=40, calibration=15, seed=seed) for seed in (0, 1))
    )
    assert len(zero) == len(one) == 15
    assert zero != one


def test_a_cap_that_leaves_nothing_to_test(unsplit: Path):
    params = dataset_at(unsplit, train=20).model_copy(update={"name": "elpv"})
    with pytest.raises(DataError, match=r"cells: no test normal image; .*dataset.max_train of the normal"):
        fetch(params, "cells")


def test_duplicates_are_left_out_and_counted(tmp_path: Path):
    base = write_tree(tmp_path)
    before = fetch(dataset_at(tmp_path), "bottle")
    for name in ("copy.png", "another copy.png"):
        shutil.copy(base / "train/good/001.png", base / "train/good" / name)
    shutil.copy(base / "test/hole/000.png", base / "test/hole/copy.png")
    write_mask(base / "ground_truth/hole/copy.png")
    after = fetch(dataset_at(tmp_path), "bottle")
    assert after.duplicates == 3
    assert {sample.id for sample in after.samples} == {sample.id for sample in before.samples}


def test_duplicates_across_splits_and_labels_are_refused(tmp_path: Path):
    base = write_tree(tmp_path)
    shutil.copy(base / "train/good/001.png", base / "test/good/leak.png")
    shutil.copy(base / "test/crack/000.png", base / "test/hole/both.png")
    write_mask(base / "ground_truth/hole/both_mask.png")
    with pytest.raises(DataError) as caught:
        fetch(dataset_at(tmp_path), "bottle")
    first, *pairs = str(caught.value).splitlines()
    assert first.startswith(
        "identical image files in two splits or under two labels; remove one of each pair"
    )
    assert pairs == [
        "  bottle/train/good/001.png = bottle/test/good/leak.png",
        "  bottle/test/crack/000.png = bottle/test/hole/both.png",
    ]


@given(st.lists(st.sampled_from("abcdef"), max_size=20))
def test_the_first_of_identical_files_stays(ids: list[str]):
    records = [(id, Record(f"{position}.png", "train")) for position, id in enumerate(ids)]
    kept, duplicates = drop_duplicates(records)
    assert [id for id, _ in kept] == list(dict.fromkeys(ids))
    assert all(record.path == f"{ids.index(id)}.png" for id, record in kept)
    assert len(kept) + duplicates == len(ids)


def test_all_bad_files_in_one_error(tmp_path: Path):
    base = write_tree(tmp_path, train=6)
    image = base / "train/good"
    (image / "000.png").write_bytes((image / "000.png").read_bytes()[:100])
    (image / "001.png").write_bytes(b"")
    (image / "002.png").write_bytes(b"this is no image")
    (base / "test/good/000.png").write_bytes(b"")
    write_mask(base / "ground_truth/crack/000_mask.png", side=13)
    write_mask(base / "ground_truth/crack/001_mask.png", defective=0)
    (base / "ground_truth/hole/000_mask.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        fetch(dataset_at(tmp_path), "bottle")
    first, *lines = str(caught.value).splitlines()
    assert first == "7 bad files (repair or remove them):"
    expected = {
        "train/good/000.png": "truncated",
        "train/good/001.png": "empty",
        "train/good/002.png": "not an image",
        "test/good/000.png": "empty",
        "ground_truth/crack/000_mask.png": "13 x 13",
        "ground_truth/crack/001_mask.png": "no defect pixel",
        "ground_truth/hole/000_mask.png": "empty",
    }
    assert len(lines) == len(expected)
    for path, words in expected.items():
        (line,) = (line for line in lines if path in line)
        assert words in line


def test_a_long_list_of_bad_files_is_cut(tmp_path: Path):
    base = write_tree(tmp_path, train=25)
    for number, path in enumerate(sorted((base / "train/good").iterdir())):
        path.write_bytes(bytes([number]))
    with pytest.raises(DataError, match=r"^25 bad files") as caught:
        fetch(dataset_at(tmp_path), "bottle")
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  … and 5 more"


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["test/good"], "no test normal image"),
        (["test/crack", "test/hole", "ground_truth"], "no test anomalous image"),
        (
            ["test/good", "test/crack", "test/hole", "ground_truth"],
            "no test normal and no test anomalous image",
        ),
    ],
)
def test_an_empty_part(tmp_path: Path, folders: list[str], message: str):
    base = write_tree(tmp_path)
    for folder in folders:
        shutil.rmtree(base / folder)
    with pytest.raises(
        DataError, match=f"bottle: {message}; every one of train normal, test normal, test anom"
    ):
        fetch(dataset_at(tmp_path), "bottle")


def test_manifest_and_labels_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the stage writes: the manifest tells no label and no mask, rows are sorted by id."""
    write_tree(tmp_path / "images")
    params = dataset_at(tmp_path / "images")
    raw = YAML(typ="safe").load(ROOT / "params.yaml")
    raw["dataset"] = params.model_dump(mode="json")
    YAML(typ="safe").dump(raw, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    stages.fetch.main("bottle")
    folder = tmp_path / "outputs/fetch/bottle"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("hashes.csv", "labels.csv", "manifest.csv", "source.json")
    ]
    with (folder / "manifest.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "path", "split"]
    assert rows == sorted(rows)
    fetched = fetch(params, "bottle")
    text = (folder / "manifest.csv").read_text()
    assert not any(label.mask in text or label.mask_sha256 in text for label in fetched.labels if label.mask)
    manifest, labels = read_manifest(folder / "manifest.csv"), read_labels(folder / "labels.csv")
    assert manifest == sorted(fetched.samples, key=lambda sample: sample.id)
    assert labels == {label.id: label for label in fetched.labels}
    assert list(labels) == [sample.id for sample in manifest]


def test_a_copy_in_another_format_is_another_image(tmp_path: Path):
    """Identity is the file's bytes, not its pixels."""
    base = write_tree(tmp_path)
    with Image.open(base / "train/good/000.png") as image:
        image.save(base / "train/good/copy.bmp")
    assert fetch(dataset_at(tmp_path), "bottle").duplicates == 0
