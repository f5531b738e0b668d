"""KolektorSDD2 (Božič et al. 2021) and KolektorSDD (Tabernik et al. 2020): every image has a mask file.

KSDD2: <root>/{train,test}/NNNNN.png and NNNNN_GT.png. The archive also has byte copies, `10301 (copy).png`
and `10301_GT (copy).png`, and pickled splits: only names of digits are read. The defective images of `train`
are left out, as one-class training asks.

KSDD:  <root>/kosNN/PartM.jpg and PartM_label.bmp. Its folds come as a pickle, which is never loaded: there is
no split here. The parts of one item are alike, so a random split flatters.

An image is defective if its mask has any defect pixel.
"""

import re
from pathlib import Path

from adlib.data.images import image_size, read_mask
from adlib.data.manifest import GOOD, DataError, Record, Split
from adlib.datasets.files import by_stem, check_folders, image_files, subfolders

DEFECT = "defective"
SPLITS: tuple[Split, ...] = ("train", "test")


def ksdd2_categories(root: Path) -> list[str]:
    """`ksdd2`."""
    return ["ksdd2"] if (root / "train").is_dir() else []


def ksdd2_records(root: Path, _category: str) -> list[Record]:
    """Normal training images, and all test images."""
    check_folders(root, ["train", "test"])
    found = [record for split in SPLITS for record in _labelled(root, root / split, r"\d+", "_GT", split)]
    return [record for record in found if record.split == "test" or not record.anomalous]


def ksdd_categories(root: Path) -> list[str]:
    """`ksdd`."""
    return ["ksdd"] if any(root.glob("kos*/")) else []


def ksdd_records(root: Path, _category: str) -> list[Record]:
    """The parts of all items, without a split."""
    strangers = [path.name for path in subfolders(root) if not re.fullmatch(r"kos\d+", path.name)]
    if strangers:
        raise DataError(f"{root}: unknown folder {', '.join(strangers)}, all must be kosNN; move it away")
    return [
        record
        for folder in subfolders(root)
        for record in _labelled(root, folder, r"Part\d+", "_label", None)
    ]


def _labelled(root: Path, folder: Path, name: str, ending: str, split: Split | None) -> list[Record]:
    files = image_files(folder)
    images = [file for file in files if re.fullmatch(name, file.stem)]
    masks = by_stem([file for file in files if re.fullmatch(name + ending, file.stem)], ending)
    if not images:
        raise DataError(f"{folder}: no image named {name} (a regular expression) among {len(files)} files")
    return [_record(root, image, masks.get(image.stem), ending, split) for image in images]


def _record(root: Path, image: Path, mask: Path | None, ending: str, split: Split | None) -> Record:
    path = image.relative_to(root).as_posix()
    if mask is None:
        raise DataError(f"{path}: image without a mask; add {image.stem}{ending}.*, blank if it is normal")
    if not read_mask(mask, image_size(image)).any():
        return Record(path, split, GOOD)
    return Record(path, split, DEFECT, mask.relative_to(root).as_posix())
