"""Any tree in MVTec-AD's layout, with or without pixel masks.

<root>/<category>/train/good/*            normal images
<root>/<category>/test/good/*             normal images
<root>/<category>/test/<defect>/*         anomalous images
<root>/<category>/ground_truth/<defect>/<stem>_mask.*   or <stem>.*   (optional as a whole)
"""

from pathlib import Path

from adlib.data.manifest import GOOD, DataError, Record, Split
from adlib.datasets.files import check_folders, image_files, subfolders

# VIADUCT's validation images are not read.
MORE_FOLDERS = ("val",)


def categories(root: Path) -> list[str]:
    """Every folder that holds `train/good`."""
    return sorted(path.name for path in root.iterdir() if (path / "train" / GOOD).is_dir())


def records(root: Path, category: str) -> list[Record]:
    """Every image of a category, masks paired by stem."""
    base = root / category
    strangers = [p.name for p in subfolders(base / "train") if p.name != GOOD]
    if strangers:
        raise DataError(f"{base / 'train'}: only {GOOD!r} belongs here, found {', '.join(strangers)}")
    if not (base / "test").is_dir():
        raise DataError(
            f"{base}: no folder 'test'; it must hold {GOOD!r} and a folder for each kind of defect"
        )
    masks = _masks(base / "ground_truth")
    folders: list[tuple[Split, Path]] = [("train", base / "train" / GOOD)]
    folders.extend(("test", folder) for folder in subfolders(base / "test"))
    found: list[Record] = []
    for split, folder in folders:
        found.extend(_record(root, split, file, masks) for file in image_files(folder))
    if masks is not None:
        _check_every_mask_used(masks, found, base)
    return found


def records_with_masks(root: Path, category: str) -> list[Record]:
    """`records` of a benchmark that publishes masks: a missing `ground_truth` is an error."""
    check_folders(root / category, ["ground_truth", "test", "train"], MORE_FOLDERS)
    return records(root, category)


def _record(root: Path, split: Split, file: Path, masks: dict[tuple[str, str], Path] | None) -> Record:
    path, defect = file.relative_to(root).as_posix(), file.parent.name
    if masks is None or defect == GOOD:
        return Record(path, split, defect)
    mask = masks.get((defect, file.stem))
    if mask is None:
        raise DataError(
            f"{path}: anomalous image without a mask; add ground_truth/{defect}/{file.stem}_mask.png, "
            "or remove the whole ground_truth folder if the set has no masks"
        )
    return Record(path, split, defect, mask.relative_to(root).as_posix())


def _masks(folder: Path) -> dict[tuple[str, str], Path] | None:
    """`(defect, stem of the image)` to mask; None when the category has no masks at all."""
    if not folder.is_dir():
        return None
    masks: dict[tuple[str, str], Path] = {}
    for file in (file for defect in subfolders(folder) for file in image_files(defect, needed=False)):
        key = (file.parent.name, file.stem.removesuffix("_mask"))
        if key in masks:
            raise DataError(f"{file}: a second mask for one image beside {masks[key].name}; keep one")
        masks[key] = file
    return masks


def _check_every_mask_used(masks: dict[tuple[str, str], Path], found: list[Record], base: Path) -> None:
    used = {(record.defect, Path(record.path).stem) for record in found}
    orphans = sorted(
        str(file.relative_to(base)) for key, file in masks.items() if key not in used and key[0] != GOOD
    )
    if orphans:
        raise DataError(f"{base}: {len(orphans)} masks without an image: {', '.join(orphans[:5])}")
