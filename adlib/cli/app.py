"""The command line: thin, one function a command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer import Context
from typer.core import TyperGroup

from adlib import __version__
from adlib.base.errors import UserError
from adlib.base.progress import wide_console
from adlib.cli import clip_commands as cli_clip
from adlib.cli import data as cli_data
from adlib.cli import weights as cli_weights
from adlib.cli.evidence_command import evidence
from adlib.cli.papers import ablate


class Commands(TyperGroup):
    """Shows what a user can mend as one message; any other exception keeps its traceback."""

    def invoke(self, ctx: Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, help=__doc__)
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_weights.app, name="weights")
app.command()(cli_clip.tuning_cost)
app.command()(cli_clip.explain)
app.command()(ablate)
app.command()(evidence)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"adlib {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """Visual anomaly detection that anyone can reproduce, and that survives dirty training data."""


@app.command()
def audit() -> None:
    """Look for leaks: test images elsewhere, look-alikes across the split, stages that could see labels."""
    from adlib.config.params import load_params
    from adlib.tools.audit import audit_project

    try:
        findings = list(audit_project(load_params().dataset.categories, Path()))
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    for what, ok, detail in findings:
        typer.echo(f"{'ok  ' if ok else 'leak'} {what}: {detail}")
    if not all(ok for _, ok, _ in findings):
        raise typer.Exit(1)


@app.command()
def predict(
    images: Annotated[
        list[str], typer.Argument(help="files, folders, quoted patterns; - for paths on stdin")
    ],
    model: Annotated[Path, typer.Option(help="a fit's folder: outputs/fits/<category>/<method>/<run>")],
    out: Annotated[Path, typer.Option(help="folder for predictions.csv, predictions.json and heatmaps/")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    weights: Annotated[str | None, typer.Option(help="the backbone's weights, if they were moved")] = None,
) -> None:
    """Score images with a fitted model.

    A bad file gets a row with its error. Exit code: 0, or 1 if the arguments or the model cannot be used, or
    2 if no image could be scored.
    """
    from adlib.fits.model import ANOMALOUS
    from adlib.tools.predict import predict

    given = [path for argument in images for path in (_lines() if argument == "-" else [argument])]
    rows = predict(given, model, out, device=device, weights=weights)
    bad = [row for row in rows if row.error]
    for row in bad:
        typer.echo(f"error: {row.error}", err=True)
    flagged = sum(row.decision == ANOMALOUS for row in rows)
    typer.echo(f"{len(rows) - len(bad)} images scored, {flagged} anomalous, {len(bad)} bad files: {out}")
    if len(bad) == len(rows):
        raise typer.Exit(2)


def _lines() -> list[str]:
    return [line for line in sys.stdin.read().splitlines() if line.strip()]


@app.command()
def doctor() -> None:
    """Check versions, device, data, weights, store and DVC: each line is ok, or says what to do."""
    from adlib.tools.doctor import check_all

    console = Console(highlight=False, soft_wrap=True)
    findings = list(check_all())
    for finding in findings:
        mark = "[green]ok  [/]" if finding.ok else "[red]fix [/]"
        console.print(f"{mark}{finding.what}: ", end="")
        console.print(finding.detail, markup=False)
        if finding.remedy:
            console.print(f"      {finding.remedy}", markup=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def triage(
    category: Annotated[str, typer.Argument(help="a category of params.yaml")],
    method: Annotated[str | None, typer.Option(help="default: the first with a ranking")] = None,
    noise: Annotated[float | None, typer.Option(help="noise level; default: the lowest")] = None,
    seed: Annotated[int | None, typer.Option(help="default: the first")] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="how many images; default: those that stand out")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="write the images shown to excluded.csv")] = False,
) -> None:
    """Rank the training images by suspicion; with --apply leave the worst out of training."""
    from adlib.report.ranking import read_triage
    from adlib.tools.triage import above_the_fence, exclude, of_fit

    rows = read_triage("report/triage.csv")
    ranking = of_fit(rows, category=category, method=method, noise=noise, seed=seed)
    shown = above_the_fence(ranking) if top is None else ranking[:top]
    fit = f"{ranking[0].method}, noise {ranking[0].noise}, seed {ranking[0].seed}"
    console = Console(highlight=False)
    if not shown:
        console.print(f"{category} ({fit}): none of {len(ranking)} training images stands out; see --top")
        return
    table = Table("rank", "suspicion", "weight", "score", "image", title=f"{category} ({fit})")
    for row in shown:
        table.add_row(
            str(row.rank), f"{row.suspicion:.3g}", f"{row.weight:.3g}", f"{row.score:.3g}", Text(row.path)
        )
    console.print(table)
    console.print(f"{len(shown)} of {len(ranking)} training images; report/index.html shows the evidence")
    if apply:
        new = exclude("excluded.csv", shown)
        console.print(f"excluded.csv: {new} images added; `dvc repro` now trains without them")


@app.command()
def settings(
    name: Annotated[str, typer.Argument(help="paper or paper-training (adlib/papers/settings.yaml)")],
) -> None:
    """Print a named setting as options: `adlib settings paper | xargs dvc exp run`."""
    import json

    from adlib.papers.tables import named_setting

    for key, value in named_setting(name).items():
        typer.echo(f"-S {key}={json.dumps(value, separators=(',', ':'))}")


UNLIKE = 2  # the gate's exit code where it cannot judge; 1 is a regression


@contextmanager
def _user_errors() -> Iterator[None]:
    """What the user can mend is a message on stderr and exit code 2."""
    try:
        yield
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(UNLIKE) from None


@app.command()
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
    with _user_errors():
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


@app.command()
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

    with _user_errors():
        found = side_by_side(open_side(reference, Path()), open_side(current, Path()), Rules())
        tests = paired_tests(found)
        if html is not None:
            write_text(html, render(found, tests))
    console = wide_console()
    console.print(params_table(changed_params(found.reference, found.current)))
    console.print(terminal(found.in_order, judged=False))
    console.print(tests_table(tests))
    for note in (
        *(f"not measured alike: {reason}" for reason in found.unlike),
        *found.unverified,
        *found.notes,
    ):
        console.print(f"note: {note}", markup=False, style="yellow")
