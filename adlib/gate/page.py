"""`adlib compare --html`: one self-contained page in the style of the report."""

from importlib.resources import files
from itertools import groupby

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adlib.gate.compare import Comparison, changed_params
from adlib.gate.rules import Cell
from adlib.gate.show import number
from adlib.report import svg
from adlib.report.images import PairedTest
from adlib.report.results import METRIC_NAMES

OPEN_CATEGORIES = 3  # with more, the table of each starts folded


def render(comparison: Comparison, tests: dict[Cell, tuple[int, PairedTest]]) -> str:
    """The page: one HTML file without a script, a font or a link to anything outside it."""
    lines = comparison.in_order
    methods = list(dict.fromkeys(line.cell.method for line in lines))
    categories = {
        category: list(group)
        for category, group in groupby(
            sorted(lines, key=lambda line: line.cell.category), lambda line: line.cell.category
        )
    }
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("adlib.gate", "."), PackageLoader("adlib.report", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        key=lambda method: Markup(svg.key(methods.index(method))), number=number, percent=svg.percent
    )
    return environment.get_template("compare.html").render(
        css=Markup(files("adlib.report").joinpath("page.css").read_text(encoding="utf-8")),
        comparison=comparison,
        categories=categories,
        metric_names=METRIC_NAMES,
        params=changed_params(comparison.reference, comparison.current),
        tests=tests,
        open_categories=OPEN_CATEGORIES,
    )
