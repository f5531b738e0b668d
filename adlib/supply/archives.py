"""Unpacking archives that somebody else made: nothing outside the target, no links, no bombs, all or nothing.

Sizes are checked both as declared and as they come out. The target appears under its name only when it is
complete.
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
from typing import IO, Literal

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

    def check(self, size: int) -> None:
        """Refuse a member of this declared size, before a byte of it is unpacked."""
        if size > self.bytes or self.files < 1:
            raise ArchiveError(
                f"{self.archive}: unpacks to far more than an archive of its size should (a bomb?); "
                "unpack it by hand if you trust it"
            )


@dataclass(frozen=True, slots=True)
class _Member:
    """An entry of an archive; `kind` is neither for links and devices."""

    name: str
    kind: Literal["file", "folder", "neither"]
    size: int
    open: Callable[[], IO[bytes]]


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
        for member in members:
            path = folder / safe_path(member.name, archive)
            if member.kind == "neither":
                raise ArchiveError(
                    f"{archive}: {member.name!r} is a link or a device; only files are unpacked"
                )
            if member.kind == "file":
                budget.check(member.size)
                _check_disk(archive, folder, member.size)
                _write(member, path, budget)


def _write(member: _Member, path: Path, budget: _Budget) -> None:
    if path.exists():
        raise ArchiveError(f"{budget.archive}: holds {member.name!r} twice; unpack it by hand")
    path.parent.mkdir(parents=True, exist_ok=True)
    budget.files -= 1
    with member.open() as stream, path.open("xb") as sink:
        while chunk := stream.read(CHUNK):
            # Counted again: what an archive declares need not be what comes out of it.
            budget.check(len(chunk))
            budget.bytes -= len(chunk)
            sink.write(chunk)


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
        mode = stat.S_IFMT(info.external_attr >> 16)
        special = mode not in (0, stat.S_IFREG, stat.S_IFDIR)
        kind = "neither" if special else "folder" if info.is_dir() else "file"
        # The name as stored: `filename` ends at a zero byte.
        yield _Member(info.orig_filename, kind, info.file_size, partial(opened.open, info))


def _tar_members(opened: tarfile.TarFile) -> Iterator[_Member]:
    for info in opened:
        kind = "file" if info.isreg() else "folder" if info.isdir() else "neither"
        yield _Member(info.name, kind, info.size, partial(_extract, opened, info))
    _check_end(opened)


def _check_end(opened: tarfile.TarFile) -> None:
    """A tar cut between two members looks complete to tarfile; only its closing block of zeros is missing."""
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends too early")
    opened.fileobj.read(CHUNK)  # to the end of the padding, where the checksum of a packed file is


def _extract(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = opened.extractfile(info)
    if stream is None:  # only for what is no file
        raise tarfile.TarError(f"{info.name} has no content")
    return stream


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


def _check_disk(archive: Path, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ArchiveError(
            f"{archive}: {needed / 2**30:.2f} GiB to come, {free / 2**30:.2f} GiB free; make room"
        )
