"""Any tree in MVTec-AD's layout, with or without pixel masks.

<root>/<category>/train/good/*            normal images
<root>/<category>/test/good/*             normal images
<root>/<category>/test/<defect>/*         anomalous images
<root>/<category>/ground_truth/<defect>/<stem>_mask.*   or <stem>.*   (optional as a whole)
"""

from pathlib import Path

from adlib.data.manifest import GOOD, DataError, Record, Split

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


def root(root: str, _version: str) -> Path:
    """`dataset.root`, relative to the project's root or absolute."""
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(
            f"dataset.root: no folder {root!r}; name the folder that holds the categories "
            "(an absolute path for queued and temporary experiments)"
        )
    return folder


def categories(root: Path) -> list[str]:
    """Every folder that holds `train/good`."""
    return sorted(path.name for path in root.iterdir() if (path / "train" / GOOD).is_dir())


def records(root: Path, category: str) -> list[Record]:
    """Every image of a category, masks paired by stem."""
    base = root / category
    strangers = [p.name for p in _folders(base / "train") if p.name != GOOD]
    if strangers:
        raise DataError(f"{base / 'train'}: only {GOOD!r} belongs here, found {', '.join(strangers)}")
    if not (base / "test").is_dir():
        raise DataError(
            f"{base}: no folder 'test'; it must hold {GOOD!r} and a folder for each kind of defect"
        )
    masks = _masks(base / "ground_truth")
    folders: list[tuple[Split, Path]] = [("train", base / "train" / GOOD)]
    folders.extend(("test", folder) for folder in _folders(base / "test"))
    found: list[Record] = []
    for split, folder in folders:
        files = _images(folder)
        if not files:
            raise DataError(f"{folder}: no image (allowed: {', '.join(sorted(SUFFIXES))})")
        found.extend(_record(root, split, file, masks) for file in files)
    if masks is not None:
        _check_every_mask_used(masks, found, base)
    return found


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
    for file in (file for defect in _folders(folder) for file in _images(defect)):
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


def _folders(folder: Path) -> list[Path]:
    """Subfolders; hidden ones (`.ipynb_checkpoints`) are nobody's defect."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    """Image files by suffix, whatever its case; hidden files and others are not looked at."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in SUFFIXES)
