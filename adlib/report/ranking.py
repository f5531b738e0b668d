"""`triage.csv`: the training images of every fit that doubts some, ranked by suspicion."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from adlib.base.errors import UserError
from adlib.base.tables import read_csv, write_csv


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
    write_csv(path, [field.name for field in fields(Suspect)], map(_row, suspects))


def read_triage(path: str | Path) -> list[Suspect]:
    """Read triage.csv.

    Raises:
        UserError: the file is missing.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; run `dvc repro` first")
    return [
        Suspect(
            row["category"], row["method"], row["noise"], row["seed"], int(row["rank"]), row["id"],
            row["path"], float(row["suspicion"]), float(row["weight"]), float(row["score"]),
        )
        for row in read_csv(path)
    ]  # fmt: skip


def _row(suspect: Suspect) -> list[object]:
    return [f"{value:.6g}" if isinstance(value, float) else value for value in asdict(suspect).values()]
