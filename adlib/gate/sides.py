"""The two sides of a comparison: results, lock and parameters of the workspace, a git revision or a file."""

import csv
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adlib.base.errors import UserError
from adlib.base.yaml import parse_yaml
from adlib.config.variants import variant_name
from adlib.gate.lock import PARAMS, RESULTS, Lock, flatten
from adlib.gate.rules import Cell
from adlib.report.provenance import git
from adlib.report.results import HEADER

WORKSPACE = "workspace"
LOCK = "dvc.lock"

# A path relative to the project's root to its bytes, or None where there is no such file.
Reader = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: as the user wrote it, with the commit of a revision.
        values: seed -> value of every cell of results.csv.
        datasets: category -> name of its dataset.
        lock: dvc.lock, or None where there is none.
        params: params.yaml, flattened, or None where there is none.
        folder: the root of its project, which holds DVC's outputs or cache.
        commit: the git commit to read DVC's outputs at; None for those that lie in `folder`.
        notes: what a reader should know about it.
    """

    name: str
    values: dict[Cell, dict[int, float]]
    datasets: dict[str, str]
    lock: Lock | None
    params: dict[str, Any] | None
    folder: Path
    commit: str | None
    notes: tuple[str, ...]


def open_side(name: str, root: Path) -> Side:
    """Read a side of a comparison.

    Args:
        name: `workspace`, the path of a results.csv, a git revision, or the name of a DVC experiment; a file
            comes before a revision of the same name.
        root: the root of the project.

    Raises:
        UserError: there is no such thing, or it holds no readable results.
    """
    if name == WORKSPACE:
        return _side(name, _file_reader(root), RESULTS, root)
    path = Path(name) if Path(name).is_absolute() else root / name
    if path.is_file():
        return _open_file(name, path.resolve())
    commit = _commit(name, root)
    return _side(
        f"{name} ({commit[:7]})", lambda file: git(root, "show", f"{commit}:./{file}"), RESULTS, root, commit
    )


def _open_file(name: str, path: Path) -> Side:
    """The results of another run: its dvc.lock lies beside the file, or above its folder `report`."""
    homes = [path.parent, path.parent.parent] if path.parent.name == "report" else [path.parent]
    home = next((folder for folder in homes if (folder / LOCK).is_file()), path.parent)
    return _side(name, _file_reader(home), path.relative_to(home).as_posix(), home)


def _side(name: str, read: Reader, results: str, folder: Path, commit: str | None = None) -> Side:
    content = read(results)
    if content is None:
        raise UserError(
            f"{name}: no {results} there; a side of a comparison needs one (`dvc repro` writes it)"
        )
    values, datasets = read_values(content, f"{results} of {name}")
    locked, params = read(LOCK), read(PARAMS)
    lock = None if locked is None else Lock(locked.decode(), name)
    notes = []
    if lock is not None:
        if lock.made(RESULTS) != _md5(content):
            notes.append(
                f"{name}: {results} is not what dvc.lock records (edited, or the run did not finish)"
            )
        if params is not None and lock.used_params() != _md5(params):
            notes.append(f"{name}: params.yaml has changed since these results were made; run `dvc repro`")
    flat = None if params is None else _params(params, name)
    return Side(name, values, datasets, lock, flat, folder, commit, tuple(notes))


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def read_values(content: bytes, name: str) -> tuple[dict[Cell, dict[int, float]], dict[str, str]]:
    """The rows of a results.csv as cell -> seed -> value, and the dataset of each category.

    Raises:
        UserError: not a results.csv, a value that is no finite number, or a row twice.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name}: not a CSV file ({error})") from None
    missing = [column for column in HEADER if not rows or column not in rows[0]]
    if missing:
        wanted = ", ".join(HEADER)
        raise UserError(f"{name}: needs rows with the columns {wanted}; missing: {', '.join(missing)}")
    values: dict[Cell, dict[int, float]] = {}
    datasets: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        try:
            method = variant_name(row["method"], int(row.get("shots", 0)))
            cell = Cell(row["category"], method, f"{float(row['noise']):g}", row["metric"])
            seed, value = int(row["seed"]), float(row["value"])
        except (TypeError, ValueError):
            raise UserError(
                f"{name}, line {number}: noise, seed, value (and shots) must be numbers, got {row}"
            ) from None
        if not math.isfinite(value):
            raise UserError(
                f"{name}, line {number}: value must be finite, got {value}; rerun that evaluation"
            )
        if seed in values.setdefault(cell, {}):
            raise UserError(f"{name}, line {number}: {cell}, seed {seed}, is there twice; run `dvc repro`")
        values[cell][seed] = value
        if datasets.setdefault(cell.category, row["dataset"]) != row["dataset"]:
            raise UserError(f"{name}, line {number}: {cell.category} is of two datasets; run `dvc repro`")
    return values, datasets


def _params(content: bytes, name: str) -> dict[str, Any]:
    found = parse_yaml(content, f"params.yaml of {name}")
    if not isinstance(found, dict):
        raise UserError(f"params.yaml of {name}: must hold keys and values, got {type(found).__name__}")
    return flatten(found)


def _file_reader(folder: Path) -> Reader:
    def read(file: str) -> bytes | None:
        path = folder / file
        return path.read_bytes() if path.is_file() else None

    return read


def _commit(name: str, root: Path) -> str:
    """The full hash of a revision's or an experiment's commit."""
    if git(root, "rev-parse", "--git-dir") is None:
        raise UserError(
            f"{name}: no such file, and {root.resolve()} is not in a git repository to look it up in"
        )
    found = git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if found is not None:
        return found.decode().strip()
    # refs/exps/<2 digits of the baseline>/<38 digits>/<name>
    refs = (git(root, "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps") or b"").decode()
    named = [line.split() for line in refs.splitlines() if line.split()[0].split("/")[4:] == [name]]
    head = (git(root, "rev-parse", "HEAD") or b"").decode().strip()
    here = [entry for entry in named if "".join(entry[0].split("/")[2:4]) == head]
    chosen = here or named
    if not chosen:
        raise UserError(
            f"{name}: no such file, git revision or experiment; `git log` and `dvc exp list --all-commits` "
            "list them (a shallow clone lacks older revisions: `git fetch --unshallow`)"
        )
    if len(chosen) > 1:
        raise UserError(
            f"{name}: {len(chosen)} experiments have this name, none on HEAD; give one of their hashes: "
            + ", ".join(sha[:10] for _, sha in chosen)
        )
    return chosen[0][1]
