"""RSDDs (Gan et al. 2017): rail surfaces. Every image has a defect, so it serves as a test set only.

<root>/Type-I RSDDs dataset/{Rail surface images,GroundTruth}/<name>.*, and the same for Type-II: image and
mask share their name. The masks are JPEG: values from 128 on are defects here, from 155 or 200 on elsewhere.
"""

from pathlib import Path

from adlib.data.manifest import Record
from adlib.datasets.files import check_folders, image_files, masked_records

FOLDERS = {"type-I": "Type-I RSDDs dataset", "type-II": "Type-II RSDDs dataset"}
DEFECT = "defective"


def categories(root: Path) -> list[str]:
    """`type-I` and `type-II`."""
    return [name for name, folder in FOLDERS.items() if (root / folder).is_dir()]


def records(root: Path, category: str) -> list[Record]:
    """The images of one type of rail, all of them anomalous test images."""
    base = root / FOLDERS[category]
    check_folders(base, ["GroundTruth", "Rail surface images"])
    images = image_files(base / "Rail surface images")
    return masked_records(root, images, base / "GroundTruth", "test", DEFECT)
