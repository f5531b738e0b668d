"""Files that are either whole or absent: everything is written to a temporary name and renamed."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from adlib.base.files import atomic_path


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows under a header; the same values give the same bytes on every platform."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Read a CSV file with a header, a dict a row."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
