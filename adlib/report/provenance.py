"""Where the numbers of a report come from: code, versions, data and settings."""

import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import adlib
from adlib.base.files import read_json
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.report.results import require

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow", "dvc")
UNKNOWN = "unknown"
SHOWN_CHANGES = 8


def git(folder: Path, *arguments: str) -> bytes | None:
    """What a git command prints, or None where git is missing, fails or takes too long."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def git_state(folder: Path) -> list[tuple[str, str]]:
    """The commit of a work tree, and what `git status` says differs from it."""
    revision = git(folder, "log", "-1", "--format=%H (%cs)")
    status = git(folder, "status", "--porcelain", "--untracked-files=no")
    if revision is None or status is None:
        return [("Git revision", UNKNOWN)]
    changed = [line[3:] for line in status.decode().splitlines()]
    text = ", ".join(changed[:SHOWN_CHANGES]) or "none"
    if len(changed) > SHOWN_CHANGES:
        text += f" and {len(changed) - SHOWN_CHANGES} more"
    return [("Git revision", revision.decode().strip()), ("Uncommitted changes", text)]


def software(folder: Path, device: str) -> list[tuple[str, str]]:
    """Versions of everything that could move a number."""
    return [
        ("adlib", adlib.__version__),
        *git_state(folder),
        ("Python", platform.python_version()),
        *((name, _version(name)) for name in PACKAGES),
        ("System", f"{platform.system()} {platform.machine()}"),
        ("Device", device),
    ]


def data_rows(params: Params, workspace: Workspace) -> list[tuple[str, str, str, str, str]]:
    """One row per category: its name, splits' sha256, backbone weights' sha256, feature key, vanished masks.

    The splits hold the sha256 of every image file that was trained on or tested: their hash covers the data.
    """
    rows = []
    for category in params.dataset.categories:
        splits = require(workspace.splits(category))
        metrics = read_json(require(workspace.evaluation(category, params.methods.names[0]) / "metrics.json"))
        rows.append((
            category,
            hashlib.sha256(splits.read_bytes()).hexdigest(),
            metrics["weights_sha256"],
            metrics["features_key"],
            str(metrics["vanished_masks"]),
        ))  # fmt: skip
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
