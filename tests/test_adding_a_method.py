"""docs/adding-a-method.md, word for word: its blocks go into a copy of the project, and the method works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toys import ROOT

PAGE = ROOT / "docs/adding-a-method.md"
COPIED = ("adlib", "stages", "params.yaml", "dvc.yaml", "pyproject.toml")
TOUCHED = {
    "adlib/learning/methods/mahalanobis.py",
    "adlib/learning/methods/registry.py",
    "adlib/config/methods.py",
    "params.yaml",
}
BLOCK = re.compile(
    r"^<!-- (new|after|before): ([^|\n]+?)(?: \|(?: (.+?))?)? -->\n```\w+\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FIT = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from toys import CPU, toy_features
from adlib.config.params import load_params
from adlib.evaluation.metrics import auroc
from adlib.learning.methods.contract import score_images
from adlib.learning.methods.registry import METHODS

torch.set_num_threads(1)
params, features = load_params(), toy_features(60, 20)
assert "mahalanobis" in params.methods.plain
ids = features.info.ids
train, test = features.select(ids[:40]), features.select(ids[40:])
method = METHODS["mahalanobis"]
fit = method.fit(params.settings("mahalanobis"), train, 0, CPU)
scores = score_images(fit.detector, test, CPU)
assert auroc(scores["image"], [name[0] == "a" for name in test.ids]) > 0.95
rows = train.batch(range(40), CPU).double().flatten(0, 1)
covariance = torch.cov(rows.T, correction=0)
covariance = 0.9 * covariance + 0.1 * covariance.diagonal().mean() * torch.eye(8)
difference = test.batch([0], CPU)[0, 0].double() - rows.mean(0)
expected = (difference @ covariance.inverse() @ difference).sqrt()
torch.testing.assert_close(scores["patch"][0, 0].double(), expected, rtol=1e-4, atol=1e-4)
again = method.from_state(fit.detector.state()).score(test.batch(range(30), CPU))
torch.testing.assert_close(again.image, scores["image"][:30])
print("works")
"""


def blocks() -> list[tuple[str, str, str, str]]:
    """What to do, the file, the line beside which it is done, and the text."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def apply(project: Path, what: str, file: str, anchor: str, text: str) -> None:
    """One block of the page."""
    path = project / file
    if what == "new":
        assert not path.exists()
        path.write_text(text, encoding="utf-8")
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    found = [i for i, line in enumerate(lines) if line.startswith(anchor)]
    assert len(found) == 1, f"{file}: {len(found)} lines start with {anchor!r}"
    place = found[0] + (what == "after")
    path.write_text("".join([*lines[:place], text, *lines[place:]]), encoding="utf-8")


def contents(project: Path) -> dict[str, bytes]:
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which somebody has followed the page."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    before = contents(folder)
    for block in blocks():
        apply(folder, *block)
    after = contents(folder)
    assert {file for file in after if after[file] != before.get(file)} == TOUCHED
    assert before.keys() <= after.keys()
    return folder


def run(project: Path, *command: str) -> str:
    """A command in the copy, whose packages come first."""
    environment = os.environ | {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_every_marked_block_is_read():
    marks = re.findall(r"^<!-- (?:new|after|before): ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(blocks()) == len(marks) == 7


def test_it_fits_scores_and_comes_back_from_its_tensors(project: Path):
    assert run(project, "-c", FIT, str(ROOT / "tests/support")) == "works\n"


def test_the_contracts_on_imports_hold(project: Path):
    program = "import sys; from importlinter.cli import lint_imports_command as main; sys.exit(main())"
    assert "0 broken" in run(project, "-c", program, "--no-cache")


def test_dvc_trains_and_evaluates_it(project: Path):
    (project / ".dvc").mkdir()
    (project / ".dvc/config").write_text(
        "[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8"
    )
    stages = {line.split()[0] for line in run(project, "-m", "dvc", "stage", "list").splitlines()}
    assert {"train@mono-mahalanobis", "evaluate@poly-mahalanobis"} <= stages


def test_the_code_is_formatted_as_the_project_is(project: Path):
    code = [str(project / file) for file in TOUCHED if file.endswith(".py")]
    run(project, "-m", "ruff", "check", "--no-cache", *code)
    run(project, "-m", "ruff", "format", "--no-cache", "--check", *code)
