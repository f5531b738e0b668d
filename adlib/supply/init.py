"""`adlib data init`: the `dataset.yaml` (layout `globs`) of a folder whose names tell good from bad images.

A name is cut into words at everything but letters: `bolt_OK-03.png` has the words bolt, ok and png. Folder
names count as well.
"""

import glob
import io
import re
from collections import defaultdict
from os.path import commonprefix
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from adlib.base.files import write_text
from adlib.data.manifest import GOOD, DataError
from adlib.datasets.files import SUFFIXES
from adlib.datasets.globs import FILE

GOOD_WORDS = frozenset({"good", "ok", "normal", "pass", "passed", "fine", "healthy", "io"})
BAD_WORDS = frozenset({
    "bad", "ng", "nok", "ko", "nio", "not", "fail", "failed", "reject", "defect", "defective", "defects",
    "anomaly", "anomalies", "anomalous", "abnormal", "faulty",
})  # fmt: skip
HEADER = """\
# Which files are what, for dataset.name: globs. Patterns are relative to this folder, ** is any depth.
# More kinds of defect: further keys under anomalous. Pixel masks: masks: "masks/{stem}_mask.png"
# ({stem}, {name} and {folder} are the image's). train: a fraction of the normal images, or patterns.
"""


def initialise(root: Path, category: str, *, train: float = 0.8, force: bool = False) -> tuple[int, int]:
    """Write `dataset.yaml` for the images below `root`; returns the numbers of normal and anomalous ones.

    Raises:
        DataError: there is a dataset.yaml (unless `force`), there is no image, or a name tells nothing while
            others do, or tells both.
    """
    file = root / FILE
    if file.exists() and not force:
        raise DataError(f"{file}: exists already; edit it, or pass --force to write it anew")
    paths = _images(root)
    kinds = classify(paths)
    normal = [path for path, kind in kinds.items() if kind == GOOD]
    anomalous = [path for path, kind in kinds.items() if kind != GOOD]
    if len(normal) < 2:
        raise DataError(f"{root}: {len(normal)} normal images; at least 2 are needed, to train and to test")
    body: dict[str, Any] = {"normal": patterns(normal, paths)}
    if anomalous:
        body["anomalous"] = {"bad": patterns(anomalous, paths)}
    body |= {"masks": None, "train": train}
    text = io.StringIO()
    YAML().dump({category: body}, text)
    write_text(file, HEADER + text.getvalue())
    return len(normal), len(anomalous)


def classify(paths: list[str]) -> dict[str, str]:
    """`good` or `bad` for every path; all are good if no name has a word for either.

    Raises:
        DataError: only some names have such a word, or one has both.
    """
    words = {path: set(re.findall(r"[^\W\d_]+", path.lower())) for path in paths}
    good = {path for path in paths if words[path] & GOOD_WORDS}
    bad = {path for path in paths if words[path] & BAD_WORDS}
    unclear = sorted((good & bad) | (set(paths) - good - bad))
    if good and unclear:  # if only bad images are marked, the others are good
        raise DataError(
            f"{len(unclear)} names tell neither good nor bad, or both: {', '.join(unclear[:5])}; name files "
            "or folders with good or bad, or write dataset.yaml by hand"
        )
    return {path: "bad" if path in bad else GOOD for path in paths}


def patterns(chosen: list[str], everything: list[str]) -> list[str]:
    """Glob patterns that match exactly `chosen` among `everything`: a folder's `*.png`, else single names."""
    found: list[str] = []
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in chosen:
        groups[_place(path)].append(path)
    for (folder, suffix), paths in sorted(groups.items()):
        prefix = "" if folder == "." else f"{glob.escape(folder)}/"
        alike = {p for p in everything if p not in paths and _place(p) == (folder, suffix)}
        names = [PurePosixPath(path).name for path in paths]
        # Without the trailing digits of a number.
        start = commonprefix(names).rstrip("0123456789") if len(names) > 1 else ""  # noqa: RUF071
        if not alike:
            found.append(f"{prefix}*{suffix}")
        elif start and not any(PurePosixPath(path).name.startswith(start) for path in alike):
            found.append(f"{prefix}{glob.escape(start)}*{suffix}")
        else:
            found.extend(glob.escape(path) for path in paths)
    return found


def _place(path: str) -> tuple[str, str]:
    """Folder and suffix."""
    return str(PurePosixPath(path).parent), PurePosixPath(path).suffix


def _images(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name the folder of your images")
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix.lower() in SUFFIXES)
    paths = [path.relative_to(root).as_posix() for path in files]
    shown = sorted(path for path in paths if not any(part.startswith(".") for part in path.split("/")))
    if not shown:
        raise DataError(f"{root}: no image (allowed: {', '.join(sorted(SUFFIXES))})")
    return shown
