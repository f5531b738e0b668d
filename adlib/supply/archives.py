"""Unpacking archives that somebody else made: nothing outside the target, no links, no bombs, all or nothing.

`zipfile` and `tarfile` (with its filter for data) write the files. Here lies what they let pass: bombs, links
within, names that they would mend. The target appears under its name only when it is complete.
"""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from adlib.base.errors import UserError
from adlib.base.files import atomic_directory

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CHUNK = 1 << 20
# RuntimeError: encrypted; NotImplementedError: an exotic compression.
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
)


class ArchiveError(UserError):
    """An archive that is damaged, of an unknown kind, or not safe to unpack."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold, inner archives included.

    Attributes:
        ratio: bytes unpacked for each byte of the archive; pictures, packed already, hardly shrink.
        slack: bytes that are allowed whatever the ratio (a small archive of blank masks).
        files: number of members.
        depth: archives inside archives that are opened.
    """

    ratio: float = 100.0
    slack: int = 1 << 28
    files: int = 2_000_000
    depth: int = 2


@dataclass(slots=True)
class _Budget:
    """What is left of the limits while unpacking."""

    archive: Path
    bytes: int
    files: int

    def spend(self, size: int) -> None:
        """Count a file of this declared size before it is unpacked; no more than that ever comes out."""
        self.bytes -= size
        self.files -= 1
        if self.bytes < 0 or self.files < 0:
            raise ArchiveError(
                f"{self.archive}: unpacks to far more than an archive of its size should (a bomb?); "
                "unpack it by hand if you trust it"
            )


class _Member(NamedTuple):
    """An entry of an archive that is no folder, and what writes it below a folder."""

    name: str
    is_file: bool
    size: int
    extract: Callable[[Path], object]


def is_archive(path: Path) -> bool:
    """Whether the file's name ends as that of an archive that `unpack` opens."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(target: Path, *archives: Path, limits: Limits = Limits()) -> None:
    """Unpack zip or tar archives, and the archives in them, to the new folder `target`.

    An inner archive is unpacked in the folder it lies in, and removed.

    Raises:
        ArchiveError: an archive is unsafe, too large or damaged, the disk is too small, or `target` exists.
            Nothing is left behind then.
    """
    if target.exists():
        raise ArchiveError(f"{target}: exists already; name a new folder, or move it away")
    for archive in archives:
        if not archive.is_file() or not is_archive(archive):
            raise ArchiveError(f"{archive}: must be a file that ends in {', '.join(SUFFIXES)}")
    with atomic_directory(target, first_wins=True) as folder:
        for archive in archives:
            size = archive.stat().st_size
            budget = _Budget(archive, int(limits.ratio * size) + limits.slack, limits.files)
            _unpack(archive, folder, budget)
            for _ in range(limits.depth):
                _unpack_inner(folder, budget)


def _unpack_inner(folder: Path, budget: _Budget) -> None:
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and is_archive(path)):
        _unpack(path, path.parent, budget)
        path.unlink()


def _unpack(archive: Path, folder: Path, budget: _Budget) -> None:
    with _members(archive) as members:
        for name, is_file, size, extract in members:
            # zipfile and tarfile mend unsafe names and overwrite what is there; both would change a dataset.
            path = folder / safe_path(name, archive)
            if not is_file:
                raise ArchiveError(f"{archive}: {name!r} is a link or a device; only files are unpacked")
            budget.spend(size)
            if missing := lack_of_room(folder, size):
                raise ArchiveError(f"{archive}: {missing}")
            if path.exists():
                raise ArchiveError(f"{archive}: holds {name!r} twice; unpack it by hand")
            extract(folder)


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    """The entries in the order of the archive; whatever is damaged in it becomes an ArchiveError."""
    try:
        if archive.suffix.lower() == ".zip":
            with zipfile.ZipFile(archive) as opened:
                yield _zip_members(opened)
        else:
            with tarfile.open(archive) as opened:
                yield _tar_members(opened)
    except ArchiveError:
        raise
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:200]
        raise ArchiveError(
            f"{archive}: cannot be unpacked ({type(error).__name__}: {reason}); "
            "fetch it again, or make room if the disk is full"
        ) from error


def _zip_members(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        if not info.is_dir():
            is_file = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            # The name as stored: `filename` ends at a zero byte.
            yield _Member(info.orig_filename, is_file, info.file_size, partial(opened.extract, info))


def _tar_members(opened: tarfile.TarFile) -> Iterator[_Member]:
    for info in opened:
        if not info.isdir():
            # The filter refuses devices, and links that lead out; a set has no use for links within either.
            extract = partial(opened.extract, info, filter="data")
            yield _Member(info.name, info.isreg(), info.size, extract)
    # A tar cut between two members looks complete to tarfile; only its closing block of zeros is missing.
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends too early")
    opened.fileobj.read(CHUNK)  # to the end of the padding, where the checksum of a packed file is


def safe_path(name: str, archive: Path) -> PurePosixPath:
    """A member's path, which stays below the folder it is unpacked in on every system.

    Raises:
        ArchiveError: it is empty or absolute, or has `..`, a backslash, a drive letter, a control character.
    """
    path = PurePosixPath(name)
    windows = "\\" in name or ":" in name.split("/")[0]
    if path.is_absolute() or ".." in path.parts or windows or not name.isprintable():
        raise ArchiveError(
            f"{archive}: {name!r} would leave the target or is no portable name; nothing was unpacked"
        )
    return path


def lack_of_room(folder: Path, needed: int) -> str:
    """What is wrong if so many bytes do not fit on the disk of a folder; "" if they do."""
    free = shutil.disk_usage(folder).free
    gib = 2**30
    return "" if needed <= free else f"{needed / gib:.2f} GiB to come, {free / gib:.2f} GiB free; make room"
