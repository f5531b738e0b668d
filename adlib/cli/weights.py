"""Find, fetch, check and convert pretrained weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from adlib.supply.weights.catalogue import Weights
    from adlib.supply.weights.obtain import Obtained

app = typer.Typer(no_args_is_help=True, help=__doc__)
Name = Annotated[str, typer.Argument(help="a name of `adlib weights list`, or timm/… or open_clip/…")]
File = Annotated[Path | None, typer.Option(help="a file of yours, which stays where it is")]
Sha256 = Annotated[str | None, typer.Option(help="of the file; default: as published or recorded")]


@app.command("list", epilog="Example: adlib weights list")
def list_() -> None:
    """The weights that `fetch` knows, and which of them are here."""
    from adlib.base.store import store_root
    from adlib.supply.weights.catalogue import catalogue
    from adlib.supply.weights.obtain import here, weights_folder

    folder = weights_folder() if store_root() else Path()
    table = Table(Column("name", no_wrap=True), "title", "licence", "from", "here")
    for name, weights in catalogue().items():
        source = "package" if weights.package else "download"
        mark = "yes" if here(weights, folder) else "no"
        table.add_row(name, weights.title, weights.licence, source, mark)
    Console().print(table)


@app.command(epilog="Example: adlib weights fetch clip-vit-l-14-336")
def fetch(
    name: Name,
    file: File = None,
    url: Annotated[list[str] | None, typer.Option(help="instead of the published addresses")] = None,
    hub: Annotated[str, typer.Option(help="owner/repository/file on the Hugging Face hub")] = "",
    sha256: Sha256 = None,
    to: Annotated[Path | None, typer.Option(help="folder; default: `weights` in the store")] = None,
) -> None:
    """Bring weights here, check them, and print the lines of params.yaml that use them."""
    from adlib.supply.weights.catalogue import find_weights
    from adlib.supply.weights.obtain import check, obtain, params_lines, weights_folder

    weights = find_weights(name)
    if file is None:
        elsewhere = not weights.package or url or hub
        folder = to or (weights_folder() if elsewhere else Path())
        file = obtain(weights, folder, urls=url or (), hub=hub, sha256=sha256)
    found = check(weights, file.absolute(), sha256=sha256)
    _print_found(weights, found)
    typer.echo("params.yaml:")
    for line in params_lines(weights, found):
        typer.echo(f"  {line}")


@app.command(epilog="Example: adlib weights verify timm/resnet34 --file resnet34.pt")
def verify(name: Name, file: File = None, sha256: Sha256 = None) -> None:
    """Check the sha256 of weights, and that their tensors are those of their network, and finite."""
    from adlib.embedding.networks.identity import WeightsError
    from adlib.supply.weights.catalogue import find_weights
    from adlib.supply.weights.obtain import check, here, weights_folder

    weights = find_weights(name)
    path = file or here(weights, Path() if weights.package else weights_folder())
    if path is None:
        raise WeightsError(f"{name} is not here; `adlib weights fetch {name}` brings it, --file names yours")
    _print_found(weights, check(weights, path.absolute(), sha256=sha256))


def _print_found(weights: "Weights", found: "Obtained") -> None:
    fit = found.comparison
    typer.echo(f"{found.path}")
    typer.echo(f"sha256 {found.sha256}: {found.trust}")
    typer.echo(
        f"fits {weights.architecture}: {fit.tensors} tensors, {fit.numbers:,} numbers; {weights.licence}"
    )


@app.command(
    "convert-afclip",
    epilog="Example: adlib weights convert-afclip a_adaptor.pt a_prompt.pt --out af.safetensors",
)
def convert_afclip(
    adaptor: Annotated[Path, typer.Argument(help="the authors' *_adaptor.pt")],
    prompt: Annotated[Path, typer.Argument(help="the authors' *_prompt.pt")],
    out: Annotated[Path, typer.Option(help="the .safetensors file to write")],
    model: Annotated[Path | None, typer.Option(help="a folder, for a whole model")] = None,
) -> None:
    """Turn AF-CLIP's released adaptor and prompts into named tensors; nothing in the files is run.

    With --model they become a model for `adlib predict`, together with the tower that `clip` of params.yaml
    names.
    """
    from safetensors.torch import save_file

    from adlib.base.files import atomic_path
    from adlib.supply.weights.afclip import released_tensors

    tensors = released_tensors(adaptor, prompt)
    with atomic_path(out) as temporary:
        save_file(tensors, temporary, metadata={"method": "afclip", "from": f"{adaptor.name}, {prompt.name}"})
    inner, dim = tensors["adaptor.to_q.weight"].shape
    length, width = tensors["prompts.vectors"].shape
    heads = int(tensors["heads"])
    learned = sum(tensor.numel() for name, tensor in tensors.items() if name != "heads")
    typer.echo(
        f"{out}: adaptor of width {dim}, {heads} heads of {inner // heads}; {length} prompt vectors of "
        f"width {width}; {learned:,} numbers"
    )
    if model is not None:
        from adlib.config.params import load_params
        from adlib.tools.released import write_released_model

        write_released_model(model, tensors, load_params())
        typer.echo(f"{model}: a model without a threshold; adlib predict IMAGES --model {model} --out FOLDER")
