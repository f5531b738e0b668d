"""Stage `report`: every number of a run as one page, one table and one summary."""

from itertools import chain
from pathlib import Path

from adlib.base.files import read_json, write_text
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.splits import read_splits
from adlib.report.comparison import charts, tables
from adlib.report.curves import Drawn, draw
from adlib.report.details import (
    Images,
    colour_bar,
    count_rows,
    paired_rows,
    timing_rows,
    training_sizes,
    weight_rows,
)
from adlib.report.few_shot import few_shot_tables
from adlib.report.operating import Operating, defect_rows, lookalikes, operating_rows
from adlib.report.per_image import by_fit, read_rows
from adlib.report.provenance import data_rows, software
from adlib.report.ranking import rank, write_triage
from adlib.report.reported import protocols, reported_rows
from adlib.report.results import (
    METRIC_NAMES,
    Results,
    noise_key,
    read_results,
    require,
    write_results,
)
from adlib.report.templates import environment
from adlib.report.verdict import signed, verdict


def write_report(params: Params, workspace: Workspace, folder: Path, params_file: Path) -> None:
    """Write `results.csv`, `summary.json`, `triage.csv` and `index.html` into `folder`.

    Args:
        params: the whole of params.yaml; it alone decides which outputs are read.
        workspace: the other stages' outputs.
        folder: where to write.
        params_file: params.yaml itself, to be shown.

    Raises:
        UserError: an output that params.yaml asks for is missing.
    """
    results = read_results(params, workspace)
    cells = [(category, method) for category in results.categories for method in results.methods]
    rows = {cell: read_rows(workspace, *cell) for cell in cells}
    page = render(
        params, results, {cell: by_fit(found) for cell, found in rows.items()}, workspace, params_file
    )
    write_results(folder, results)
    ranked = (rank(*cell, found) for cell, found in rows.items())
    write_triage(folder / "triage.csv", chain.from_iterable(ranked))
    write_text(folder / "index.html", page)


def render(params: Params, results: Results, images: Images, workspace: Workspace, params_file: Path) -> str:
    """The page: one HTML file without a script, a font or a link to anything outside it."""
    cells = list(images)
    splits = {c: read_splits(require(workspace.splits(c))) for c in results.categories}
    galleries = {cell: read_json(require(workspace.evaluation(*cell) / "gallery.json")) for cell in cells}
    operating = operating_rows(results, workspace)
    timings = timing_rows(results, workspace, splits)
    paired = paired_rows(results, images)
    recorded = sorted({row.device for row in timings if row.device})
    device = ", ".join(recorded) or f"{params.device} (as configured)"
    counts = count_rows(results, images, splits)
    elsewhere = not (params.methods.plain or params.methods.confident or params.methods.flow)
    return (
        environment(results.methods, signed=signed)
        .get_template("page.html")
        .render(
            params=params,
            results=results,
            leading=METRIC_NAMES[results.leading],
            verdict=verdict(results, {row.noise: row.overall for row in paired}, trained_elsewhere=elsewhere),
            elsewhere=elsewhere,
            counts=counts,
            training_sizes=training_sizes(counts),
            tables=tables(results),
            charts=charts(results),
            curves=[
                _curves(results, images, operating, c) for c, row in enumerate(counts) if row.test_normal
            ],
            paired=paired,
            operating=operating,
            reported=reported_rows(results, protocols(params)),
            few_shot=few_shot_tables(results),
            defects=defect_rows(results, workspace),
            lookalikes=lookalikes(results, workspace),
            galleries=galleries,
            colour_bar=colour_bar(),
            weights=weight_rows(results, images),
            weighted=[cell for cell in cells if galleries[cell]["groups"]["suspects"]],
            timings=timings,
            software=software(params_file.resolve().parent, device),
            data=data_rows(params, workspace),
            params_text=params_file.read_text(encoding="utf-8"),
        )
    )


def _curves(results: Results, images: Images, operating: list[Operating], c: int) -> Drawn:
    """The curves of category number `c` at the highest noise level, first seed: those of the examples."""
    category, level = results.categories[c], max(results.levels)
    fits = {m: images[category, m][noise_key(level), results.seeds[0]] for m in results.methods}
    thresholds = {
        row.method: row.threshold for row in operating if row.category == category and row.noise == level
    }
    return draw(category, c, fits, thresholds)
