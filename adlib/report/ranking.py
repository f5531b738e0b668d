"""`triage.csv`: the training images of every fit that doubts some, ranked by suspicion."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adlib.base.errors import UserError
from adlib.base.tables import read_records, write_records


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row of triage.csv; rank 1 is the most suspect image of a fit."""

    category: str
    method: str
    noise: str
    seed: str
    rank: int
    id: str
    path: str
    suspicion: float
    weight: float
    score: float


def rank(category: str, method: str, rows: Iterable[Mapping[str, str]]) -> list[Suspect]:
    """Rank the training images of every fit by suspicion.

    Args:
        category: of the rows.
        method: likewise.
        rows: of images.csv; those without a suspicion (test images, methods that doubt none) are left out.
    """
    fits: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in rows:
        if row["suspicion"]:
            fits.setdefault((row["noise"], row["seed"]), []).append(row)
    return [
        Suspect(
            category, method, noise, seed, place, row["id"], row["path"],
            *(float(row[column]) for column in ("suspicion", "weight", "score")),
        )
        for (noise, seed), members in fits.items()
        for place, row in enumerate(sorted(members, key=lambda row: (-float(row["suspicion"]), row["id"])), 1)
    ]  # fmt: skip


def write_triage(path: str | Path, suspects: Iterable[Suspect]) -> None:
    """Write triage.csv."""
    write_records(path, suspects, Suspect, floats=".6g")


def read_triage(path: str | Path) -> list[Suspect]:
    """Read triage.csv.

    Raises:
        UserError: the file is missing.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; run `dvc repro` first")
    return read_records(path, Suspect)
