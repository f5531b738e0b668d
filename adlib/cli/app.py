"""The command line: which commands there are, in the order of `adlib --help`, and what errors become."""

from typing import Annotated, Any

import typer
from typer import Context
from typer.core import TyperGroup

from adlib import __version__
from adlib.base.errors import UserError
from adlib.cli import data, gate, model, papers, project, weights

START, RUN, LOOK, COMPARE, DATA, PAPERS = PANELS = (
    "Start here", "Run", "Look", "Compare", "Data", "Papers",
)  # fmt: skip
FIT = "outputs/fits/mono/comet-sn/noise-0_seed-0"
COMMANDS = (  # panel, command, examples
    (START, project.doctor, "adlib doctor"),
    (RUN, model.predict, f"adlib predict 'line/*.png' --model {FIT} --out predictions"),
    (LOOK, model.triage, "adlib triage mono", "adlib triage mono --top 5 --apply"),
    (LOOK, model.evidence, f"adlib evidence photo.png --model {FIT}"),
    (LOOK, model.explain, "adlib explain photo.png --out explained"),
    (LOOK, project.audit, "adlib audit"),
    (COMPARE, gate.gate, "adlib gate --against main", "adlib gate --defaults > gate.yaml"),
    (COMPARE, gate.compare, "adlib compare main", "adlib compare main foggy-mole --html page.html"),
    (PAPERS, papers.ablate, "adlib ablate comet-table5", "adlib ablate cozad-table3 --zero-shot --seed 0"),
    (PAPERS, project.settings, "adlib settings paper", "adlib settings paper | xargs dvc exp run"),
    (PAPERS, papers.tuning_cost, "adlib tuning-cost", "adlib tuning-cost --model ViT-B-16 --image-size 224"),
)
CANNOT_JUDGE = 2  # of gate and compare, where 1 is a regression


class Commands(TyperGroup):
    """Shows what a user can mend as one message; any other exception keeps its traceback."""

    def invoke(self, ctx: Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            code = CANNOT_JUDGE if ctx.invoked_subcommand in ("gate", "compare") else 1
            raise typer.Exit(code) from None

    def list_commands(self, ctx: Context) -> list[str]:
        """Names in the order of their panels; typer puts groups last."""
        return sorted(
            super().list_commands(ctx),
            key=lambda name: PANELS.index(getattr(self.commands[name], "rich_help_panel", START)),
        )


def examples(*lines: str) -> str:
    """The end of a command's help; some versions of typer keep only blank lines as line breaks."""
    return "\n\n".join(f"Example: {line}" for line in lines)


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False)
for panel, command, *lines in COMMANDS:
    app.command(rich_help_panel=panel, epilog=examples(*lines))(command)
app.add_typer(data.app, name="data", rich_help_panel=DATA)
app.add_typer(weights.app, name="weights", rich_help_panel=DATA)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"adlib {__version__}")
        raise typer.Exit


@app.callback(epilog=examples("adlib doctor", "adlib data init photos", "adlib COMMAND --help"))
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find the bad parts in your photographs, also when bad ones slipped in among the good ones.

    adlib learns what good parts look like, shows what is unusual in a new image,
    which training images are suspect, and whether a change made results worse.
    `dvc repro` runs everything that params.yaml asks for; open report/index.html.
    """
