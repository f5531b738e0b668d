"""MVTec AD 2 (Heckler-Kram et al. 2025): eight objects; of the test sets only the public one has labels.

<root>/<object>/{train,validation}/good, test_public/{good,bad}, test_public/ground_truth/bad/<stem>_mask.png,
and test_private/, test_private_mixed/, whose truth stays with the benchmark's server; neither they nor
`validation` are read.
"""

from pathlib import Path

from adlib.data.manifest import GOOD, Record
from adlib.datasets.files import check_folders, image_files, masked_records, plain_records, subfolders

DEFECT = "bad"


def categories(root: Path) -> list[str]:
    """Every folder that holds `test_public`."""
    return [path.name for path in subfolders(root) if (path / "test_public").is_dir()]


def records(root: Path, category: str) -> list[Record]:
    """The images of `train` and `test_public`."""
    base = root / category
    check_folders(base, ["train", "test_public"], ["validation", "test_private", "test_private_mixed"])
    check_folders(base / "train", [GOOD])
    test = base / "test_public"
    check_folders(test, [GOOD, DEFECT, "ground_truth"])
    masks = test / "ground_truth" / DEFECT
    return [
        *plain_records(root, image_files(base / "train" / GOOD), "train"),
        *plain_records(root, image_files(test / GOOD), "test"),
        *masked_records(root, image_files(test / DEFECT), masks, "test", DEFECT, "_mask"),
    ]
