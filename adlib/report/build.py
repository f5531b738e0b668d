"""Stage `report`: every number of a run as one page, one table and one summary."""

from importlib.resources import files
from itertools import chain
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adlib.config import Params
from adlib.data.contaminate import read_splits
from adlib.io import atomic_path, read_csv, read_json
from adlib.report import svg
from adlib.report.comparison import charts, tables
from adlib.report.curves import Drawn, draw
from adlib.report.details import Images, colour_bar, count_rows, paired_rows, timing_rows, total, weight_rows
from adlib.report.images import read_images
from adlib.report.operating import Operating, defect_rows, lookalikes, operating_rows
from adlib.report.provenance import data_rows, software
from adlib.report.reported import reported_rows
from adlib.report.results import Results, evaluation, noise_key, read_results, require, write_results
from adlib.report.triage import rank, write_triage
from adlib.report.verdict import signed, verdict

OPEN_CATEGORIES = 3  # with more, the tables and pictures of each start folded


def write_report(params: Params, outputs: Path, folder: Path, params_file: Path) -> None:
    """Write `results.csv`, `summary.json`, `triage.csv` and `index.html` into `folder`.

    Args:
        params: the whole of params.yaml; it alone decides which outputs are read.
        outputs: the folder of the other stages' outputs.
        folder: where to write.
        params_file: params.yaml itself, to be shown.

    Raises:
        UserError: an output that params.yaml asks for is missing.
    """
    results = read_results(params, outputs)
    page = render(params, results, outputs, params_file)
    write_results(folder, results)
    cells = [(category, method) for category in results.categories for method in results.methods]
    rows = (rank(*cell, read_csv(evaluation(outputs, *cell) / "images.csv")) for cell in cells)
    write_triage(folder / "triage.csv", chain.from_iterable(rows))
    with atomic_path(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(params: Params, results: Results, outputs: Path, params_file: Path) -> str:
    """The page: one HTML file without a script, a font or a link to anything outside it."""
    cells = [(category, method) for category in results.categories for method in results.methods]
    images = {cell: read_images(outputs, *cell) for cell in cells}
    splits = {c: read_splits(require(outputs / "contaminate" / f"{c}.json")) for c in results.categories}
    galleries = {cell: read_json(require(evaluation(outputs, *cell) / "gallery.json")) for cell in cells}
    operating = operating_rows(results, outputs)
    timings = timing_rows(results, outputs, splits)
    paired = paired_rows(results, images)
    recorded = sorted({row.device for row in timings if row.device})
    device = ", ".join(recorded) or f"{params.device} (as configured)"
    environment = Environment(
        loader=PackageLoader("adlib.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    counts = count_rows(results, images, splits)
    environment.globals.update(
        key=lambda method: Markup(svg.key(results.methods.index(method))),
        percent=svg.percent,
        signed=signed,
    )
    return environment.get_template("page.html").render(
        css=Markup(files("adlib.report").joinpath("page.css").read_text(encoding="utf-8")),
        params=params,
        results=results,
        verdict=verdict(results, {row.noise: row.overall for row in paired}),
        counts=counts,
        totals=total(counts),
        tables=tables(results),
        charts=charts(results),
        curves=[_curves(results, images, operating, c) for c in range(len(results.categories))],
        paired=paired,
        operating=operating,
        reported=reported_rows(results),
        defects=defect_rows(results, outputs),
        lookalikes=lookalikes(results, outputs),
        galleries=galleries,
        colour_bar=colour_bar(),
        weights=weight_rows(results, images),
        weighted=[cell for cell in cells if galleries[cell]["groups"]["suspects"]],
        timings=timings,
        software=software(params_file.resolve().parent, device),
        data=data_rows(params, outputs),
        params_text=params_file.read_text(encoding="utf-8"),
        open_categories=OPEN_CATEGORIES,
    )


def _curves(results: Results, images: Images, operating: list[Operating], c: int) -> Drawn:
    """The curves of category number `c` at the highest noise level, first seed: those of the examples."""
    category, level = results.categories[c], max(results.levels)
    fits = {m: images[category, m][noise_key(level), results.seeds[0]] for m in results.methods}
    thresholds = {
        row.method: row.threshold for row in operating if row.category == category and row.noise == level
    }
    return draw(category, c, fits, thresholds)
