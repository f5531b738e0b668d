"""The whole pipeline, run by DVC in a temporary clone on the project's own drawn samples.

What is asserted is which stages run and what they write, not how good the numbers are.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_clone import CATEGORY, METRICS, Clone, executed
from ssh_server import ssh_server

# A whole run may take minutes where others use the machine too.
pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    base = tmp_path_factory.mktemp("pipeline")
    project = Clone(base / "project", base / "store")
    project.repro()
    project.commit("first run")
    yield project
    shutil.rmtree(base, ignore_errors=True)


def test_first_run_writes_every_result(clone: Clone):
    rows = clone.results()
    assert {row["method"] for row in rows} == {"simplenet", "patchcore", "comet-sn"}
    assert {row["noise"] for row in rows} == {"0", "0.1"}
    assert {row["seed"] for row in rows} == {"0", "1"}
    assert {r["metric"] for r in rows} == METRICS
    summary = json.loads((clone.folder / "report" / "summary.json").read_text())
    assert set(summary["patchcore"][CATEGORY]) == {"0", "0.1"}
    page = (clone.folder / "report" / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_second_run_runs_nothing(clone: Clone):
    assert clone.repro() == []


def test_a_colleague_pulls_data_features_and_models(clone: Clone, tmp_path: Path):
    """Over SSH, each object checked on arrival; what was not pushed is rebuilt without training anything."""
    with ssh_server(tmp_path) as server:
        clone.use(server)
        assert "pushed" in clone.run("dvc", "push")
        colleague = Clone(tmp_path / "colleague", tmp_path / "store")
        for name in ("data.dvc", "dvc.lock", "report/results.csv", "report/summary.json"):
            shutil.copyfile(clone.folder / name, colleague.folder / name)
        colleague.use(server)
        colleague.run("dvc", "pull", "--allow-missing")
        for folder in ("data", "outputs/fetch", "outputs/features", "outputs/fits", "outputs/evaluation"):
            assert (found := clone.files(folder))
            assert colleague.files(folder) == found
        assert not colleague.files("outputs/contaminate") | colleague.files("outputs/audit")
        assert sorted(colleague.repro()) == [f"contaminate@{CATEGORY}", "report"]
        assert colleague.results() == clone.results()

        fits = f"outputs/fits/{CATEGORY}/patchcore"
        model = clone.folder / fits / "noise-0_seed-0" / "model.safetensors"
        md5 = hashlib.md5(model.read_bytes()).hexdigest()
        (stored,) = server.root.rglob(f"{md5[:2]}/{md5[2:]}")
        stored.write_bytes(b"something else")
        shutil.rmtree(colleague.folder / fits)
        (colleague.folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]).unlink()
        assert "failed to pull" in colleague.run("dvc", "pull", fits, ok=False)
        assert not (colleague.folder / fits / model.parent.name / model.name).exists()


def test_kappa_reruns_the_confident_profile_only(clone: Clone):
    with clone.restored():
        ran = executed(clone.run("dvc", "exp", "run", "-S", "kappa=0.5"))
        cell = f"@{CATEGORY}-comet-sn"
        assert sorted(ran) == sorted([f"train-confident{cell}", f"evaluate-confident{cell}", "report"])
        assert "kappa" in clone.run("dvc", "params", "diff")


def test_another_rate_moves_the_threshold_and_refits_nothing(clone: Clone):
    fit = clone.folder / "outputs" / "fits" / CATEGORY / "patchcore" / "noise-0_seed-0"
    before = json.loads((fit / "threshold.json").read_text())
    with clone.restored():
        log = clone.run("dvc", "exp", "run", "-S", "threshold.fpr=0.3")
        after = json.loads((fit / "threshold.json").read_text())
        assert after["threshold"] < before["threshold"]
        assert (before["fpr"], after["fpr"], after["n"]) == (0.01, 0.3, 6)
        assert before["promised"] == before["smallest"] == 1 / 7, "6 calibration images promise no less"
        assert log.count("fitted from the store") == 3 * 4
        assert {stage.split("@")[0] for stage in executed(log)} == {
            *("train", "train-confident", "evaluate", "evaluate-confident", "report")
        }


def test_levels_and_seeds_embed_nothing_and_train_only_what_is_new(clone: Clone):
    before = clone.results()
    clone.edit({"noise": {"levels": [0.0, 0.1, 0.15]}})
    log = clone.run("dvc", "repro")
    assert not any(stage.startswith("features") for stage in executed(log))
    assert log.count("noise-0.15_seed-") == 6
    assert log.count("fitted from the store") == 3 * 4
    assert [row for row in clone.results() if row["noise"] != "0.15"] == before
    clone.edit({"noise": {"levels": [0.0, 0.1]}})
    clone.repro()
    assert clone.results() == before


def test_everything_between_runs_without_labels(clone: Clone):
    labels = clone.folder / "outputs" / "fetch" / CATEGORY / "labels.csv"
    kept = labels.read_bytes()
    labels.unlink()
    try:
        clone.run("python", "-m", "stages.features", CATEGORY, ADLIB_CACHE="off")
        clone.run("python", "-m", "stages.paint", CATEGORY, "comet-sn", ADLIB_CACHE="off")
        clone.run("python", "-m", "stages.train", CATEGORY, "comet-sn", ADLIB_CACHE="off")
        clone.run("python", "-m", "stages.contaminate", CATEGORY, ok=False)
        clone.run("python", "-m", "stages.evaluate", CATEGORY, "comet-sn", ok=False)
    finally:
        labels.write_bytes(kept)
    clone.run("dvc", "checkout", "-q", "--force")
    assert clone.repro() == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kappa=abc", "kappa: "),
        ("noise.levels=[0.0,0.9]", "largest possible level"),
        ("dataset.categories=[wave]", "no category 'wave'"),
        ("dataset.categories=[]", "dataset.categories"),
    ],
)
def test_bad_parameters_stop_the_run_and_keep_the_results(clone: Clone, override: str, message: str):
    before = (clone.folder / "report" / "results.csv").read_bytes()
    with clone.restored():
        assert message in clone.run("dvc", "exp", "run", "-S", override, ok=False)
    assert (clone.folder / "report" / "results.csv").read_bytes() == before


def test_forced_run_elsewhere_gives_the_same_bytes(clone: Clone, tmp_path: Path):
    other = Clone(tmp_path / "another" / "place", tmp_path / "store")
    other.run("dvc", "repro", "--force", "--no-run-cache", ADLIB_CACHE="off")
    mine, theirs = (c.folder / "report" / "results.csv" for c in (clone, other))
    assert mine.read_bytes() == theirs.read_bytes()
