"""`adlib data`: every command as it is typed, its exit code and what it says."""

import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from ssh_server import ssh_server
from toys import ROOT
from typer.testing import CliRunner

from adlib.cli.app import app
from adlib.datasets import DATASETS

sys.path.insert(0, str(ROOT / "tests" / "data"))
from mvtec_tree import write_image, write_tree

SAMPLES = str(ROOT / "samples")


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": "160"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_list_names_every_dataset():
    code, text = run("list")
    assert code == 0
    assert all(f" {name} " in text for name in DATASETS)


def test_show(tmp_path: Path):
    write_tree(tmp_path)
    code, text = run("show", "--root", tmp_path, "--sheet", tmp_path / "out" / "sheet.png")
    assert code == 0
    assert "folder: bottle" in text
    assert "sizes (height x width): 12 x 12 (12)" in text
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.size == (8 * 112, 4 * (112 + 16))


def test_show_writes_a_sheet_for_every_category(tmp_path: Path):
    write_tree(tmp_path / "set")
    write_tree(tmp_path / "set", "cable")
    assert run("show", "--root", tmp_path / "set", "--sheet", tmp_path / "s.png")[0] == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {"s-bottle.png", "s-cable.png"}


def test_verify_finds_nothing_wrong_with_the_samples():
    code, text = run("verify", "samples", "--root", SAMPLES, "--category", "weave")
    assert "0 problems in 65 images" in text
    assert code == 0


def test_verify_exits_with_1(tmp_path: Path):
    base = write_tree(tmp_path)
    shutil.copy(base / "train/good/000.png", base / "test/good/copy.png")
    code, text = run("verify", "--root", tmp_path)
    assert code == 1
    assert "problem identical files: bottle/train/good/000.png" in text
    assert "1 problems in 13 images" in text


def test_verify_compares_with_what_was_published(tmp_path: Path):
    write_tree(tmp_path)
    code, text = run("verify", "mvtec", "--root", tmp_path)
    assert code == 0
    assert "1 of 15 categories are here" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "mvtek"), "mvtek: no such dataset; allowed: elpv, "),
        (("show", "--root", "nowhere"), "dataset.root: no folder 'nowhere'"),
        (("verify", "visa", "--root", SAMPLES), "the table of the split is missing"),
        (("verify", "btad", "--root", SAMPLES), "no category of btad here; see docs/datasets.md"),
        (
            ("verify", "samples", "--root", SAMPLES, "--category", "wave"),
            "has no category 'wave'; it has",
        ),
        (("fetch", "folder"), "folder: not a published dataset; allowed: mvtec, "),
        (("fetch", "mpdd", "--root", "nowhere"), "cannot be downloaded by a program: download it from the"),
        (("init", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_errors_are_messages(arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    code, text = run(*arguments)
    assert code == 1
    assert message in text
    assert "Traceback" not in text


def test_fetch_of_what_is_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    code, text = run("fetch")
    assert code == 0
    assert "elpv is in " in text


def test_init_then_show(tmp_path: Path):
    for number, name in enumerate(["good_1.png", "good_2.png", "bad_1.png"]):
        write_image(tmp_path / name, number)
    code, text = run("init", tmp_path, "--category", "bolts")
    assert code == 0
    assert "dataset.yaml: 2 normal and 1 anomalous images" in text
    assert f"dataset.name: globs, root: {tmp_path}, categories: [bolts]" in text
    code, text = run("show", "--root", tmp_path, "--sheet", tmp_path / "s.png")
    assert code == 0
    assert "globs: bolts" in text


def test_init_with_good_images_only(tmp_path: Path):
    for number in range(3):
        write_image(tmp_path / f"{number}.png", number)
    code, text = run("init", tmp_path)
    assert code == 0
    assert "evaluation needs some" in text


@pytest.mark.parametrize(
    ("make", "source", "message"),
    [
        ((), "images", "no DVC project; run from the root"),
        ((".dvc",), "images", "images: no such file or folder, and no address either"),
        ((".dvc", "images", "data"), "images", "data: exists, and DVC does not know it; move it away first"),
        ((".dvc", "a.png"), "http://127.0.0.1:9/a.png", "a.png: is one file; name a folder, a bucket or an"),
        ((".dvc", "images"), "images", "dvc import-url --force images data: ERROR"),
    ],
)
def test_add_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: tuple[str, ...], source: str, message: str
):
    monkeypatch.chdir(tmp_path)
    for name in make:
        (tmp_path / name).mkdir()
    code, text = run("add", source)
    assert code == 1
    assert message in text


@pytest.mark.pipeline
def test_add_lets_dvc_follow_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True)
    write_image(tmp_path / "mine" / "a.png", 1)
    code, text = run("add", tmp_path / "mine")
    assert code == 0
    assert f"data.dvc written for {tmp_path / 'mine'}; params.yaml: dataset.root: data" in text
    assert (project / "data" / "a.png").is_file()
    assert "frozen" not in (project / "data.dvc").read_text()
    # A new image comes with a plain repro.
    write_image(tmp_path / "mine" / "b.png", 2)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "data.dvc"], check=True)
    assert (project / "data" / "b.png").is_file()


@pytest.mark.pipeline
def test_add_unpacks_an_archive_from_here_or_the_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("bottle/a.txt", "one")
    code, _ = run("add", tmp_path / "set.zip")
    assert code == 0
    assert (project / "data/bottle/a.txt").read_text() == "one"
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("bottle/b.txt", "two")
    serve = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        address = f"http://127.0.0.1:{server.server_port}/set.zip"
        wrong, text = run("add", address, "--sha256", "0" * 64)
        kept = [path.name for path in (project / "data").rglob("*.txt")]
        code, _ = run("add", address)
        server.shutdown()
    assert wrong == 1
    assert "another sha256" in text
    assert kept == ["a.txt"]
    assert code == 0
    assert [path.name for path in (project / "data").rglob("*.txt")] == ["b.txt"]
    assert "set.zip" in (project / "checksums.json").read_text()
    assert "nfiles: 1" in (project / "data.dvc").read_text()
    assert not list(project.glob(".data-*"))


@pytest.mark.pipeline
def test_add_lets_dvc_follow_a_folder_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True)

    dvc("init", "-q", "--no-scm")
    with ssh_server(tmp_path) as server:
        write_image(server.root / "images" / "a.png", 1)
        dvc("remote", "add", "-q", "team", f"ssh://127.0.0.1:{server.port}/images")
        for key, value in {"user": "team", "keyfile": str(server.keyfile)}.items():
            dvc("remote", "modify", "-q", "team", key, value)
        code, _ = run("add", "remote://team/")
        assert code == 0
        assert (project / "data" / "a.png").is_file()
        write_image(server.root / "images" / "b.png", 2)
        dvc("repro", "-q", "data.dvc")
    assert (project / "data" / "b.png").is_file()
