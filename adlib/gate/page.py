"""`adlib compare --html`: one self-contained page in the style of the report."""

from adlib.gate.compare import Comparison, changed_params
from adlib.gate.rules import Cell
from adlib.gate.show import number
from adlib.report.per_image import PairedTest
from adlib.report.results import METRIC_NAMES
from adlib.report.templates import environment


def render(comparison: Comparison, tests: dict[Cell, tuple[int, PairedTest]]) -> str:
    """The page: one HTML file without a script, a font or a link to anything outside it."""
    lines = comparison.in_order
    methods = list(dict.fromkeys(line.cell.method for line in lines))
    template = environment(methods, "adlib.gate", number=number).get_template("compare.html")
    return template.render(
        comparison=comparison,
        lines=lines,
        metric_names=METRIC_NAMES,
        params=changed_params(comparison.reference, comparison.current),
        tests=tests,
    )
