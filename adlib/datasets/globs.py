"""Any folder at all, described by glob patterns in `<root>/dataset.yaml`. `adlib data init` writes one.

    bolts:                          # a category
      normal: ["ok/**/*.png"]       # patterns relative to the root; ** is any depth
      anomalous:                    # a kind of defect and its patterns
        crack: ["crack_*.jpg"]
      masks: "masks/{stem}_mask.*"  # or null; {stem}, {name} and {folder} are the image's
      train: 0.8                    # fraction of the normal images that trains, or patterns of those that do

A fraction is drawn by the hashes of the paths: neither the file system's order nor another category matters,
and an added image moves at most one other.
"""

import glob
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, RootModel, ValidationError

from adlib.base.rng import shuffled
from adlib.base.yaml import ParamsError, read_yaml
from adlib.config.numbers import Block, Name
from adlib.data.manifest import GOOD, DataError, Record
from adlib.datasets.files import SUFFIXES

FILE = "dataset.yaml"


def _inside(pattern: str) -> str:
    if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
        raise ValueError("must be relative to the folder of dataset.yaml, without '..'")
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_inside)]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1)]


class Category(Block):
    """Which files of a folder are what."""

    normal: Patterns
    anomalous: dict[Name, Patterns] = Field(default_factory=dict)
    masks: Pattern | None = None
    train: Annotated[float, Field(gt=0, lt=1)] | Patterns = 0.8


Description = RootModel[dict[Name, Category]]


def categories(root: Path) -> list[str]:
    """The categories of `dataset.yaml`."""
    return sorted(_read(root))


def records(root: Path, category: str) -> list[Record]:
    """The files that the patterns of one category match.

    Raises:
        DataError: a pattern matches no image, a file is matched twice, or a mask is missing or not unique.
    """
    rules = _read(root)[category]
    defects = {GOOD: rules.normal, **rules.anomalous}
    files = {kind: matched(root, patterns) for kind, patterns in defects.items()}
    _check_disjoint(files, root / FILE)
    train = training_files(root, files[GOOD], rules.train, category)
    return [
        Record(path, "train" if path in train else "test", kind, _mask(root, path, kind, rules.masks))
        for kind, paths in files.items()
        for path in paths
    ]


def matched(root: Path, patterns: Iterable[str]) -> list[str]:
    """Image paths below `root`, POSIX style and sorted, that match any pattern; each must match one."""
    found: set[str] = set()
    for pattern in patterns:
        files = (path for path in root.glob(pattern) if path.is_file() and path.suffix.lower() in SUFFIXES)
        paths = {path.relative_to(root).as_posix() for path in files}
        if not paths:
            raise DataError(f"{root / FILE}: the pattern {pattern!r} matches no image below {root}")
        found |= paths
    return sorted(found)


def training_files(root: Path, normal: list[str], rule: float | Patterns, category: str) -> set[str]:
    """Which of the sorted normal paths train: a drawn fraction, leaving at least one out, or what matches."""
    if isinstance(rule, float | int):
        count = min(max(1, round(rule * len(normal))), len(normal) - 1)
        return set(shuffled(normal, 0, "globs", category)[:count])
    train = set(matched(root, rule))
    if not train <= set(normal):
        raise DataError(f"{root / FILE}: train matches {min(train - set(normal))}, which is not normal")
    return train


def _mask(root: Path, path: str, kind: str, template: str | None) -> str:
    if template is None or kind == GOOD:
        return ""
    image = PurePosixPath(path)
    names = {"{stem}": image.stem, "{name}": image.name, "{folder}": image.parent.name}
    pattern = template
    for placeholder, name in names.items():
        pattern = pattern.replace(placeholder, glob.escape(name))
    masks = [mask for mask in sorted(root.glob(pattern)) if mask.is_file()]
    if len(masks) != 1:
        raise DataError(f"{path}: one mask is needed, {len(masks)} files match {pattern}; mend {FILE}")
    return masks[0].relative_to(root).as_posix()


def _check_disjoint(files: dict[str, list[str]], table: Path) -> None:
    owner: dict[str, str] = {}
    for kind, paths in files.items():
        for path in paths:
            if path in owner:
                raise DataError(f"{table}: {path} is both {owner[path]} and {kind}; narrow the patterns")
            owner[path] = kind


def _read(root: Path) -> dict[str, Category]:
    file = root / FILE
    if not file.is_file():
        raise DataError(f"{file}: missing; `adlib data init {root}` writes one to start from")
    try:
        raw = read_yaml(file)
        return Description.model_validate_json(json.dumps(raw, default=str)).root
    except ParamsError as error:
        raise DataError(str(error)) from None
    except ValidationError as error:
        lines = [
            f"{file}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}, got {problem['input']!r}"
            for problem in error.errors(include_url=False)
        ]
        raise DataError("\n".join(lines)) from None
