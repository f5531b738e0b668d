"""Where a dataset comes from, tried in order: a local folder, an installed package, an archive, a download.

Buckets and folders that DVC should follow are DVC's: `adlib data add` (`dvc import-url`).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from adlib.base.files import sha256_file
from adlib.base.progress import say
from adlib.data.manifest import DataError
from adlib.datasets import DATASETS, dataset_source
from adlib.datasets.catalogue import Archive, Benchmark
from adlib.supply.archives import unpack
from adlib.supply.downloads import DownloadError, download, file_name

PINS = Path("checksums.json")


def obtain(
    name: str,
    benchmark: Benchmark,
    target: Path,
    *,
    archives: Sequence[Path] = (),
    urls: Sequence[str] = (),
    sha256: str | None = None,
    pins: Path = PINS,
) -> Path:
    """Make sure that a published dataset is here; returns its folder.

    Args:
        target: where it lies or shall lie (`dataset.root`); not looked at for packaged sets.
        archives: files that were downloaded by hand.
        urls: addresses of its archive, tried before the published ones.
        sha256: of that archive; None: as published.
        pins: checksums of archives that were downloaded without a published one.

    Raises:
        DataError: a form or a login is in the way (the message says what to do by hand), or `target` holds
            something else.
        DownloadError, ArchiveError: no address brought the archive, or it cannot be unpacked.
    """
    if benchmark.package:
        return dataset_source(name, str(target), benchmark.package.partition("==")[2]).folder
    if target.is_dir() and any(target.iterdir()):
        return _recognised(name, target)
    if target.exists():
        target.rmdir()
    say(f"{benchmark.title}: {benchmark.licence}; cite {benchmark.citation}")
    if archives:
        for archive in archives:
            _check(archive, benchmark, sha256)
        unpack(target, *archives)
        return _recognised(name, target)
    wanted = _wanted(benchmark, urls, sha256)
    if not wanted:
        raise DataError(
            f"{benchmark.title} cannot be downloaded by a program: {benchmark.instructions}; "
            f"then set dataset.root to its folder. Licence: {benchmark.licence}"
        )
    folder = target.with_name(f".{target.name}.downloads")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files = [download(a.urls, folder / a.file, a.sha256, pins=pins) for a in wanted]
    except DownloadError as error:
        raise DownloadError(f"{error}\n  {benchmark.instructions}".rstrip()) from error
    unpack(target, *files)
    shutil.rmtree(folder)
    return _recognised(name, target)


def _recognised(name: str, target: Path) -> Path:
    """The folder, if it holds categories of this set. Raises DataError."""
    if not DATASETS[name].categories(dataset_source(name, str(target), "").folder):
        raise DataError(
            f"{target}: holds files, but no category of {name}; name the folder inside it that does, or "
            "another one to fetch to (docs/datasets.md has the layouts)"
        )
    return target


def _wanted(benchmark: Benchmark, urls: Sequence[str], sha256: str | None) -> list[Archive]:
    """The archives to download: the one at `urls`, or what is published with an address."""
    if not urls:
        return [archive for archive in benchmark.archives if archive.urls]
    published = benchmark.archives[0] if len(benchmark.archives) == 1 else None
    if published:
        known = sha256 or published.sha256
        return [Archive(file=published.file, urls=(*urls, *published.urls), sha256=known)]
    return [Archive(file=file_name(urls[0]), urls=tuple(urls), sha256=sha256)]


def _check(archive: Path, benchmark: Benchmark, sha256: str | None) -> None:
    """Refuse a file that is not the published one. Raises DataError."""
    if not archive.is_file():
        raise DataError(f"--archive: no file {archive}")
    allowed = {sha256} if sha256 else {published.sha256 for published in benchmark.archives} - {None}
    found = sha256_file(archive)
    if allowed and found not in allowed:
        raise DataError(
            f"{archive}: has sha256 {found}, expected {' or '.join(map(str, allowed))}; fetch it again, "
            "or pass --sha256 with its own value if you trust it"
        )
