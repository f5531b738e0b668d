"""`adlib ablate`: the papers' ablation tables, and ours, from parameter settings."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from adlib.base.progress import wide_console


def ablate(
    names: Annotated[
        list[str],
        typer.Argument(
            help="comet-table5, comet-parts, cozad-table3, -table4, -table5, -table6, -table7, cozad-shots, "
            "afclip-table4, afclip-loss"
        ),
    ],
    category: Annotated[list[str] | None, typer.Option(help="instead of dataset.categories")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="instead of seeds")] = None,
    noise: Annotated[list[float] | None, typer.Option(help="instead of noise.levels")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="these rows alone; default: all")] = None,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="CoZAD as published: trained on the auxiliary set")
    ] = False,
    out: Annotated[Path, typer.Option(help="folder for NAME.csv and NAME.md")] = Path("outputs/ablations"),
) -> None:
    """Run the settings of ablation tables, and print a paper's beside its numbers (after `dvc repro`)."""
    from adlib.base.files import write_text
    from adlib.base.tables import write_csv
    from adlib.config.params import load_params
    from adlib.config.workspace import Workspace
    from adlib.tools.ablation import find_ablation, override, run_ablation
    from adlib.tools.ablation_tables import markdown, table

    asked = {"dataset.categories": category, "seeds": seed, "noise.levels": noise}
    params = override(load_params(), {key: value for key, value in asked.items() if value})
    ablations = [find_ablation(name).chosen(setting, zero_shot=zero_shot) for name in names]
    for ablation in ablations:
        header, rows = table(ablation, run_ablation(ablation, params, Workspace()), params)
        write_csv(out / f"{ablation.file}.csv", header, rows)
        write_text(out / f"{ablation.file}.md", markdown(header, rows))
        shown = Table(*header, title=ablation.name, caption="percent; ?: doubtful in the paper")
        for row in rows:
            shown.add_row(*row)
        wide_console(200).print(shown)
