"""The datasets that params.yaml can name. A new one is a line here, with a row of `TREES` or a module."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adlib.data.manifest import DataError, Record
from adlib.data.source import Source
from adlib.datasets import dagm, elpv, folder, globs, headct, kolektor, lesions, real_iad, visa
from adlib.datasets.files import given_root, root_or_below
from adlib.datasets.trees import TREES


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a dataset lies and how its files become records.

    Attributes:
        source: `(root, version)` of params.yaml to the folder that record paths are relative to.
        categories: the categories found under that folder, sorted.
        records: every image of a category.
    """

    source: Callable[[str, str], Source]
    categories: Callable[[Path], list[str]]
    records: Callable[[Path, str], list[Record]]


def _tree(name: str, source: Callable[[str, str], Source] = given_root) -> Layout:
    return Layout(source, TREES[name].categories, TREES[name].records)


def _lesions(name: str, *tops: str) -> Layout:
    return Layout(root_or_below(*tops), partial(lesions.categories_of, name), lesions.records)


def _textile_source(_root: str, version: str) -> Source:
    return Source("data/textile_images", f"conformal-clip-data=={version}", "conformal_clip_data")


_MASKED_FOLDER = Layout(given_root, folder.categories, folder.records_with_masks)
_FOLDER = Layout(given_root, folder.categories, folder.records)

DATASETS = {
    "elpv": Layout(elpv.source, elpv.categories, elpv.records),
    "textile": _tree("textile", _textile_source),
    "samples": _FOLDER,
    "folder": _FOLDER,
    "globs": Layout(given_root, globs.categories, globs.records),
    "mvtec": _MASKED_FOLDER,
    "mpdd": _MASKED_FOLDER,
    "dtd-synthetic": _MASKED_FOLDER,
    "viaduct": _MASKED_FOLDER,
    "visa": Layout(given_root, visa.categories, visa.records),
    "btad": _tree("btad", root_or_below("BTech_Dataset_transformed")),
    "ksdd": Layout(given_root, kolektor.ksdd_categories, kolektor.ksdd_records),
    "ksdd2": Layout(given_root, kolektor.ksdd2_categories, kolektor.ksdd2_records),
    "rsdd": _tree("rsdd"),
    "dagm": Layout(root_or_below(dagm.TOP), dagm.categories, dagm.records),
    "mvtec-ad-2": _tree("mvtec-ad-2"),
    "mvtec-loco": _tree("mvtec-loco"),
    "real-iad": Layout(given_root, real_iad.categories, real_iad.records),
    "headct": Layout(given_root, headct.categories, headct.records),
    "brainmri": _tree("brainmri"),
    "br35h": _tree("br35h"),
    "isic": _lesions("isic"),
    "cvc-clinicdb": _lesions("cvc-clinicdb", "CVC-ClinicDB"),
    "cvc-colondb": _lesions("cvc-colondb", "CVC-ColonDB"),
    "kvasir": _lesions("kvasir", "Kvasir-SEG", "Kvasir"),
}


def dataset_source(name: str, root: str, version: str) -> Source:
    """Where the images of a dataset lie, by the keys of the block `dataset` or `auxiliary`."""
    return DATASETS[name].source(root, version)


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
