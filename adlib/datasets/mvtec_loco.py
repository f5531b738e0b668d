"""MVTec LOCO AD (Bergmann et al. 2022): five objects with structural and logical anomalies.

<root>/<object>/{train,validation}/good, test/{good,logical_anomalies,structural_anomalies}/NNN.png

Image labels only. A logical anomaly has several masks whose areas saturate (sPRO), which no metric here
knows: pixel numbers from plain masks would compare with nobody's. `validation` is not read.
"""

from pathlib import Path

from adlib.data.manifest import GOOD, Record
from adlib.datasets.files import check_folders, image_files, plain_records, subfolders

DEFECTS = ("logical_anomalies", "structural_anomalies")


def categories(root: Path) -> list[str]:
    """Every folder that holds `test/logical_anomalies`."""
    return [path.name for path in subfolders(root) if (path / "test" / DEFECTS[0]).is_dir()]


def records(root: Path, category: str) -> list[Record]:
    """The images of `train` and `test`."""
    base = root / category
    check_folders(base, ["train", "test"], ["validation", "ground_truth"])
    check_folders(base / "train", [GOOD])
    check_folders(base / "test", [GOOD, *DEFECTS])
    test = [
        record
        for kind in (GOOD, *DEFECTS)
        for record in plain_records(root, image_files(base / "test" / kind), "test", kind)
    ]
    return [*plain_records(root, image_files(base / "train" / GOOD), "train"), *test]
