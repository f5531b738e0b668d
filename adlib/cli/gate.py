"""Commands that put two runs side by side; exit code 2 where they do not compare (see `app.CANNOT_JUDGE`)."""

from pathlib import Path
from typing import Annotated

import typer

from adlib.base.progress import wide_console


def gate(
    against: Annotated[
        str,
        typer.Option(metavar="REV|FILE", help="git revision, DVC experiment, or results.csv of another run"),
    ] = "",
    rules: Annotated[
        Path | None, typer.Option(help="tolerances and limits; gate.yaml if it is there, else the defaults")
    ] = None,
    md: Annotated[Path | None, typer.Option(help="write Markdown for a pull request here")] = None,
    json: Annotated[Path | None, typer.Option(help="write every number here")] = None,
    allow_unverified: Annotated[
        bool,
        typer.Option("--allow-unverified", help="compare although no dvc.lock vouches for the test images"),
    ] = False,
    defaults: Annotated[bool, typer.Option("--defaults", help="print the default rules and stop")] = False,
) -> None:
    """Are the workspace's results worse than those of a revision, beyond chance?

    Exit codes: 0 pass; 1 a regression, a missing result or a broken limit; 2 the two do not compare.
    """
    from adlib.base.files import write_json, write_text
    from adlib.gate import rules as gate_rules
    from adlib.gate.compare import gate as judge
    from adlib.gate.show import as_json, markdown, terminal
    from adlib.gate.sides import WORKSPACE, open_side

    if defaults:
        typer.echo(gate_rules.DEFAULTS.read_text(encoding="utf-8"), nl=False)
        return
    if not against:
        raise typer.BadParameter("name a git revision, a DVC experiment or a file", param_hint="--against")
    sides = open_side(against, Path()), open_side(WORKSPACE, Path())
    found = judge(*sides, gate_rules.load_rules(rules), allow_unverified=allow_unverified)
    if md is not None:
        write_text(md, markdown(found))
    if json is not None:
        write_json(json, as_json(found))
    console = wide_console()
    console.print(terminal(found.lines, judged=True))
    for note in (*found.unverified, *found.notes):
        console.print(f"note: {note}", markup=False, style="yellow")
    console.print(found.summary, markup=False, style="green" if found.passed else "bold red", soft_wrap=True)
    if not found.passed:
        raise typer.Exit(1)


def compare(
    reference: Annotated[
        str, typer.Argument(metavar="A", help="revision, experiment, results.csv or workspace")
    ],
    current: Annotated[str, typer.Argument(metavar="B", help="the same")] = "workspace",
    html: Annotated[Path | None, typer.Option(help="write a self-contained page here")] = None,
) -> None:
    """Put two runs next to each other: parameters, results, and paired tests where DVC has their scores."""
    from adlib.base.files import write_text
    from adlib.gate.compare import changed_params, paired_tests
    from adlib.gate.compare import compare as side_by_side
    from adlib.gate.page import render
    from adlib.gate.rules import Rules
    from adlib.gate.show import params_table, terminal, tests_table
    from adlib.gate.sides import open_side

    found = side_by_side(open_side(reference, Path()), open_side(current, Path()), Rules())
    tests = paired_tests(found)
    if html is not None:
        write_text(html, render(found, tests))
    console = wide_console()
    console.print(params_table(changed_params(found.reference, found.current)))
    console.print(terminal(found.in_order, judged=False))
    console.print(tests_table(tests))
    unlike = (f"not measured alike: {reason}" for reason in found.unlike)
    for note in (*unlike, *found.unverified, *found.notes):
        console.print(f"note: {note}", markup=False, style="yellow")
