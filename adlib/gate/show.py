"""A comparison as a terminal table, Markdown for a pull request, or JSON."""

from html import escape
from typing import Any

from rich.table import Table
from rich.text import Text

from adlib.gate.compare import Comparison, describe
from adlib.gate.judge import FAILURES, Judgement
from adlib.gate.rules import Cell
from adlib.report.per_image import PairedTest

COLUMNS = ("category", "method", "noise", "metric", "reference", "current", "change")
COLOURS = {**dict.fromkeys(FAILURES, "bold red"), "better": "green", "new": "cyan"}


def cells(line: Judgement) -> list[str]:
    """The columns of a line that need no judgement."""
    means = zip((line.reference, line.current), line.spreads, strict=True)
    return [
        *line.cell,
        *(number(*mean) for mean in means),
        "–" if line.delta is None else f"{line.delta:+.4f}",
    ]


def number(mean: float | None, spread: float | None) -> str:
    """A mean over seeds with their standard deviation."""
    if mean is None:
        return "–"
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"


def verdict_cells(line: Judgement) -> list[str]:
    """Tolerance with its basis, and verdict."""
    tolerance = "–" if line.tolerance is None else f"{line.tolerance:.4f} {line.basis}"
    return [tolerance, line.status]


def terminal(lines: list[Judgement], *, judged: bool) -> Table:
    """Every line as a table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (*COLUMNS, *(("tolerance", "verdict") if judged else ())):
        right = name in ("noise", "reference", "current", "change")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for line in lines:
        texts = [*cells(line), *(verdict_cells(line) if judged else ())]
        # Text, not str: a name in brackets is no markup.
        table.add_row(*map(Text, texts), style=COLOURS.get(line.status, "") if judged else "")
    return table


def params_table(params: list[tuple[str, Any, Any]] | None) -> Table | str:
    """Parameters that differ."""
    if params is None:
        return "parameters: not known, one side has no params.yaml"
    if not params:
        return "parameters: the same"
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("parameter", "reference", "current"):
        table.add_column(name)
    for row in params:
        table.add_row(*(Text(str(value)) for value in row))
    return table


def tests_table(tests: dict[Cell, tuple[int, PairedTest]]) -> Table | str:
    """DeLong's tests, a line each."""
    if not tests:
        return "paired tests: per-image scores of both sides are not at hand, so only the means are compared"
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("category", "method", "noise", "metric", "seed", "change", "95 % interval", "p (DeLong)"):
        table.add_column(
            name, justify="right" if name in ("noise", "seed", "change", "p (DeLong)") else "left"
        )
    for cell, (seed, test) in tests.items():
        low, high = test.interval
        table.add_row(
            *map(
                Text,
                (*cell, str(seed), f"{test.difference:+.4f}", f"{low:+.4f} to {high:+.4f}", p_value(test)),
            )
        )
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
    header = (*COLUMNS, "tolerance", "verdict")
    rows = [[_escape(text) for text in (*cells(line), *verdict_cells(line))] for line in lines]
    rule = ["---:" if name in ("noise", "reference", "current", "change") else "---" for name in header]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def _escape(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    return escape(text, quote=False).replace("|", "\\|").replace("*", "\\*")
