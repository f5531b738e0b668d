"""AF-CLIP's Table 2 in the report: mean, spread and paired difference by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_outputs import configure, make_outputs
from scipy import stats
from toys import ROOT

from adlib.config.params import Params
from adlib.report.build import write_report
from adlib.report.few_shot import few_shot_tables
from adlib.report.results import Results, read_results

SHOTS = (0, 1, 4)


@pytest.fixture
def chosen(params: Params) -> Params:
    """A run of one method with shots beside one without."""
    chosen = configure(params, methods=("patchcore",))
    tokens = chosen.methods.af_tokens.model_copy(update={"shots": SHOTS})
    methods = chosen.methods.model_copy(update={"auxiliary": ("af-tokens",), "af_tokens": tokens})
    return chosen.model_copy(update={"methods": methods})


def one_category(values: list[list[float]], metrics: tuple[str, ...] = ("image_auroc",)) -> Results:
    """Results of `patchcore` and of `af-tokens` with 0 and 4 shots; `values[method][seed]`."""
    array = np.array(values)[None, :, None, :, None].repeat(len(metrics), axis=4)
    methods = ("patchcore", "af-tokens/shots-4", "af-tokens")
    return Results("elpv", ("mono",), methods, (0.0,), tuple(range(array.shape[3])), metrics, array)


def test_mean_spread_and_difference_by_hand():
    (table,) = few_shot_tables(one_category([[0.9, 0.9, 0.9], [0.82, 0.85, 0.91], [0.80, 0.81, 0.85]]))
    zero, four = table.rows
    assert (zero.shots, zero.method, four.shots, four.method) == (0, "af-tokens", 4, "af-tokens")
    assert (zero.cells[0].mean, zero.cells[0].difference) == ("0.820", "")
    assert zero.cells[0].spread == "0.026"
    assert four.cells[0].mean == "0.860"
    # Differences .02, .04, .06: mean .04, deviation .02, Student's 97.5 % quantile of 2 degrees 4.3027.
    half = stats.t.ppf(0.975, 2) * 0.02 / np.sqrt(3)
    assert four.cells[0].difference == f"+0.040 [−{half - 0.04:.3f}, +{0.04 + half:.3f}]"


def test_one_seed_has_no_spread_and_no_interval():
    (table,) = few_shot_tables(one_category([[0.9], [0.82], [0.80]]))
    cell = table.rows[1].cells[0]
    assert (cell.mean, cell.spread, cell.difference) == ("0.820", "", "+0.020")


def test_a_fall_is_shown_and_without_zero_shots_there_is_no_difference():
    results = one_category([[0.9, 0.9], [0.80, 0.82], [0.82, 0.83]], ("image_auroc", "pixel_ap", "aupro_0.3"))
    (table,) = few_shot_tables(results)
    assert table.metrics == ["image AUROC", "AUPRO 0.3"]
    assert table.rows[1].cells[0].difference.startswith("−0.015 [")
    alone = replace(results, methods=results.methods[:2], values=results.values[:, :2])
    (table,) = few_shot_tables(alone)
    assert [cell.difference for row in table.rows for cell in row.cells] == ["", ""]


def test_methods_without_shots_make_no_table():
    results = one_category([[0.9, 0.9]])
    assert few_shot_tables(replace(results, methods=("patchcore",))) == []


def test_the_page_has_a_row_a_number_of_shots(chosen: Params, tmp_path: Path):
    workspace = make_outputs(tmp_path / "outputs", chosen, masked=("poly",))
    seconds = {"fit": 2.0, "score": 0.5}
    fits = [f"noise-{level:g}_seed-{seed}" for level in chosen.noise.levels for seed in chosen.seeds]
    timing = {f"{v}{fit}": seconds for fit in fits for v in ("", "shots-1/", "shots-4/")}
    from adlib.base.files import write_json

    for category in chosen.dataset.categories:
        write_json(workspace.outputs / "timing" / category / "af-tokens.json", timing)
    tables = few_shot_tables(read_results(chosen, workspace))
    assert [(table.category, table.noise) for table in tables] == [
        (category, level) for category in ("Mean over 2 categories", "mono", "poly") for level in (0.0, 0.1)
    ]
    assert [row.shots for row in tables[0].rows] == list(SHOTS)
    assert "pixel AUROC" not in tables[2].metrics
    assert "pixel AUROC" in tables[4].metrics
    write_report(chosen, workspace, tmp_path / "report", ROOT / "params.yaml")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "With a few normal images" in page
    assert "Student's 95&nbsp;% interval" in page
    assert tables[0].rows[1].cells[0].difference in page
