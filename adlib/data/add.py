"""`adlib data add`: `data.dvc` for a folder, an address or a bucket, so that `dvc repro` follows it."""

import subprocess
import sys
from pathlib import Path

from adlib.data.manifest import DataError

OUT = "data"


def add(source: str, project: Path = Path()) -> Path:
    """Let DVC import `source` as `data`, unfrozen: a plain `dvc repro` then updates it.

    Args:
        source: a folder or file, or what `dvc import-url` takes (`https://`, `s3://`, `gs://`, `ssh://` …).
        project: the root of the DVC project.

    Raises:
        DataError: no DVC project, no such folder, files in `data` that DVC does not know, or DVC refuses.
    """
    file = project / f"{OUT}.dvc"
    if not (project / ".dvc").is_dir():
        raise DataError(f"{project.absolute()}: no DVC project; run from the root of the project's clone")
    if "://" not in source and not (project / source).exists():
        raise DataError(f"{source}: no such file or folder, and no address either")
    if (project / OUT).exists() and not file.exists():
        raise DataError(f"{project / OUT}: exists, and DVC does not know it; move it away first")
    for command in (["import-url", "--force", source, OUT], ["unfreeze", file.name]):
        result = subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=project, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise DataError(f"dvc {' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
    return file
