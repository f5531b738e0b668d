"""Methods that are off by default, each switched on in a clone where PatchCore alone has run."""

import shutil
from collections.abc import Iterator

import pytest
from pipeline_clone import CATEGORY, METRICS, Clone

# A whole run may take minutes where others use the machine too.
pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    base = tmp_path_factory.mktemp("pipeline")
    project = Clone(base / "project", base / "store")
    project.edit({"methods": {"plain": ["patchcore"], "confident": []}})
    project.repro()
    project.commit("first run")
    yield project
    shutil.rmtree(base, ignore_errors=True)


def test_a_flow_method_brings_its_views_and_pixel_metrics_with_gradient_maps(clone: Clone):
    before = clone.results()
    with clone.restored():
        clone.edit({"methods": {"flow": ["comet-nf"]}})
        cell = f"@{CATEGORY}-comet-nf"
        assert sorted(clone.repro()) == sorted(
            [f"views{cell}", f"train-flow{cell}", f"maps{cell}", f"evaluate-flow{cell}", "report"]
        )
        added = [row for row in clone.results() if row not in before]
        assert {row["method"] for row in added} == {"comet-nf"}
        assert {row["metric"] for row in added} == {name for name in METRICS if name.startswith("image")}
        clone.edit({"gradient_maps": {"rotations": 1}})
        assert sorted(clone.repro()) == sorted([f"maps{cell}", f"evaluate-flow{cell}", "report"])
        mapped = [row for row in clone.results() if row["method"] == "comet-nf"]
        assert [row for row in mapped if row["metric"].startswith("image")] == added
        assert {row["metric"] for row in mapped} == set(METRICS)
        clone.edit({"kappa": 1.0})
        assert not any(stage.startswith(("views", "features")) for stage in clone.repro())


def test_an_auxiliary_method_is_trained_once_and_its_shots_are_variants(clone: Clone):
    before = clone.results()
    with clone.restored():
        clone.edit(
            {
                "auxiliary": {"categories": ["brushed"]},
                "methods": {
                    "auxiliary": ["af-tokens"],
                    "af-tokens": {"shots": [0, 1], "epochs": 1, "heads": 2, "head_dim": 8},
                },
            }
        )
        cell = f"@{CATEGORY}-af-tokens"
        assert clone.repro() == [
            "fetch-auxiliary@brushed", "features-auxiliary@brushed", "train-auxiliary@af-tokens",
            f"apply-auxiliary{cell}", f"evaluate-auxiliary{cell}", "report",
        ]  # fmt: skip
        rows = clone.results()
        assert {r["shots"] for r in rows if r["method"] == "af-tokens"} == {"0", "1"}
        assert [
            {k: v for k, v in r.items() if k != "shots"} for r in rows if r["method"] != "af-tokens"
        ] == before
        assert clone.repro() == []
        clone.edit({"auxiliary": {"categories": [CATEGORY]}})
        assert "images are in both the auxiliary set and the target" in clone.run("dvc", "repro", ok=False)
    assert clone.results() == before


def test_afclip_runs_on_a_small_clip_with_random_weights(clone: Clone):
    before = clone.results()
    clip = {"name": "ViT-S-16-alt", "weights": "random", "image_size": 64, "blocks": [1, 2], "batch_size": 8}
    afclip = {"shots": [0, 1], "epochs": 1, "heads": 2, "head_dim": 8}
    with clone.restored():
        clone.edit(
            {
                "seeds": [0],
                "auxiliary": {"categories": ["brushed"]},
                "clip": clip,
                "methods": {"plain": [], "confident": [], "clip": ["afclip"], "afclip": afclip},
            }
        )
        cell = f"@{CATEGORY}-afclip"
        ran = clone.repro()
        assert set(ran) - {f"contaminate@{CATEGORY}"} == {
            *("fetch-auxiliary@brushed", "features-auxiliary@brushed", "clip-auxiliary@brushed-afclip"),
            *(f"clip{cell}", "train-clip@afclip", f"apply-clip{cell}", f"evaluate-clip{cell}", "report"),
        }
        rows = clone.results()
        assert {(r["method"], r["shots"]) for r in rows} == {("afclip", "0"), ("afclip", "1")}
        assert {r["metric"] for r in rows} == METRICS
    assert clone.results() == before
