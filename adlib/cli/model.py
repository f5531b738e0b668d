"""Commands about a fitted model: what it says of images and why, and which training images it doubts."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


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


def evidence(
    images: Annotated[list[str], typer.Argument(help="files, folders or quoted patterns")],
    model: Annotated[
        Path, typer.Option(help="a fit's folder of this workspace: outputs/fits/<category>/<method>/<run>")
    ],
    out: Annotated[Path, typer.Option(help="JSON file to write")] = Path("evidence.json"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
) -> None:
    """Why images have their scores: anomalous patches, the nearest normal training images, confidence."""
    from adlib.base.files import write_json
    from adlib.tools.evidence import evidence
    from adlib.tools.predict import find_images

    found = evidence(find_images(images), model, device=device)
    write_json(out, found)
    for image in found:
        weight = "-" if image["confidence"] is None else f"{image['confidence']:.2f}"
        like = f", most like {image['patches'][0]['nearest'][0][0]}" if image["patches"] else ""
        typer.echo(
            f"{image['path']}: score {image['score']:.4g}, {image['decision'] or 'no threshold'}, "
            f"confidence {weight}, {len(image['patches'])} anomalous patches{like}"
        )
    typer.echo(f"{len(found)} images: {out}")


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
    from adlib.data.images import read_rgb
    from adlib.tools.explain import explain_with_backbone, explain_with_clip, write_maps

    rgb = read_rgb(image)
    if clip:
        seen = explain_with_clip(rgb, clip, weights, sha256=sha256, model=model, image_size=image_size)
    else:
        seen = explain_with_backbone(rgb, image_size=image_size)
    about = {"image": image.name, "network": seen.network, "weights": seen.weights}
    write_maps(out, seen.frame, seen.maps, {**about, "model": str(model) if model else None})
    typer.echo(f"{len(seen.maps)} maps of {seen.network} ({seen.weights[:12]}) in {out}")


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
