"""`adlib doctor`: every finding, good and bad, and what it tells the user to do."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from tiny_clip import tiny_clip
from toys import ROOT
from typer.testing import CliRunner

from adlib.cli.app import app
from adlib.tools import doctor
from adlib.tools.doctor import Finding, check_all

Project = Callable[..., Path]
COMMITTED = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A sound project in the current folder; `project({"dataset.root": …})` changes its params.yaml."""
    (tmp_path / "images/bottle/train/good").mkdir(parents=True)
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "store"))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0, stderr=""))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=80 * 2**30))

    def write(changes: dict[str, Any] | None = None) -> Path:
        raw = copy.deepcopy(COMMITTED)
        usual = {"device": "cpu", "dataset.name": "folder", "dataset.root": "images"}
        usual |= {"dataset.categories": ["bottle"], "backbone.name": "test_efficientnet"}
        usual |= {"backbone.weights": "random", "backbone.out_indices": [1, 2]}
        for key, value in (usual | (changes or {})).items():
            *block, name = key.split(".")
            (raw[block[0]] if block else raw)[name] = value
        (tmp_path / "params.yaml").write_text(json.dumps(raw))  # which is YAML
        return tmp_path

    write()
    return write


def finding(what: str) -> Finding:
    (found,) = (finding for finding in check_all() if finding.what == what)
    return found


def test_all_is_well(project: Project):
    found = list(check_all())
    assert [finding.what for finding in found] == [
        "python", *doctor.PACKAGES, "params.yaml", "device", "data", "weights", "store", "pipeline",
    ]  # fmt: skip
    assert all(finding.ok and not finding.remedy for finding in found), found
    details = {finding.what: finding.detail for finding in found}
    assert details["python"] == ".".join(map(str, sys.version_info[:3]))
    assert details["torch"] == version("torch")
    assert details["params.yaml"].startswith("folder, ")
    assert details["device"] == f"cpu, {torch.get_num_threads()} threads"
    assert details["data"] == "folder: bottle"
    assert details["weights"].startswith("test_efficientnet, random, ")
    assert details["store"].endswith("store, 80 GiB free")
    assert details["pipeline"] == "every stage is up to date"


def test_an_old_python(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "PYTHON", (99, 1))
    assert (finding("python").ok, finding("python").remedy) == (False, "use Python 99.1 or newer")


def test_a_missing_package(project: Project, monkeypatch: pytest.MonkeyPatch):
    def fake(name: str) -> str:
        if name == "timm":
            raise PackageNotFoundError
        return "1"

    monkeypatch.setattr(doctor, "version", fake)
    assert not finding("timm").ok
    assert finding("timm").remedy.startswith("run `make repro`, or pip install")
    assert finding("torch").ok


def test_torch_cannot_be_imported(project: Project, monkeypatch: pytest.MonkeyPatch):
    """The other checks still run."""

    def broken(name: str) -> None:
        raise ImportError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    assert finding("device") == Finding("device", False, "libcudart.so: cannot open shared object file")
    assert finding("data").ok


def test_bad_parameters_end_the_checks(project: Project):
    project({"kappa": "abc"})
    found = list(check_all())
    assert found[-1].what == "params.yaml"
    assert not found[-1].ok
    assert "kappa: should be a valid number, got 'abc'" in found[-1].detail
    assert found[-1].remedy == "mend the keys named above"


