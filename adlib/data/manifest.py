"""The one record type of every dataset, and the two files that `fetch` makes of it.

The manifest (identity, path, split) is open to every stage. The labels (anomalous or not, kind of defect,
mask) are sealed: only `contaminate`, the training on an auxiliary set and `evaluate` may read them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from adlib.base.errors import UserError
from adlib.base.tables import TableError, read_records, write_records

GOOD = "good"
Split = Literal["train", "calibration", "test"]


class DataError(UserError):
    """A dataset does not look as it must; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image as a dataset's layout describes it.

    Attributes:
        path: relative to the dataset's root, POSIX style.
        split: of the three of `Split`; None where the dataset publishes no split (`fetch` then makes one).
        defect: `good`, or the kind of defect.
        mask: path of the pixel mask relative to the root; empty where there is none.
    """

    path: str
    split: Split | None
    defect: str = GOOD
    mask: str = ""

    @property
    def anomalous(self) -> bool:
        """Whether the image shows a defect."""
        return self.defect != GOOD


@dataclass(frozen=True, slots=True)
class Sample:
    """A row of the manifest: `id` is the sha256 of the image file's bytes."""

    id: str
    path: str
    split: Split


@dataclass(frozen=True, slots=True)
class Label:
    """A row of the sealed labels; `mask_sha256` makes an edited mask a changed label."""

    id: str
    defect: str
    mask: str
    mask_sha256: str

    @property
    def anomalous(self) -> bool:
        """Whether the image shows a defect."""
        return self.defect != GOOD


Row = TypeVar("Row", Sample, Label)


def write_rows(path: str | Path, rows: list[Row], kind: type[Row]) -> None:
    """Write samples or labels as CSV, sorted by id: a row's position tells nothing about its label."""
    write_records(path, sorted(rows, key=lambda row: row.id), kind)


def read_manifest(path: str | Path) -> list[Sample]:
    """Read a manifest, sorted by id."""
    return _read(path, Sample)


def read_labels(path: str | Path) -> dict[str, Label]:
    """Read sealed labels, keyed by sample id."""
    return {label.id: label for label in _read(path, Label)}


def _read(path: str | Path, kind: type[Row]) -> list[Row]:
    try:
        return read_records(path, kind)
    except TableError as error:
        raise DataError(f"{error}; rerun the fetch stage") from None
