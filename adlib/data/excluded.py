"""`excluded.csv`: images that a person has taken out of training; tracked by git, read by `contaminate`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from adlib.base.tables import read_records, write_records


@dataclass(frozen=True, slots=True)
class Excluded:
    """A row of excluded.csv: an image that is not to train, and why."""

    category: str
    id: str
    path: str
    reason: str


def read_excluded(path: str | Path, category: str | None = None) -> list[Excluded]:
    """Read the list, of one category or all."""
    return [row for row in read_records(path, Excluded) if category in (None, row.category)]


def add_excluded(path: str | Path, images: Iterable[Excluded]) -> int:
    """Add images to the list, each once; returns how many are new. A row that is there stays as it is."""
    rows = {(row.category, row.id): row for row in (read_excluded(path) if Path(path).exists() else [])}
    before = len(rows)
    for row in images:
        rows.setdefault((row.category, row.id), row)
    write_records(path, (rows[key] for key in sorted(rows)), Excluded)
    return len(rows) - before
