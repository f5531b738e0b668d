"""A comparison as a terminal table, Markdown for a pull request, or JSON."""

from collections.abc import Sequence
from html import escape
from typing import Any

from rich.table import Table
from rich.text import Text

from adlib.gate.compare import Comparison, describe
from adlib.gate.judge import FAILURES, Judgement
from adlib.gate.rules import Cell
from adlib.report.per_image import PairedTest

COLUMNS = (*Cell._fields, "reference", "current", "change")
VERDICT = ("tolerance", "verdict")
NUMBERS = ("noise", "reference", "current", "change", "seed", "p (DeLong)")  # columns of them
COLOURS = {**dict.fromkeys(FAILURES, "bold red"), "better": "green", "new": "cyan"}


def cells(line: Judgement, *, judged: bool = True) -> list[str]:
    """A line as text; if `judged`, with the tolerance, its basis and the verdict."""
    means = zip((line.reference, line.current), line.spreads, strict=True)
    change = "–" if line.delta is None else f"{line.delta:+.4f}"
    tolerance = "–" if line.tolerance is None else f"{line.tolerance:.4f} {line.basis}"
    verdict = [tolerance, line.status] if judged else []
    return [*line.cell, *(number(*mean) for mean in means), change, *verdict]


def number(mean: float | None, spread: float | None) -> str:
    """A mean over seeds with their standard deviation."""
    if mean is None:
        return "–"
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"


def terminal(lines: list[Judgement], *, judged: bool) -> Table:
    """Every line as a table."""
    table = _plain(COLUMNS + VERDICT if judged else COLUMNS, NUMBERS, no_wrap=True)
    for line in lines:
        style = COLOURS.get(line.status, "") if judged else ""
        table.add_row(*map(Text, cells(line, judged=judged)), style=style)
    return table


def params_table(params: list[tuple[str, Any, Any]] | None) -> Table | str:
    """Parameters that differ."""
    if params is None:
        return "parameters: not known, one side has no params.yaml"
    if not params:
        return "parameters: the same"
    table = _plain(("parameter", "reference", "current"))
    for row in params:
        table.add_row(*(Text(str(value)) for value in row))
    return table


def tests_table(tests: dict[Cell, tuple[int, PairedTest]]) -> Table | str:
    """DeLong's tests, a line each."""
    if not tests:
        return "paired tests: per-image scores of both sides are not at hand, so only the means are compared"
    table = _plain((*Cell._fields, "seed", "change", "95 % interval", "p (DeLong)"), NUMBERS)
    for cell, (seed, test) in tests.items():
        low, high = test.interval
        numbers = (str(seed), f"{test.difference:+.4f}", f"{low:+.4f} to {high:+.4f}", p_value(test))
        table.add_row(*map(Text, (*cell, *numbers)))
    return table


def _plain(columns: Sequence[str], numbers: Sequence[str] = (), *, no_wrap: bool = False) -> Table:
    """A table without rules, for cells of Text: in a str, a name in brackets would be markup."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=no_wrap)
    return table


def p_value(test: PairedTest) -> str:
    """The p-value as text."""
    return "< 0.001" if test.p_value < 0.001 else f"{test.p_value:.3f}"


def markdown(comparison: Comparison) -> str:
    """The verdict, what failed, and everything else folded."""
    failed = [line for line in comparison.lines if line.failed]
    title = "Gate: pass" if comparison.passed else "Gate: FAIL"
    parts = [f"### {title}", _escape(comparison.summary)]
    parts += [f"> {_escape(note)}" for note in (*comparison.unverified, *comparison.notes)]
    if failed:
        parts.append(_table(failed))
    rest = [line for line in comparison.lines if not line.failed]
    if rest:
        counted = ", ".join(
            f"{n} {s}" for s, n in comparison.counts.items() if s in {line.status for line in rest}
        )
        parts.append(
            f"<details>\n<summary>Other results: {counted}</summary>\n\n{_table(rest)}\n\n</details>"
        )
    return "\n\n".join(parts) + "\n"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, unrounded."""
    return {
        "passed": comparison.passed,
        "summary": comparison.summary,
        "reference": comparison.reference.name,
        "current": comparison.current.name,
        "confidence": comparison.rules.confidence,
        "counts": dict(comparison.counts),
        "unverified": comparison.unverified,
        "notes": comparison.notes,
        "results": [_entry(line) for line in comparison.lines],
    }


def _entry(line: Judgement) -> dict[str, Any]:
    return {
        **line.cell._asdict(),
        "status": line.status,
        "reference": line.reference,
        "current": line.current,
        "change": line.delta,
        "tolerance": line.tolerance,
        "basis": line.basis,
        **line.limits.model_dump(exclude_none=True),
        "words": describe(line),
    }


def _table(lines: list[Judgement]) -> str:
    header = COLUMNS + VERDICT
    rows = [[_escape(text) for text in cells(line)] for line in lines]
    rule = ["---:" if name in NUMBERS else "---" for name in header]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def _escape(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    return escape(text, quote=False).replace("|", "\\|").replace("*", "\\*")
