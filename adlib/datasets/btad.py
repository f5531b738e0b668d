"""BTAD (Mishra et al. 2021): three products. Images and masks differ in format, so they are paired by stem.

BTech_Dataset_transformed/<01|02|03>/{train/ok, test/ok, test/ko, ground_truth/ko}/NNNN.*

01 has BMP images and PNG masks, 02 PNG and PNG, 03 BMP and BMP. `ok` and `ko` restart their numbering.
"""

from pathlib import Path

from adlib.data.manifest import Record
from adlib.datasets.files import check_folders, image_files, masked_records, plain_records, subfolders

TOP = "BTech_Dataset_transformed"
DEFECT = "ko"


def categories(root: Path) -> list[str]:
    """Every folder that holds `train/ok`: `01`, `02`, `03`."""
    return [path.name for path in subfolders(root) if (path / "train" / "ok").is_dir()]


def records(root: Path, category: str) -> list[Record]:
    """The images of one product."""
    base = root / category
    check_folders(base, ["train", "test", "ground_truth"])
    check_folders(base / "train", ["ok"])
    check_folders(base / "test", ["ok", "ko"])
    defective = image_files(base / "test" / "ko")
    return [
        *plain_records(root, image_files(base / "train" / "ok"), "train"),
        *plain_records(root, image_files(base / "test" / "ok"), "test"),
        *masked_records(root, defective, base / "ground_truth" / "ko", "test", DEFECT),
    ]
