"""What the layouts share: listing folders and images in a fixed order, and pairing masks by stem.

Folders and files whose names start with a dot are nobody's data. Suffixes count whatever their case.
"""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from adlib.data.manifest import GOOD, DataError, Record, Split
from adlib.data.source import Source

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


def given_root(root: str, _version: str = "") -> Source:
    """A `Layout.source`: `dataset.root`, relative to the project's root or absolute."""
    return Source(root)


def root_or_below(*tops: str) -> Callable[[str, str], Source]:
    """A `Layout.source`: `dataset.root`, or the first of the folders `tops` in it, as archives bring it."""

    def find(root: str, _version: str) -> Source:
        below = (f"{root}/{top}" for top in tops if Path(root, top).is_dir())
        return Source(next(below, root))

    return find


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted; none if it is missing."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def image_files(folder: Path, *, needed: bool = True) -> list[Path]:
    """The image files in `folder`, sorted. Raises DataError if there are none, unless `needed` is False."""
    found: list[Path] = []
    if folder.is_dir():
        files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        found = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
    if needed and not found:
        raise DataError(f"{folder}: no image (allowed: {', '.join(sorted(SUFFIXES))})")
    return found


def check_folders(folder: Path, needed: Iterable[str], allowed: Collection[str] = ()) -> None:
    """Refuse a folder that lacks one of the folders `needed`, or holds one that is not in the layout.

    Raises:
        DataError: the message lists what is missing or strange.
    """
    wanted, found = list(needed), {path.name for path in subfolders(folder)}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{folder}: no folder {', '.join(missing)}; this layout needs {', '.join(wanted)}")
    strangers = sorted(found - {*wanted, *allowed})
    if strangers:
        raise DataError(
            f"{folder}: unknown folder {', '.join(strangers)}; this layout has "
            f"{', '.join(dict.fromkeys([*wanted, *allowed]))}: move it away"
        )


def by_stem(files: Iterable[Path], ending: str = "") -> dict[str, Path]:
    """Files by stem less `ending` (in any case). Raises DataError for a second file of one stem."""
    found: dict[str, Path] = {}
    for file in files:
        stem = file.stem
        if ending and stem.lower().endswith(ending.lower()):
            stem = stem[: -len(ending)]
        if stem in found:
            raise DataError(f"{file}: a second file for {stem!r} beside {found[stem].name}; keep one")
        found[stem] = file
    return found


def plain_records(root: Path, files: Iterable[Path], split: Split | None, defect: str = GOOD) -> list[Record]:
    """A record without a mask for every file."""
    return [Record(file.relative_to(root).as_posix(), split, defect) for file in files]


def masked_records(
    root: Path, files: Iterable[Path], masks: Path, split: Split | None, defect: str, ending: str = ""
) -> list[Record]:
    """Anomalous images, each with the file `<stem><ending>.*` in the folder `masks`.

    Raises:
        DataError: an image without a mask, two masks for one image, or masks without an image.
    """
    rest = by_stem(image_files(masks, needed=False), ending)
    found = []
    for file in files:
        path = file.relative_to(root).as_posix()
        mask = rest.pop(file.stem, None)
        if mask is None:
            raise DataError(f"{path}: anomalous image without a mask; add {masks / file.stem}{ending}.*")
        found.append(Record(path, split, defect, mask.relative_to(root).as_posix()))
    if rest:
        names = ", ".join(mask.name for mask in list(rest.values())[:5])
        raise DataError(f"{masks}: {len(rest)} masks without an image: {names}")
    return found
