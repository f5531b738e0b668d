"""`adlib data add`: `data.dvc` for a folder, a bucket or an archive, which the pipeline reads as `data`."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from adlib.data.manifest import DataError
from adlib.supply.archives import SUFFIXES, is_archive, unpack
from adlib.supply.datasets import PINS
from adlib.supply.downloads import download, file_name

OUT = "data"
WEB = ("http", "https")


def add(source: str, project: Path = Path(), sha256: str | None = None) -> Path:
    """Make `source` the DVC output `data`; returns its `data.dvc`.

    A folder or bucket is imported unfrozen, so that a plain `dvc repro` follows it. An archive, here or on
    the web, is unpacked once and its content tracked.

    Args:
        source: a folder, an archive, the address of an archive (`https://`), or what `dvc import-url` takes
            (`s3://`, `gs://`, `azure://`, `ssh://`, `remote://` …).
        project: the root of the DVC project.
        sha256: of an archive on the web; None: pinned when it first comes.

    Raises:
        DataError: no DVC project, no such folder, neither a folder nor an archive, files in `data` that DVC
            does not know, or DVC refuses.
        DownloadError, ArchiveError: the archive cannot be had or unpacked; `data` is as it was.
    """
    file = project / f"{OUT}.dvc"
    web, local = urlsplit(source).scheme in WEB, project / source
    name = Path(file_name(source)) if web else local
    if not (project / ".dvc").is_dir():
        raise DataError(f"{project.absolute()}: no DVC project; run from the root of the project's clone")
    if "://" not in source and not local.exists():
        raise DataError(f"{source}: no such file or folder, and no address either")
    if (web or local.is_file()) and not is_archive(name):
        raise DataError(
            f"{source}: is one file; name a folder, a bucket or an archive ({', '.join(SUFFIXES)})"
        )
    if (project / OUT).exists() and not file.exists():
        raise DataError(f"{project / OUT}: exists, and DVC does not know it; move it away first")
    if not (web or local.is_file()):
        _dvc(project, "import-url", "--force", source, OUT)
        _dvc(project, "unfreeze", file.name)
        return file
    with tempfile.TemporaryDirectory(dir=project, prefix=f".{OUT}-") as scratch:
        archive = local
        if web:
            archive = download([source], Path(scratch, name.name), sha256, pins=project / PINS)
        unpack(Path(scratch, OUT), archive)
        shutil.rmtree(project / OUT, ignore_errors=True)
        Path(scratch, OUT).rename(project / OUT)
    file.unlink(missing_ok=True)  # of an import, which `dvc add` would not replace
    _dvc(project, "add", OUT)
    return file


def _dvc(project: Path, *command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "dvc", *command], cwd=project, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise DataError(f"dvc {' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
