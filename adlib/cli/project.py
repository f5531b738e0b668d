"""Commands about the project itself: is everything here, does anything leak, which settings have a name."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def doctor() -> None:
    """Check versions, device, data, weights, store and DVC: each line is ok, or says what to do."""
    from adlib.tools.doctor import check_all

    console = Console(highlight=False, soft_wrap=True)
    findings = list(check_all())
    for finding in findings:
        console.print("[green]ok  [/]" if finding.ok else "[red]fix [/]", end="")
        console.print(f"{finding.what}: {finding.detail}", markup=False)
        if finding.remedy:
            console.print(f"      {finding.remedy}", markup=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def audit() -> None:
    """Look for leaks: test images elsewhere, look-alikes across the split, stages that could see labels."""
    from adlib.config.params import load_params
    from adlib.tools.audit import audit_project

    findings = list(audit_project(load_params().dataset.categories, Path()))
    for what, ok, detail in findings:
        typer.echo(f"{'ok  ' if ok else 'leak'} {what}: {detail}")
    if not all(ok for _, ok, _ in findings):
        raise typer.Exit(1)


def settings(
    name: Annotated[str, typer.Argument(help="paper or paper-training (adlib/papers/settings.yaml)")],
) -> None:
    """Print a named setting as options of `dvc exp run`."""
    import json

    from adlib.papers.tables import named_setting

    for key, value in named_setting(name).items():
        typer.echo(f"-S {key}={json.dumps(value, separators=(',', ':'))}")