def test_a_device_that_is_not_here(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    project({"device": "cuda:1"})
    assert not finding("device").ok
    assert "cuda:1 is not here (0 CUDA devices found); use auto or cpu" in finding("device").detail


def test_a_cuda_device(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")
    project({"device": "auto"})
    assert finding("device") == Finding("device", True, "cuda:0, card 0, mixed precision")


@pytest.mark.parametrize(
    ("changes", "detail", "remedy"),
    [
        ({"dataset.root": "nowhere"}, "folder: no folder 'nowhere'", "set dataset.root to your images"),
        (
            {"dataset.name": "visa", "dataset.root": "nowhere"},
            "visa: no folder 'nowhere'",
            "run `adlib data fetch visa`",
        ),
        (
            {"dataset.name": "samples", "dataset.root": "data"},
            "samples: no folder 'data'",
            "run `dvc repro data.dvc`",
        ),
        (
            {"dataset.categories": ["bottle", "cable", "botle"]},
            "dataset.categories: botle, cable not in folder; it has bottle",
            "",
        ),
        (
            {"dataset.name": "elpv", "dataset.version": "0.1"},
            "dataset.version is '0.1', but elpv-dataset",
            "",
        ),
    ],
)
def test_data(project: Project, changes: dict[str, Any], detail: str, remedy: str):
    project(changes)
    assert not finding("data").ok
    assert finding("data").detail.startswith(detail)
    assert finding("data").remedy == remedy


def test_data_that_cannot_be_read(project: Project, monkeypatch: pytest.MonkeyPatch):
    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    assert not finding("data").ok
    assert "Permission denied" in finding("data").detail


def test_weights_that_are_missing(project: Project):
    project({"backbone.weights": "nowhere.safetensors"})
    assert not finding("weights").ok
    assert "no file nowhere.safetensors; allowed: package, hub, random" in finding("weights").detail


def test_hub_weights_are_not_fetched(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("adlib.embedding.networks.backbones.load_backbone", None)
    project({"backbone.weights": "hub"})
    assert finding("weights").ok
    assert "from the hub (fetched on first use, not checked here)" in finding("weights").detail


def test_clip_is_looked_at_where_a_method_needs_it(project: Project, tmp_path: Path):
    changes = {"methods.clip": ["afclip"], "auxiliary.categories": ["weave"]}
    project(changes)
    assert "clip.weights: afclip needs CLIP's weights, got null" in finding("params.yaml").detail
    project(changes | {"clip.weights": "nowhere.pt"})
    assert "no file nowhere.pt" in finding("clip").detail
    assert not finding("clip").ok
    block = tiny_clip(tmp_path / "clip")
    settings = {f"clip.{name}": value for name, value in block.model_dump(mode="json").items()}
    project(changes | settings)
    expected = f"tiny-openai, {str(block.sha256)[:12]}, QuickGELU, blocks 1, 2, 3, 4"
    assert finding("clip") == Finding("clip", True, expected)


def test_no_store(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ADLIB_CACHE", "off")
    assert finding("store") == Finding("store", True, "off (ADLIB_CACHE=off): everything is computed anew")


def test_a_store_that_cannot_be_written(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "file"))
    assert not finding("store").ok
    assert finding("store").remedy == "set ADLIB_CACHE to one that is, or to off"
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "new" / "store"))
    assert finding("store").ok
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: path != tmp_path)
    assert finding("store").detail == f"{tmp_path / 'new' / 'store'} is not a writable folder"


def test_a_full_disk(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    assert not finding("store").ok
    assert finding("store").remedy == "free some disk space, or set ADLIB_CACHE to another disk"


@pytest.mark.parametrize(
    ("code", "stderr", "expected"),
    [
        (1, "", Finding("pipeline", True, "some stages are not up to date: `dvc repro` runs them")),
        (255, "one\nERROR: no\n", Finding("pipeline", False, "ERROR: no", "run `dvc status`")),
        (255, "", Finding("pipeline", False, "dvc status failed", "run `dvc status`")),
    ],
)  # fmt: skip
def test_dvc(project: Project, monkeypatch: pytest.MonkeyPatch, code: int, stderr: str, expected: Finding):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=code, stderr=stderr))
    assert finding("pipeline") == expected


def test_outside_a_project(project: Project, tmp_path: Path):
    (tmp_path / ".dvc").rmdir()
    assert finding("pipeline") == Finding(
        "pipeline", False, "no .dvc folder here", "run from the root of the project's clone"
    )


def test_the_command(project: Project):
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "ok  data: folder: bottle" in result.output
    assert "fix" not in result.output
    project({"dataset.root": "no [red]where"})
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert (
        "fix data: folder: no folder 'no [red]where'\n      set dataset.root to your images" in result.output
    )
