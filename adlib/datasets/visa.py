"""VisA (Zou et al. 2022): 12 objects; the published one-class split is a table.

<root>/split_csv/1cls.csv                     object,split,label,image,mask (paths from the root)
<root>/<object>/Data/Images/{Normal,Anomaly}/NNN.JPG
<root>/<object>/Data/Masks/Anomaly/NNN.png    class indices 1..9: every value above 0 is a defect
"""

from pathlib import Path

from adlib.base.tables import read_csv
from adlib.data.manifest import GOOD, DataError, Record, Split
from adlib.datasets.files import check_folders

TABLE = "split_csv/1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")
SPLITS: dict[str, Split] = {"train": "train", "test": "test"}
DEFECTS = {"normal": GOOD, "anomaly": "anomaly"}


def categories(root: Path) -> list[str]:
    """The objects of the table whose folder is there."""
    return sorted({row["object"] for row in _rows(root) if (root / row["object"]).is_dir()})


def records(root: Path, category: str) -> list[Record]:
    """The rows of one object, with their files checked."""
    check_folders(root / category / "Data" / "Images", ["Anomaly", "Normal"])
    return [_record(root, row) for row in _rows(root) if row["object"] == category]


def _rows(root: Path) -> list[dict[str, str]]:
    table = root / TABLE
    if not table.is_file():
        raise DataError(
            f"{table}: the table of the split is missing; copy split_csv/ out of the archive, or from the "
            "repository amazon-science/spot-diff"
        )
    rows = read_csv(table)
    if not rows or tuple(rows[0]) != COLUMNS:
        raise DataError(
            f"{table}: the header must be {','.join(COLUMNS)}, got {','.join(rows[0] if rows else ())}"
        )
    return rows


def _record(root: Path, row: dict[str, str]) -> Record:
    line = ",".join(str(value) for value in row.values())
    if row["split"] not in SPLITS or row["label"] not in DEFECTS:
        raise DataError(
            f"{root / TABLE}: split must be train or test and label normal or anomaly, got {line!r}"
        )
    split, defect = SPLITS[row["split"]], DEFECTS[row["label"]]
    if defect != GOOD and split == "train":
        raise DataError(f"{root / TABLE}: an anomaly in train ({line!r}); use the published 1cls.csv")
    if (defect == GOOD) != (not row["mask"]):
        raise DataError(f"{root / TABLE}: anomalies have a mask and normal images none, got {line!r}")
    for path in filter(None, (row["image"], row["mask"])):
        if not (root / path).is_file():
            raise DataError(f"{root / TABLE}: no file {path}; unpack the whole archive")
    return Record(row["image"], split, defect, row["mask"])
