"""Datasets that come as packages: known counts, and what is said when a package is missing or another."""

import importlib.util
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from adlib.data import source
from adlib.data.manifest import DataError, Record
from adlib.datasets import DATASETS, dataset_records, dataset_source, elpv

PACKAGES = {"elpv": "elpv-dataset", "textile": "conformal-clip-data"}


def packaged(name: str, category: str) -> tuple[Path, list[Record]]:
    root = dataset_source(name, "ignored", version(PACKAGES[name])).folder
    return root, dataset_records(name, root, category)


@pytest.mark.parametrize(
    ("name", "category", "counts"),
    [
        ("elpv", "mono", {"good": 588, "defective": 313}),
        ("elpv", "poly", {"good": 920, "defective": 402}),
        ("textile", "simulated", {"good": 1000, "local": 500, "global": 500}),
    ],
)
def test_counts(name: str, category: str, counts: dict[str, int]):
    root, records = packaged(name, category)
    assert Counter(record.defect for record in records) == counts
    assert {(record.split, record.mask) for record in records} == {(None, "")}
    assert len({record.path for record in records}) == len(records)
    assert all((root / record.path).is_file() for record in records)


def test_categories_of_elpv_share_no_image():
    mono, poly = (packaged("elpv", kind)[1] for kind in ("mono", "poly"))
    assert not {record.path for record in mono} & {record.path for record in poly}


@pytest.mark.parametrize(("name", "known"), [("elpv", "mono, poly"), ("textile", "simulated")])
def test_unknown_category(name: str, known: str):
    with pytest.raises(
        DataError, match=rf"dataset.categories: {name} has no category 'Mono'; it has {known}"
    ):
        packaged(name, "Mono")


def test_elpv_leaves_out_what_is_ambiguous(tmp_path: Path):
    lines = ["a.png 0.0 mono", "b.png  0.3333333333333333\tmono", "c.png 0.6666666666666666 mono", ""]
    (tmp_path / "labels.csv").write_text("\n".join([*lines, "d.png 1.0 mono", "e.png 1.0 poly"]))
    assert elpv.categories(tmp_path) == ["mono", "poly"]
    assert elpv.records(tmp_path, "mono") == [Record("a.png", None), Record("d.png", None, "defective")]


def test_elpv_with_a_broken_table(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("images/cell0001.png,1.0,mono\n")
    with pytest.raises(DataError, match=r"labels.csv: every line must hold path, probability and type"):
        elpv.categories(tmp_path)


@pytest.mark.parametrize("name", PACKAGES)
def test_another_version_is_refused(name: str):
    installed = version(PACKAGES[name])
    with pytest.raises(DataError) as caught:
        _ = dataset_source(name, "ignored", "0.0.1").folder
    message = str(caught.value)
    assert f"dataset.version is '0.0.1', but {PACKAGES[name]} {installed} is installed" in message
    assert f"pip install '{PACKAGES[name]}==0.0.1', or set dataset.version={installed}" in message


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package(name: str, monkeypatch: pytest.MonkeyPatch):
    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(source, "installed_version", missing)
    with pytest.raises(
        DataError, match=rf"{PACKAGES[name]} is not installed; install it with: pip install '.*==1.2'"
    ):
        _ = dataset_source(name, "ignored", "1.2").folder


def test_a_package_without_its_module(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError, match="is installed without its module elpv_dataset; install it with"):
        _ = dataset_source("elpv", "ignored", version("elpv-dataset")).folder


def test_a_package_without_its_images(tmp_path: Path):
    assert DATASETS["textile"].categories(tmp_path) == []
    with pytest.raises(DataError, match="textile has no category 'simulated'; it has none"):
        dataset_records("textile", tmp_path, "simulated")
