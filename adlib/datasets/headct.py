"""Head CT: image labels only, and no published split.

<root>/labels.csv (header, then id and 0 or 1), head_ct/[head_ct/]NNN.png; 1 is a haemorrhage
"""

import csv
from pathlib import Path

from adlib.data.manifest import GOOD, DataError, Record
from adlib.datasets.files import by_stem, image_files


def categories(root: Path) -> list[str]:
    """`headct`."""
    return ["headct"] if (root / "head_ct").is_dir() else []


def records(root: Path, _category: str) -> list[Record]:
    """The images that `labels.csv` lists."""
    table = root / "labels.csv"
    if not table.is_file():
        raise DataError(f"{table}: the labels are missing; it lies beside the folder head_ct in the download")
    inner = root / "head_ct" / "head_ct"
    images = by_stem(image_files(inner if inner.is_dir() else root / "head_ct"))
    labels = _labels(table)
    unknown = sorted(set(images) ^ set(labels))
    if unknown:
        raise DataError(f"{table}: every image has one line, which fails for {', '.join(unknown[:5])}")
    return [
        Record(file.relative_to(root).as_posix(), None, "haemorrhage" if labels[stem] else GOOD)
        for stem, file in images.items()
    ]


def _labels(table: Path) -> dict[str, bool]:
    """File stem (three digits) to label."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = [[cell.strip() for cell in row] for row in list(csv.reader(file))[1:] if row]
    if any(len(row) != 2 or not row[0].isdigit() or row[1] not in ("0", "1") for row in rows):
        raise DataError(f"{table}: after the header every line must hold an id and 0 or 1")
    return {f"{int(id):03}": label == "1" for id, label in rows}
