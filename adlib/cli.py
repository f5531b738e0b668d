"""The command line: thin, one function a command."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adlib import __version__
from adlib.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


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
    from adlib.audit import audit_project
    from adlib.config import load_params

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
    from adlib.predict import ANOMALOUS, predict

    try:
        given = [path for argument in images for path in (_lines() if argument == "-" else [argument])]
        rows = predict(given, model, out, device=device, weights=weights)
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
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
    from adlib.doctor import check_all

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
