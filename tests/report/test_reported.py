"""The papers' numbers on the page: for the same dataset and category, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_outputs import configure, make_outputs
from toys import ROOT

from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.papers.tables import paper_results
from adlib.report.build import write_report
from adlib.report.reported import protocols, reported_rows
from adlib.report.results import Results, read_results


@pytest.fixture
def carpet(params: Params, tmp_path: Path) -> tuple[Results, Params]:
    chosen = configure(params, categories=("carpet",), methods=("patchcore", "comet-sn"))
    chosen = chosen.model_copy(update={"dataset": chosen.dataset.model_copy(update={"name": "mvtec"})})
    return read_results(chosen, make_outputs(tmp_path / "outputs", chosen, masked=("carpet",))), chosen


def test_papers_stand_beside_ours(carpet: tuple[Results, Params], tmp_path: Path):
    results, chosen = carpet
    rows = {row.metric: row for row in reported_rows(results, protocols(chosen))}
    assert set(rows) == {"image AUROC", "pixel AUROC"}
    padim = paper_results("comet", dataset="mvtec", category="carpet", method="padim", metric="image_auroc")
    assert rows["image AUROC"].papers["padim, CoMet (Aqeel et al. 2025)"] == f"{padim[0].percent:.1f}"
    assert rows["pixel AUROC"].ours == {"patchcore": "90.0", "comet-sn": "90.0"}
    write_report(chosen, Workspace(tmp_path / "outputs"), tmp_path / "report", ROOT / "params.yaml")
    assert "Beside the papers" in (tmp_path / "report" / "index.html").read_text()


def test_other_data_have_no_papers(carpet: tuple[Results, Params]):
    results, chosen = carpet
    assert reported_rows(replace(results, dataset="elpv"), protocols(chosen)) == []
    assert reported_rows(replace(results, categories=("leatherette",)), protocols(chosen)) == []


def test_a_metric_that_was_not_measured_is_left_out(carpet: tuple[Results, Params]):
    results, chosen = carpet
    values = results.values.copy()
    values[:, 0, ..., results.metrics.index("pixel_auroc")] = float("nan")
    rows = {row.metric: row for row in reported_rows(replace(results, values=values), protocols(chosen))}
    assert list(rows["pixel AUROC"].ours) == ["comet-sn"]


def test_an_average_stands_beside_a_whole_dataset(params: Params, tmp_path: Path):
    """VisA has 12 categories; with all of them a paper's mean is comparable, with eleven it is not."""
    names = tuple(f"c{i}" for i in range(12))
    chosen = configure(params, categories=names, methods=("patchcore", "comet-sn"), levels=(0.0,))
    chosen = chosen.model_copy(update={"dataset": chosen.dataset.model_copy(update={"name": "visa"})})
    results = read_results(chosen, make_outputs(tmp_path / "outputs", chosen))
    as_afclip = {"patchcore": "zero-shot mvtec", "comet-sn": "4-shot"}
    rows = {(row.protocol, row.metric): row for row in reported_rows(results, as_afclip)}
    assert {row.category for row in rows.values()} == {"average"}
    zero, four = rows["zero-shot mvtec", "image AUROC"], rows["4-shot", "image AUROC"]
    assert list(zero.ours) == ["patchcore"]
    assert list(four.ours) == ["comet-sn"]
    assert zero.papers["afclip, AF-CLIP (Fang et al. 2025)"] == "88.5 ± 0.0"
    assert four.papers["afclip, AF-CLIP (Fang et al. 2025)"] == "92.2 ± 1.3"
    assert zero.papers["cozad, CoZAD (Aqeel et al. 2025)"]
    fewer = replace(results, categories=names[1:], values=results.values[1:])
    assert reported_rows(fewer, as_afclip) == []


@pytest.mark.parametrize(
    ("dataset", "count", "masked"), [("btad", 3, True), ("headct", 1, False)], ids=["masks", "no masks"]
)
def test_a_set_without_published_masks_says_so(
    params: Params, tmp_path: Path, dataset: str, count: int, masked: bool
):
    """CoZAD's Tables 1 and 2: the mean and six competitors; the transductive variant has no paper."""
    names = tuple(f"c{i}" for i in range(count))
    chosen = configure(params, categories=names, methods=("simplenet", "patchcore", "comet-sn"))
    workspace = make_outputs(tmp_path, chosen, masked=names if masked else ())
    methods = ("simplenet", "cozad-zero", "cozad-zero/transductive")
    results = replace(read_results(chosen, workspace), dataset=dataset, methods=methods)
    words = dict(zip(methods, ("full-shot", "zero-shot visa", "transductive"), strict=True))
    rows = {row.metric: row for row in reported_rows(results, words) if row.protocol == "zero-shot visa"}
    image, pixel = rows["image AUROC"], rows["pixel AUROC"]
    mean = results.over_categories().mean[0, 1, 0, results.metrics.index("image_auroc")]
    assert image.ours == {"cozad-zero": f"{100 * mean:.1f}"}
    assert len(image.papers) == len(pixel.papers) == 7
    assert (pixel.ours["cozad-zero"] == "no masks") != masked
    assert all(value.endswith("(no masks published)") != masked for value in pixel.papers.values())


def test_protocols_are_in_the_papers_words(params: Params):
    methods = params.methods.model_copy(
        update={
            "auxiliary": ("af-tokens",),
            "af_tokens": params.methods.af_tokens.model_copy(update={"shots": (0, 2)}),
        }
    )
    auxiliary = params.auxiliary.model_copy(update={"name": "visa"})
    found = protocols(params.model_copy(update={"methods": methods, "auxiliary": auxiliary}))
    assert found["comet-sn"] == "full-shot"
    assert found["af-tokens"] == "zero-shot visa"
    assert found["af-tokens/shots-2"] == "2-shot"
