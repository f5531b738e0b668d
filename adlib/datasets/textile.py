"""Simulated textile images with local and global defects (package `conformal-clip-data`, MIT).

1,000 nominal, 500 local and 500 global images of 250 x 250 pixels. No masks, no published split.
"""

from pathlib import Path

from adlib.data.manifest import GOOD, Record
from adlib.data.source import Source

CATEGORY = "simulated"
FOLDERS = {"nominal": GOOD, "local": "local", "global": "global"}


def source(_root: str, version: str) -> Source:
    """The image folder of the installed package `conformal-clip-data`."""
    return Source("data/textile_images", f"conformal-clip-data=={version}", "conformal_clip_data")


def categories(root: Path) -> list[str]:
    """`simulated`."""
    return [CATEGORY] if (root / CATEGORY).is_dir() else []


def records(root: Path, category: str) -> list[Record]:
    """The images of the three folders."""
    return [
        Record(file.relative_to(root).as_posix(), None, defect)
        for folder, defect in FOLDERS.items()
        for file in sorted((root / category / folder).glob("*.jpg"))
    ]
