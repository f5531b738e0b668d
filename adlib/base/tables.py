"""CSV tables: as dicts of text, or as records of a dataclass whose fields are the columns."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from adlib.base.errors import UserError
from adlib.base.files import atomic_path

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


class TableError(UserError):
    """A CSV file does not hold the records that it must; the message names the first wrong cell."""


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows under a header; the same values give the same bytes on every platform."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Read a CSV file with a header: one dict per row."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_records(path: str | Path, rows: Iterable[Row], kind: type[Row], *, floats: str = "") -> None:
    """Write one row per record, with the fields of `kind` as columns; None is an empty cell.

    Args:
        floats: their format, such as `.6g`; by default with every digit.
    """
    names = [field.name for field in fields(kind)]
    write_csv(path, names, ([_cell(getattr(row, name), floats) for name in names] for row in rows))


def read_records(path: str | Path, kind: type[Row]) -> list[Row]:
    """Read what `write_records` wrote; text becomes the str, int, float, bool or Literal of its field.

    Raises:
        TableError: a column is missing, or a cell is none of its field's values.
    """
    adapter, optional = TypeAdapter(kind), _optional(kind)
    records: list[Row] = []
    for number, row in enumerate(read_csv(path), 1):
        cells = {name: None if name in optional and cell == "" else cell for name, cell in row.items()}
        try:
            records.append(adapter.validate_python(cells))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            message = problem["msg"].removeprefix("Input ")
            raise TableError(
                f"{path}, row {number}: {problem['loc'][0]}: {message}, got {problem['input']!r}"
            ) from None
    return records


def _optional(kind: type[Any]) -> frozenset[str]:
    """The fields where an empty cell is None."""
    return frozenset(name for name, hint in get_type_hints(kind).items() if NoneType in get_args(hint))


def _cell(value: Any, floats: str) -> Any:
    return format(value, floats) if isinstance(value, float) else value
