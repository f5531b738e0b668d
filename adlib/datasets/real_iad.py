"""Real-IAD (Wang et al. 2024), single view: 30 objects; the split is a JSON file an object.

<root>/realiad_jsons/realiad_jsons/<object>.json       {"train": [...], "test": [...]}
<root>/realiad_<256|512|1024|raw>/<object>/...         paths in the JSON are relative to this folder

An item has `image_path`, `mask_path` and `anomaly_class` (`OK`: normal). File names are never built: they mix
`_` and `__`. One resolution may lie under the root.
"""

from pathlib import Path
from typing import Any

from adlib.base.files import read_json
from adlib.data.manifest import GOOD, DataError, Record, Split

JSONS = Path("realiad_jsons", "realiad_jsons")
RESOLUTIONS = tuple(f"realiad_{size}" for size in ("256", "512", "1024", "raw"))
SPLITS: tuple[Split, ...] = ("train", "test")


def categories(root: Path) -> list[str]:
    """Every object that has a folder of images and a split."""
    base = _resolution(root)
    if not (root / JSONS).is_dir():
        raise DataError(f"{root / JSONS}: the splits are missing; fetch and unpack realiad_jsons.zip too")
    return sorted(path.stem for path in (root / JSONS).glob("*.json") if (base / path.stem).is_dir())


def records(root: Path, category: str) -> list[Record]:
    """The items of both parts of the split, with their files checked."""
    table = root / JSONS / f"{category}.json"
    base, parts = _resolution(root) / category, read_json(table)
    if not isinstance(parts, dict) or not set(SPLITS) <= set(parts):
        raise DataError(f"{table}: must hold the keys train and test; fetch it again")
    return [_record(root, base, table, split, item) for split in SPLITS for item in parts[split]]


def _resolution(root: Path) -> Path:
    found = [name for name in RESOLUTIONS if (root / name).is_dir()]
    if len(found) != 1:
        raise DataError(
            f"{root}: one of {', '.join(RESOLUTIONS)} must lie here, found {', '.join(found) or 'none'}"
        )
    return root / found[0]


def _record(root: Path, base: Path, table: Path, split: Split, item: dict[str, Any]) -> Record:
    try:
        image, kind, mask = item["image_path"], item["anomaly_class"], item.get("mask_path") or ""
    except KeyError as error:
        raise DataError(f"{table}: an item lacks {error}: {item}; fetch the file again") from None
    if split == "train" and kind != "OK":
        raise DataError(f"{table}: an anomaly in train ({image}); use {table.name} without _fuiad")
    if kind != "OK" and not mask:
        raise DataError(f"{image}: anomalous image without a mask in {table}")
    for path in filter(None, (image, mask)):
        if not (base / path).is_file():
            raise DataError(f"{table}: no file {base / path}; unpack the object's whole archive")
    path = (base / image).relative_to(root).as_posix()
    if kind == "OK":
        return Record(path, split, GOOD)
    return Record(path, split, kind, (base / mask).relative_to(root).as_posix())
