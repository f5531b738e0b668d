"""Commands about the papers: ablation tables beside ours, and what tuning CLIP costs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from adlib.base.progress import wide_console

PAPERS_MODEL, PAPERS_SIZE = "ViT-L-14-336", 518


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


def tuning_cost(
    model: Annotated[str, typer.Option(help="open_clip's name of a vision transformer")] = PAPERS_MODEL,
    image_size: Annotated[int, typer.Option(min=1, help="pixels, a multiple of the patch")] = PAPERS_SIZE,
    time: Annotated[bool, typer.Option("--time", help="time it as well, with random weights")] = False,
    device: Annotated[str, typer.Option(help="to time it on: auto, cpu, cuda or cuda:N")] = "auto",
) -> None:
    """Count what four ways to tune CLIP for AF-CLIP have to train and to compute; no weights are needed."""
    from adlib.base.device import resolve_device
    from adlib.base.errors import UserError
    from adlib.tools.tuning_cost import paper_costs, times_per_image, tuning_costs

    try:
        costs = tuning_costs(model, image_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    paper = paper_costs() if (model, image_size) == (PAPERS_MODEL, PAPERS_SIZE) else {}
    caption = (
        "memory of a training step with one image; a multiply-add is two operations; the paper's in brackets"
    )
    columns = ("way", "parameters", "memory, MiB", "GFLOPs an image", *(("seconds",) if time else ()))
    table = Table(*columns, caption=caption)
    seconds = times_per_image(model, image_size, resolve_device(device)) if time else {}
    for cost in costs:
        theirs = paper.get(cost.way)
        cells = (f"{cost.parameters:,}", f"{cost.memory_mib:,.0f}", f"{cost.gflops:.1f}")
        if theirs:
            printed = (f"{theirs.parameters:,}", f"{theirs.memory_mib:,.0f}", f"{theirs.gflops:.3f}")
            cells = tuple(f"{cell} ({known})" for cell, known in zip(cells, printed, strict=True))
        table.add_row(cost.way, *cells, *([f"{seconds[cost.way]:.3f}"] if time else []))
    Console().print(table)
