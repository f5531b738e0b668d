"""Per-image scores: the paired tests of `adlib compare`, and the tolerance of a gate with a single seed."""

import gc
import re
import sqlite3
import subprocess
import sys
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from projects import Table, commit, table, write
from typer.testing import CliRunner

from adlib.base.tables import write_csv
from adlib.cli.app import app
from adlib.evaluation.evaluate import IMAGE_COLUMNS
from adlib.evaluation.metrics import delong_test, image_metrics

LABELS = np.arange(120) < 50
FIRST = LABELS + np.random.default_rng(0).normal(0, 0.8, 120)
SECOND = FIRST + np.random.default_rng(5).normal(0, 0.3, 120)  # another seed: the same but for luck
BAD = np.random.default_rng(2).normal(0, 1, 120)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def results(scores: np.ndarray, seed: int) -> Table:
    return table(image_metrics(scores, LABELS), seeds=[seed])


def run(folder: Path, scores: np.ndarray, seed: int = 0) -> Path:
    """A run with one fit and its images."""
    rows = [
        ("0", str(seed), f"id{i}", f"{i}.png", "test", str(int(LABELS[i])), "", f"{score:.6g}", "")
        for i, score in enumerate(scores)
    ]
    write_csv(folder / "outputs/evaluation/mono/patchcore/images.csv", IMAGE_COLUMNS, rows)
    return write(folder, results(scores, seed))


def adlib(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_another_seed_passes_by_the_images_and_a_broken_method_does_not(project: Path, tmp_path: Path):
    reference = run(tmp_path / "other", FIRST)
    run(project, SECOND, seed=1)
    luck = adlib("gate", "--against", reference)
    assert luck.exit_code == 0, luck.output
    assert re.search(r"image_auroc .* images +same", luck.output)
    run(project, BAD, seed=1)
    broken = adlib("gate", "--against", reference)
    assert broken.exit_code == 1
    assert "3 regressed" in broken.output


def test_without_the_images_the_same_change_is_a_regression(project: Path, tmp_path: Path):
    reference = run(tmp_path / "other", FIRST)
    write(project, results(SECOND, 1))
    result = adlib("gate", "--against", reference)
    assert result.exit_code == 1
    assert not re.search(r"images +(same|regressed)", result.output)


def test_images_of_another_run_do_not_count(project: Path, tmp_path: Path):
    """Outputs that do not give the number in results.csv are left out."""
    reference = run(tmp_path / "other", FIRST)
    run(project, BAD, seed=1)
    write(project, results(SECOND, 1))
    assert adlib("gate", "--against", reference).exit_code == 1


class Page(HTMLParser):
    """Fails on tags that do not nest, and on anything from outside the file."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag != "script"
        assert not any(name in ("src", "href") and (value or "").startswith("http") for name, value in attrs)
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_compare_tests_pairs_and_draws_the_page(project: Path, tmp_path: Path):
    reference = run(tmp_path / "other", FIRST)
    run(project, BAD)
    result = adlib("compare", reference, "--html", "page.html")
    assert result.exit_code == 0, result.output
    exact = delong_test(BAD, FIRST, LABELS)
    assert re.search(
        rf"mono +patchcore +0 +image_auroc +0 +{exact.difference:+.4f} .*< 0\.001", result.output
    )
    page = (project / "page.html").read_text()
    Page(page)
    assert f'<td class="n">{exact.difference:+.4f}</td>' in page
    assert "only the means" not in page


def connections() -> set[int]:
    """SQLite connections that are open in this process."""
    found = set()
    # By type: isinstance would ask every object for its __class__, and some answer with a warning.
    for connection in (o for o in gc.get_objects() if issubclass(type(o), sqlite3.Connection)):
        with suppress(sqlite3.ProgrammingError):  # a closed one
            connection.execute("")
            found.add(id(connection))
    return found


def test_scores_of_a_revision_come_from_dvcs_cache(project: Path):
    """The workspace has moved on; the revision's images are read from the cache."""

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments, "-q"], cwd=project, check=True)

    run(project, FIRST)
    commit(project)
    dvc("init")
    dvc("config", "core.analytics", "false")
    (project / ".gitignore").write_text("/outputs\n")
    subprocess.run(["git", "rm", "-rq", "--cached", "outputs"], cwd=project, check=True)
    dvc("add", "outputs")
    commit(project)
    run(project, SECOND, seed=1)
    before = connections()
    result = adlib("gate", "--against", "HEAD")
    assert result.exit_code == 0, result.output
    assert re.search(r"image_auroc .* images +same", result.output)
    run(project, SECOND)
    assert re.search(r"image_auroc +0 +[+-]0\.\d{4} ", adlib("compare", "HEAD").output)
    assert connections() <= before, "DVC's databases are closed"
