"""Commands around CLIP that are no stage of the pipeline."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

PAPERS_MODEL, PAPERS_SIZE = "ViT-L-14-336", 518


def tuning_cost(
    model: Annotated[str, typer.Option(help="open_clip's name of a vision transformer")] = PAPERS_MODEL,
    image_size: Annotated[int, typer.Option(min=1, help="pixels, a multiple of the patch")] = PAPERS_SIZE,
) -> None:
    """Count what four ways to tune CLIP for AF-CLIP have to train and to compute; no weights are needed."""
    from adlib.errors import UserError
    from adlib.tuning import paper_costs, tuning_costs

    try:
        costs = tuning_costs(model, image_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    paper = paper_costs() if (model, image_size) == (PAPERS_MODEL, PAPERS_SIZE) else {}
    caption = "10^9 operations an image, a multiply-add being two; the paper does not say how it counts"
    table = Table("way", "parameters", "the paper's", "GFLOPs", "the paper's", caption=caption)
    for cost in costs:
        theirs = paper.get(cost.way)
        table.add_row(
            cost.way,
            f"{cost.parameters:,}",
            f"{theirs.parameters:,}" if theirs else "-",
            f"{cost.gflops:.1f}",
            f"{theirs.gflops:.3f}" if theirs else "-",
        )
    Console().print(table)
