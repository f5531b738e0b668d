"""The datasets that params.yaml can name. A new one is a module here and a line in `DATASETS`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adlib.data.manifest import DataError, Record
from adlib.data.source import Source
from adlib.datasets import (
    btad,
    dagm,
    elpv,
    folder,
    globs,
    kolektor,
    lesions,
    medical,
    mvtec_ad_2,
    mvtec_loco,
    real_iad,
    rsdd,
    textile,
    visa,
)
from adlib.datasets.files import given_root, root_or_below


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


def _lesions(name: str, *tops: str) -> Layout:
    return Layout(root_or_below(*tops), partial(lesions.categories_of, name), lesions.records)


_MASKED_FOLDER = Layout(given_root, folder.categories, folder.records_with_masks)
_FOLDER = Layout(given_root, folder.categories, folder.records)

DATASETS = {
    "elpv": Layout(elpv.source, elpv.categories, elpv.records),
    "textile": Layout(textile.source, textile.categories, textile.records),
    "samples": _FOLDER,
    "folder": _FOLDER,
    "globs": Layout(given_root, globs.categories, globs.records),
    "mvtec": _MASKED_FOLDER,
    "mpdd": _MASKED_FOLDER,
    "dtd-synthetic": _MASKED_FOLDER,
    "viaduct": _MASKED_FOLDER,
    "visa": Layout(given_root, visa.categories, visa.records),
    "btad": Layout(root_or_below(btad.TOP), btad.categories, btad.records),
    "ksdd": Layout(given_root, kolektor.ksdd_categories, kolektor.ksdd_records),
    "ksdd2": Layout(given_root, kolektor.ksdd2_categories, kolektor.ksdd2_records),
    "rsdd": Layout(given_root, rsdd.categories, rsdd.records),
    "dagm": Layout(root_or_below(dagm.TOP), dagm.categories, dagm.records),
    "mvtec-ad-2": Layout(given_root, mvtec_ad_2.categories, mvtec_ad_2.records),
    "mvtec-loco": Layout(given_root, mvtec_loco.categories, mvtec_loco.records),
    "real-iad": Layout(given_root, real_iad.categories, real_iad.records),
    "headct": Layout(given_root, medical.headct_categories, medical.headct_records),
    "brainmri": Layout(given_root, medical.brainmri_categories, medical.yes_no_records),
    "br35h": Layout(given_root, medical.br35h_categories, medical.yes_no_records),
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
