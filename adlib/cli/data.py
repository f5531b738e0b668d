"""Find, fetch, look at, check and set up image datasets."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from adlib.base.progress import track
from adlib.config.params import Params, load_params
from adlib.data.manifest import DataError, Record
from adlib.datasets import DATASETS, dataset_records, dataset_source
from adlib.datasets.catalogue import catalogue
from adlib.datasets.globs import FILE

app = typer.Typer(no_args_is_help=True, help=__doc__)
Name = Annotated[str | None, typer.Argument(help="a name of `adlib data list`; default: params.yaml's")]
Root = Annotated[Path | None, typer.Option(help="where the set lies; default: dataset.root of params.yaml")]
Category = Annotated[list[str] | None, typer.Option(help="may be repeated; default: all")]


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


@app.command("list", epilog="Example: adlib data list")
def list_() -> None:
    """The datasets that `dataset.name` may name, and what is known about them."""
    table = Table(
        Column("name", no_wrap=True),
        "title",
        "categories",
        "train / normal / anomalous",
        "masks",
        "licence",
        "from",
    )
    for name in DATASETS:
        if name not in catalogue():
            table.add_row(name, "your own images" if name != "samples" else "the project's samples")
            continue
        entry = catalogue()[name]
        counts = " / ".join(map(str, entry.counts)) if entry.counts else "not confirmed"
        source = "package" if entry.package else "by hand"
        if any(archive.urls for archive in entry.archives):
            source = "download"
        masks = "yes" if entry.masks else "no"
        table.add_row(name, entry.title, str(entry.categories), counts, masks, entry.licence, source)
    Console().print(table)


@app.command(epilog="Example: adlib data show --category mono")
def show(
    name: Name = None,
    root: Root = None,
    category: Category = None,
    sheet: Annotated[Path, typer.Option(help="contact sheet to write")] = Path("contact-sheet.png"),
) -> None:
    """Counts by split and kind of defect, sizes, and a contact sheet of every category."""
    from adlib.data.images import image_size
    from adlib.supply.contact_sheet import contact_sheet
    from adlib.supply.verify import groups, size_summary

    name, folder, categories = _chosen(name, root, category)
    for one in categories:
        records = dataset_records(name, folder, one)
        table = Table("split", "kind", "images", "masks", title=f"{name}: {one}", title_justify="left")
        for (split, defect), members in groups(records).items():
            table.add_row(split, defect, str(len(members)), str(sum(bool(r.mask) for r in members)))
        console = _console()
        console.print(table)
        console.print(size_summary([image_size(folder / record.path) for record in records]))
        file = sheet if len(categories) == 1 else sheet.with_stem(f"{sheet.stem}-{one}")
        file.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(folder, records).save(file)
        console.print(f"contact sheet: {file}")


@app.command(epilog="Example: adlib data verify --root photos")
def verify(name: Name = None, root: Root = None, category: Category = None) -> None:
    """Read every file; look for problems: images, masks, duplicates, balance. Exits with 1 for one."""
    from adlib.supply.verify import findings, inspect, published

    name, folder, categories = _chosen(name, root, category)
    problems = 0
    records: list[Record] = []
    console = _console()
    for one in categories:
        members = dataset_records(name, folder, one)
        records += members
        with track(one, len(members), "img") as advance:
            images, unreadable = inspect(folder, members, advance)
        test_only = name in catalogue() and catalogue()[name].test_only
        console.print(f"{name}: {one}", markup=False)
        for finding in findings(members, images, unreadable, test_only=test_only):
            problems += finding.problem
            console.print("  [red]problem[/] " if finding.problem else "  note    ", end="")
            console.print(finding.what, markup=False)
    if name in catalogue() and not category:
        for finding in published(records, len(categories), catalogue()[name]):
            problems += finding.problem
            console.print("[red]problem[/] " if finding.problem else "note    ", end="")
            console.print(finding.what, markup=False)
    console.print(f"{problems} problems in {len(records)} images")
    if problems:
        raise typer.Exit(1)


@app.command(epilog="Example: adlib data fetch visa")
def fetch(
    name: Name = None,
    root: Root = None,
    archive: Annotated[list[Path] | None, typer.Option(help="a file that you downloaded by hand")] = None,
    url: Annotated[list[str] | None, typer.Option(help="tried before the published addresses")] = None,
    sha256: Annotated[str | None, typer.Option(help="of the archive")] = None,
) -> None:
    """Bring a published dataset to its folder, from a package, an archive or the net, by its checksum."""
    from adlib.supply.datasets import obtain

    params = load_params()
    name = name or params.dataset.name
    if name not in catalogue():
        raise DataError(
            f"{name}: not a published dataset; allowed: {', '.join(catalogue())}. Your own: adlib data add"
        )
    block = next((block for block in (params.dataset, params.auxiliary) if block.name == name), None)
    folder = obtain(
        name,
        catalogue()[name],
        root or (Path(block.root) if block else Path("datasets") / name),
        archives=archive or (),
        urls=url or (block.urls if block else ()),
        sha256=sha256 or (block.sha256 if block else None),
    )
    _console().print(f"{name} is in {folder}", markup=False)


@app.command(epilog="Example: adlib data add photos\n\nExample: adlib data add s3://bucket/photos")
def add(
    source: Annotated[str, typer.Argument(help="a folder, a bucket, an archive or an archive's address")],
    sha256: Annotated[str | None, typer.Option(help="of an archive on the web")] = None,
) -> None:
    """Make SOURCE the DVC output `data`: `dvc repro` follows a folder or bucket, an archive is unpacked."""
    from adlib.supply.add import add as add_to_dvc

    file = add_to_dvc(source, sha256=sha256)
    _console().print(f"{file} written for {source}; params.yaml: dataset.root: data", markup=False)


@app.command(epilog="Example: adlib data init photos --category bolts")
def init(
    folder: Annotated[Path, typer.Argument(help="the folder of your images")],
    category: Annotated[str | None, typer.Option(help="default: the folder's name")] = None,
    train: Annotated[float, typer.Option(min=0.01, max=0.99, help="fraction of the normal images")] = 0.8,
    force: Annotated[bool, typer.Option("--force", help="write dataset.yaml anew")] = False,
) -> None:
    """Describe a folder whose names tell good from bad (or that holds good ones only) in a dataset.yaml."""
    from adlib.supply.init import initialise

    category = category or folder.resolve().name
    normal, anomalous = initialise(folder, category, train=train, force=force)
    console = _console()
    console.print(f"{folder / FILE}: {normal} normal and {anomalous} anomalous images", markup=False)
    console.print(f"params.yaml: dataset.name: globs, root: {folder}, categories: [{category}]", markup=False)
    if not anomalous:
        console.print("no anomalous image: a model can be trained, but evaluation needs some")


def _chosen(name: str | None, root: Path | None, categories: list[str] | None) -> tuple[str, Path, list[str]]:
    """The dataset's name, folder and categories, from the command line, else from params.yaml."""
    if name is None and root is not None:
        name = "globs" if (root / FILE).is_file() else "folder"
    params: Params | None = None if name and root else load_params()
    name = name or (params.dataset.name if params else "")
    if name not in DATASETS:
        raise DataError(f"{name}: no such dataset; allowed: {', '.join(DATASETS)}")
    package = catalogue()[name].package if name in catalogue() else ""
    version = package.partition("==")[2]
    folder = dataset_source(name, str(root or (params.dataset.root if params else "")), version).folder
    known = DATASETS[name].categories(folder)
    if not known:
        raise DataError(f"{folder}: no category of {name} here; see docs/datasets.md for its layout")
    return name, folder, categories or known
