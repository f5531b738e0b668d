"""The static import closure of a module: which of the project's files a stage really uses.

Two things rest on it: a test that the folders under a stage's `deps` in dvc.yaml hold it (DVC sees an edit
only in what is listed), and the code version in the key of stored features and fits.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("adlib", "stages")
# Edits here cannot change a number: parameter values enter a key by themselves, the rest moves bytes.
INERT = (
    "adlib/__init__.py",  # the version, and what the rooms are for
    "adlib/config",
    "adlib/base/code.py",
    "adlib/base/errors.py",
    "adlib/base/files.py",
    "adlib/base/progress.py",
    "adlib/base/store.py",
    "adlib/base/tables.py",
    "adlib/base/yaml.py",
)


def import_closure(*modules: str) -> tuple[Path, ...]:
    """Files of this project that `modules` import, directly or not, themselves included.

    Imports inside functions count; package `__init__` files count where they hold code. Paths are
    relative to the project's root and sorted.
    """
    seen: set[Path] = set()
    todo = [file for module in modules for file in _files(module)]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo.extend(_imported(file))
    return tuple(sorted(file.relative_to(ROOT) for file in seen))


@cache
def code_version(*modules: str) -> str:
    """The sha256 (hex) over the sources that decide what `modules` compute: their closure less `INERT`."""
    digest = hashlib.sha256()
    for file in (file for file in import_closure(*modules) if not _inert(file)):
        digest.update(file.as_posix().encode() + b"\0" + (ROOT / file).read_bytes() + b"\0")
    return digest.hexdigest()


def _inert(file: Path) -> bool:
    return any(file.is_relative_to(place) for place in INERT)


def _files(module: str) -> list[Path]:
    """The source files that importing `module` executes; [] when it is not the project's."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return []
    files = [ROOT.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
    files.append(ROOT.joinpath(*parts).with_suffix(".py"))
    return [file for file in files if file.is_file() and file.stat().st_size]


def _imported(file: Path) -> list[Path]:
    files: list[Path] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = file.relative_to(ROOT).parent.parts
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, node.module) if node.module else above)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        files.extend(file for name in names for file in _files(name))
    return files
