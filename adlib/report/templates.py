"""The jinja2 environment of the project's pages: self-contained HTML in one style."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adlib.report import chart as svg

OPEN_CATEGORIES = 3  # with more, what belongs to a single category starts folded


def environment(methods: Sequence[str], package: str = "adlib.report", **names: Any) -> Environment:
    """Templates of `package`, and behind them the report's.

    Args:
        methods: in the page's order, which gives each its colour and marker.
        package: where the page's own template lies.
        names: further globals.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("adlib.report", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        css=Markup(files("adlib.report").joinpath("page.css").read_text(encoding="utf-8")),
        key=lambda method: Markup(svg.key(methods.index(method))),
        percent=svg.percent,
        open_categories=OPEN_CATEGORIES,
        **names,
    )
    return made
