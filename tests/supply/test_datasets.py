"""Where a set comes from: folder, package, archive, download, and what is said when it takes a person."""

import hashlib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from benchmark_trees import CASES

from adlib.data.manifest import DataError
from adlib.datasets import dataset_records, dataset_source
from adlib.datasets.catalogue import Archive, Benchmark, catalogue
from adlib.supply import datasets as sources
from adlib.supply.datasets import obtain
from adlib.supply.downloads import DownloadError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The miniature BTAD as it comes: a zip with a folder on top."""
    tree = CASES["btad"].build(tmp_path / "tree")
    path = tmp_path / "btad.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(tree.rglob("*.*")):
            file.write(member, member.relative_to(tree))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def benchmark(archive: Path, **changes: object) -> Benchmark:
    published = Archive(file="btad.zip", urls=("http://server/btad.zip",), sha256=sha256(archive))
    return catalogue()["btad"].model_copy(update={"archives": (published,), **changes})


def served(monkeypatch: pytest.MonkeyPatch, archive: Path) -> list[tuple]:
    """Replace the transfer: every address has this file. Returns what was asked for."""
    asked: list[tuple] = []

    def download(urls: tuple[str, ...], target: Path, sha256: str | None, *, pins: Path) -> Path:
        asked.append((tuple(urls), target.name, sha256, pins))
        target.write_bytes(archive.read_bytes())
        return target

    monkeypatch.setattr(sources, "download", download)
    return asked


def test_a_download_becomes_a_dataset(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch):
    asked = served(monkeypatch, archive)
    target = tmp_path / "sets" / "btad"
    assert obtain("btad", benchmark(archive), target) == target
    assert asked == [(("http://server/btad.zip",), "btad.zip", sha256(archive), Path("checksums.json"))]
    assert len(dataset_records("btad", dataset_source("btad", str(target), "").folder, "01")) == 5
    assert [path.name for path in target.parent.iterdir()] == ["btad"]
    obtain("btad", benchmark(archive), target)
    assert len(asked) == 1  # a local folder comes first


def test_own_addresses_come_first(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch):
    asked = served(monkeypatch, archive)
    obtain("btad", benchmark(archive), tmp_path / "a", urls=["http://mine/copy.zip"])
    obtain("btad", benchmark(archive), tmp_path / "b", urls=["http://mine/copy.zip"], sha256="1" * 64)
    mirrors = ("http://mine/copy.zip", "http://server/btad.zip")
    assert [row[:3] for row in asked] == [
        (mirrors, "btad.zip", sha256(archive)),
        (mirrors, "btad.zip", "1" * 64),
    ]


def test_an_address_for_a_set_without_one(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch):
    asked = served(monkeypatch, archive)
    (tmp_path / "empty").mkdir()
    nameless = catalogue()["btad"].model_copy(update={"archives": ()})
    obtain("btad", nameless, tmp_path / "empty", urls=["http://mine/some%20parts.zip?x=1"])
    assert asked[0][:3] == (("http://mine/some%20parts.zip?x=1",), "some parts.zip", None)


def test_a_folder_with_something_else(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="holds files, but no category of btad; name the folder inside it"):
        obtain("btad", catalogue()["btad"], tmp_path)


def test_an_archive_fetched_by_hand(tmp_path: Path, archive: Path):
    target = obtain("btad", benchmark(archive), tmp_path / "btad", archives=[archive])
    assert (target / "BTech_Dataset_transformed/01/train/ok/0000.bmp").is_file()
    assert archive.is_file()


def test_another_archive_is_refused(tmp_path: Path, archive: Path):
    published = catalogue()["btad"].archives[0].sha256
    with pytest.raises(DataError, match=f"has sha256 {sha256(archive)}, expected {published}; fetch it"):
        obtain("btad", catalogue()["btad"], tmp_path / "btad", archives=[archive])
    assert not (tmp_path / "btad").exists()
    trusted = sha256(archive)
    obtain("btad", catalogue()["btad"], tmp_path / "btad", archives=[archive], sha256=trusted)


def test_a_missing_archive(tmp_path: Path):
    with pytest.raises(DataError, match=r"--archive: no file .*nowhere.zip"):
        obtain("btad", catalogue()["btad"], tmp_path / "btad", archives=[tmp_path / "nowhere.zip"])


BY_HAND = [name for name, entry in catalogue().items() if not entry.package and not entry.archives]


@pytest.mark.parametrize("name", [*BY_HAND, "mvtec", "mvtec-ad-2", "mvtec-loco"])
def test_what_a_person_must_do(tmp_path: Path, name: str):
    entry = catalogue()[name]
    with pytest.raises(DataError, match="cannot be downloaded by a program: ") as caught:
        obtain(name, entry, tmp_path / name)
    message = str(caught.value)
    assert entry.home.split("/")[-1] in message or entry.home in message
    assert "{" not in message
    assert "then set dataset.root to its folder" in message


def test_a_failed_download_says_what_to_do_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> Path:
        raise DownloadError("kvasir-seg.zip could not be downloaded")

    monkeypatch.setattr(sources, "download", fail)
    with pytest.raises(DownloadError, match=r"could not be downloaded\n  if the server's certificate"):
        obtain("kvasir", catalogue()["kvasir"], tmp_path / "kvasir")


def test_a_package(tmp_path: Path):
    entry = catalogue()["elpv"]
    assert entry.package == f"elpv-dataset=={version('elpv-dataset')}"
    assert (obtain("elpv", entry, tmp_path / "nowhere") / "labels.csv").is_file()
    other = entry.model_copy(update={"package": "elpv-dataset==0.0.1"})
    with pytest.raises(DataError, match=r"pip install 'elpv-dataset==0\.0\.1'"):
        obtain("elpv", other, tmp_path / "nowhere")
