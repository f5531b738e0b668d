"""Triage: the ranking of training images, choosing a fit, what stands out, and the exclusion list."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import CPU, toy_features
from typer.testing import CliRunner

from adlib.base.errors import UserError
from adlib.cli.app import app
from adlib.data.excluded import Excluded, add_excluded, read_excluded
from adlib.learning.methods.contract import Scores
from adlib.learning.methods.witnesses import examine
from adlib.report.ranking import Suspect, rank, read_triage, write_triage
from adlib.tools.triage import above_the_fence, exclude, of_fit


def image_row(id: str, noise: str = "0", seed: str = "0", suspicion: str = "", split: str = "train"):
    numbers = {"score": "0.5", "weight": "0.25" if suspicion else "", "suspicion": suspicion}
    return {"id": id, "path": f"{id}.png", "noise": noise, "seed": seed, "split": split} | numbers


def suspects(
    *suspicions: float, noise: str = "0", method: str = "comet-sn", seed: str = "0"
) -> list[Suspect]:
    rows = [image_row(f"i{n}", noise, seed, str(value)) for n, value in enumerate(suspicions)]
    return rank("mono", method, rows)


def test_every_fit_is_ranked_by_itself_and_test_images_are_not():
    rows = [
        image_row("a", suspicion="1"),
        image_row("b", suspicion="3"),
        image_row("t", split="test"),
        image_row("a", noise="0.1", suspicion="2"),
        image_row("c", suspicion="3"),
    ]
    found = [(row.noise, row.rank, row.id) for row in rank("mono", "comet-sn", rows)]
    assert found == [("0", 1, "b"), ("0", 2, "c"), ("0", 3, "a"), ("0.1", 1, "a")]


def test_file_round_trip(tmp_path: Path):
    rows = suspects(1.5, 7.25)
    write_triage(tmp_path / "triage.csv", rows)
    header = (tmp_path / "triage.csv").read_text().splitlines()[0]
    assert header == "category,method,noise,seed,rank,id,path,suspicion,weight,score"
    assert read_triage(tmp_path / "triage.csv") == rows


def test_no_file_yet(tmp_path: Path):
    with pytest.raises(UserError, match="dvc repro"):
        read_triage(tmp_path / "triage.csv")


def test_the_fit_is_the_lowest_noise_of_the_first_method_and_seed_unless_named():
    rows = [
        *suspects(1, noise="0.1"),
        *suspects(2, noise="0", seed="3"),
        *suspects(3, noise="0", seed="1"),
        *suspects(4, noise="0", method="cozad"),
    ]
    assert [row.suspicion for row in of_fit(rows, category="mono")] == [2]
    assert [row.suspicion for row in of_fit(rows, category="mono", seed=1)] == [3]
    assert [row.suspicion for row in of_fit(rows, category="mono", noise=0.1)] == [1]
    assert [row.suspicion for row in of_fit(rows, category="mono", method="cozad")] == [4]
    with pytest.raises(UserError, match="no ranking for category poly"):
        of_fit(rows, category="poly")


def test_only_what_stands_out_is_above_the_fence():
    """Quartiles of 0..8 are 2 and 6: the fence is at 12."""
    ranking = suspects(0, 1, 2, 3, 4, 5, 6, 7, 8)
    assert above_the_fence(ranking) == []
    assert [row.suspicion for row in above_the_fence(suspects(0, 1, 2, 3, 4, 5, 6, 7, 100))] == [100]


def test_excluding_adds_each_image_once_and_keeps_what_a_person_wrote(tmp_path: Path):
    path = tmp_path / "excluded.csv"
    mine = Excluded("mono", "i0", "i0.png", "dust on the lens")
    assert add_excluded(path, [mine]) == 1
    assert exclude(path, suspects(5, 9)) == 1
    assert read_excluded(path) == [mine, Excluded("mono", "i1", "i1.png", "comet-sn: suspicion 9, rank 1")]
    assert exclude(path, suspects(5, 9)) == 0
    assert read_excluded(path, "poly") == []


class FirstPatch:
    """Scores a patch by its first channel."""

    def score(self, patches: torch.Tensor) -> Scores:
        patch = patches[..., 0]
        return Scores(patch.amax(1), patch)

    def state(self) -> dict[str, torch.Tensor]:
        return {}


def test_evidence_is_of_the_most_suspect_and_names_trusted_images_that_look_alike():
    """Image 5 is a copy of image 9's patches but for one: nothing is more like it."""
    features = toy_features(30, 0, patches=16)
    rows = np.array(features.select(features.info.ids).rows)
    rows[5] = rows[9]
    view = features.select(features.info.ids)
    view = type(view)(view.ids, rows, view.index)
    suspicion = torch.linspace(0, 1, 30)
    suspicion[9] = 5
    found = examine(FirstPatch(), view, suspicion, CPU)
    assert found["images"][:3].tolist() == [9, 29, 28]
    np.testing.assert_allclose(found["patch"][0], rows[9][:, 0].astype(np.float32))
    assert found["nearest"][0, 0] == 5
    assert (suspicion[found["nearest"]] <= suspicion.median()).all()
    assert (found["nearest"] != found["images"][:, None]).all()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report").mkdir()
    write_triage("report/triage.csv", suspects(0, 1, 2, 3, 4, 5, 6, 7, 100))
    add_excluded("excluded.csv", [])
    return tmp_path


def test_command_shows_and_leaves_the_list_alone(project: Path):
    result = CliRunner().invoke(app, ["triage", "mono"])
    assert result.exit_code == 0
    assert "i8.png" in result.output
    assert "i7.png" not in result.output
    assert read_excluded("excluded.csv") == []


def test_command_applies(project: Path):
    result = CliRunner().invoke(app, ["triage", "mono", "--top", "2", "--apply"])
    assert result.exit_code == 0
    assert [row.id for row in read_excluded("excluded.csv")] == ["i7", "i8"]


def test_command_says_when_nothing_stands_out(project: Path):
    write_triage("report/triage.csv", suspects(0, 1, 2, 3))
    result = CliRunner().invoke(app, ["triage", "mono", "--apply"])
    assert "none of 4" in result.output
    assert read_excluded("excluded.csv") == []


def test_command_reports_a_users_error_without_a_traceback(project: Path):
    result = CliRunner().invoke(app, ["triage", "polly"])
    assert result.exit_code == 1
    assert "error: no ranking for category polly" in result.output
    assert "Traceback" not in result.output
