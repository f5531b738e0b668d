"""The command line: thin, one function a command."""

from typing import Annotated

import typer
from rich.console import Console

from adlib import __version__

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
