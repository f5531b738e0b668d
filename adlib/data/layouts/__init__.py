"""The datasets that params.yaml can name. A new one is a module here and a line in `DATASETS`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adlib.data.layouts import elpv, folder, textile
from adlib.data.manifest import DataError, Record


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a dataset lies and how its files become records.

    Attributes:
        root: `(root, version)` of params.yaml to the folder that record paths are relative to.
        categories: the categories found under that folder, sorted.
        records: every image of a category.
    """

    root: Callable[[str, str], Path]
    categories: Callable[[Path], list[str]]
    records: Callable[[Path, str], list[Record]]


DATASETS = {
    "elpv": Layout(elpv.root, elpv.categories, elpv.records),
    "textile": Layout(textile.root, textile.categories, textile.records),
    "samples": Layout(folder.root, folder.categories, folder.records),
    "folder": Layout(folder.root, folder.categories, folder.records),
}


def dataset_root(name: str, root: str, version: str) -> Path:
    """The folder that the paths of a manifest are relative to."""
    return DATASETS[name].root(root, version)


def dataset_records(name: str, root: Path, category: str) -> list[Record]:
    """Every image of one category.

    Raises:
        DataError: the dataset has no such category, or its files do not fit the layout.
    """
    layout = DATASETS[name]
    known = layout.categories(root)
    if category not in known:
        raise DataError(
            f"dataset.categories: {name} has no category {category!r}; it has {', '.join(known) or 'none'}"
        )
    return layout.records(root, category)
