"""ELPV: electroluminescence images of solar cells (Buerhop-Lux et al. 2018; CC BY-NC-SA 4.0).

2,624 grey images of 300 x 300 pixels, mono- and polycrystalline, each with a probability of being defective.
Normal is 0 and anomalous is 1; the ambiguous thirds are left out. No masks, no published split.
"""

from pathlib import Path

from adlib.data.manifest import GOOD, DataError, Record
from adlib.data.source import Source

DEFECT = "defective"


def source(_root: str, version: str) -> Source:
    """The data folder of the installed package `elpv-dataset`."""
    return Source("data", f"elpv-dataset=={version}", "elpv_dataset")


def categories(root: Path) -> list[str]:
    """`mono` and `poly`."""
    return sorted({kind for _, _, kind in _rows(root)})


def records(root: Path, category: str) -> list[Record]:
    """The clear-cut images of one kind of cell."""
    certain = ((path, p) for path, p, kind in _rows(root) if kind == category and (p < 0.01 or p > 0.99))
    return [Record(path, None, GOOD if p < 0.5 else DEFECT) for path, p in certain]


def _rows(root: Path) -> list[tuple[str, float, str]]:
    """`labels.csv` has no header and is split on whitespace: path, probability, type."""
    lines = (root / "labels.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    if any(len(row) != 3 for row in rows):
        raise DataError(f"{root / 'labels.csv'}: every line must hold path, probability and type")
    return [(path, float(probability), kind) for path, probability, kind in rows]
