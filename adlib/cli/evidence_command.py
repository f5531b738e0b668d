"""`adlib evidence`: the patches, neighbours and confidence behind a score."""

from pathlib import Path
from typing import Annotated

import typer


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
