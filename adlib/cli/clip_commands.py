"""Commands around CLIP that are no stage of the pipeline."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

PAPERS_MODEL, PAPERS_SIZE = "ViT-L-14-336", 518


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


def explain(
    image: Annotated[Path, typer.Argument(help="one picture")],
    out: Annotated[Path, typer.Option(help="folder for the maps and maps.json")] = Path("explained"),
    clip: Annotated[str, typer.Option(help="a CLIP tower by open_clip's name; default: the backbone")] = "",
    weights: Annotated[str, typer.Option(help="CLIP's: a local checkpoint, or random for a trial")] = "",
    sha256: Annotated[str | None, typer.Option(help="of that checkpoint")] = None,
    model: Annotated[Path | None, typer.Option(help="AF-CLIP's adaptor and prompts")] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="default: 518; params.yaml's")] = None,
) -> None:
    """Show what a frozen network makes of a picture: CLIP's attention and similarity, or the backbone's."""
    import torch

    from adlib.base.errors import UserError
    from adlib.config.params import load_params
    from adlib.data.images import read_rgb, resize_rgb
    from adlib.embedding.networks.backbones import load_backbone
    from adlib.embedding.networks.clip import clip_frame
    from adlib.embedding.networks.clip_loading import load_clip
    from adlib.tools.explain import backbone_maps, clip_maps, read_learned, write_maps
    from adlib.tools.tuning_cost import quarters

    rgb = read_rgb(image)
    if clip:
        if not weights:
            raise UserError("--weights: name a local checkpoint of CLIP, or random for a trial of the route")
        tower = load_clip(clip, weights, sha256)
        size = image_size or PAPERS_SIZE
        patch = tower.model.visual.conv1.kernel_size[0]
        if size % patch:
            raise UserError(f"--image-size: must be a multiple of {clip}'s patch {patch}, got {size}")
        frame = clip_frame(rgb, size)
        learned = read_learned(model) if model else None
        maps = clip_maps(tower, frame, quarters(clip, tower.model.visual), learned)
        about = {"network": clip, "weights": "random" if weights == "random" else tower.weights_sha256}
    else:
        params = load_params()
        frame = resize_rgb(rgb, image_size or params.image_size, params.keep_aspect)
        backbone = load_backbone(params.backbone, torch.device("cpu"))
        maps = backbone_maps(backbone, frame, params.backbone.out_indices)
        about = {"network": params.backbone.name, "weights": backbone.weights_sha256}
    write_maps(out, frame, maps, {"image": image.name, **about, "model": str(model) if model else None})
    typer.echo(f"{len(maps)} maps of {about['network']} ({about['weights'][:12]}) in {out}")
