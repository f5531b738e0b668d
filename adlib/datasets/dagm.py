"""DAGM 2007 (Wieler and Hahn 2007): ten generated textures with weak, elliptic labels.

DAGM_KaggleUpload/Class<n>/{Train,Test}/NNNN.PNG and .../Label/NNNN_label.PNG for the defective ones only: a
label file is the label. The defective images of `Train` are left out, as one-class training asks.
"""

from pathlib import Path

from adlib.data.manifest import Record, Split
from adlib.datasets.files import (
    by_stem,
    check_folders,
    image_files,
    masked_records,
    plain_records,
    subfolders,
)

TOP = "DAGM_KaggleUpload"
DEFECT = "defective"


def categories(root: Path) -> list[str]:
    """Every folder that holds `Train`: `Class1` to `Class10`."""
    return [path.name for path in subfolders(root) if (path / "Train").is_dir()]


def records(root: Path, category: str) -> list[Record]:
    """Normal images of `Train` and all images of `Test`."""
    check_folders(root / category, ["Train", "Test"])
    found = [*_half(root, root / category / "Train", "train"), *_half(root, root / category / "Test", "test")]
    return [record for record in found if record.split == "test" or not record.anomalous]


def _half(root: Path, folder: Path, split: Split) -> list[Record]:
    check_folders(folder, ["Label"])
    labels = by_stem(image_files(folder / "Label", needed=False), "_label")
    images = image_files(folder)
    defective = [file for file in images if file.stem in labels]
    normal = [file for file in images if file.stem not in labels]
    return [
        *plain_records(root, normal, split),
        *masked_records(root, defective, folder / "Label", split, DEFECT, "_label"),
    ]
