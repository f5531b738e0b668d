"""The content-addressed store of features and finished fits.

It lies outside the workspace, so that branches, clones and queued or temporary experiments share it; DVC's
outputs are assembled from it. An entry is a file or a folder named by the hash of everything that went into
it, written under a temporary name and renamed: two processes may write one entry at once, and a killed one
leaves no half of it. `ADLIB_CACHE` is the store's folder; `ADLIB_CACHE=off` turns it off.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from adlib.base.files import atomic_directory, copy_file


def content_key(**parts: Any) -> str:
    """The sha256 (hex) of JSON-serialisable `parts`; the order of the parts does not matter."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def store_root() -> Path | None:
    """The store's folder, or None when `ADLIB_CACHE=off`."""
    setting = os.environ.get("ADLIB_CACHE", "").strip()
    if setting.lower() == "off":
        return None
    return Path(setting).expanduser().absolute() if setting else Path(platformdirs.user_cache_dir("adlib"))


def entry_path(kind: str, key: str, name: str = "") -> Path | None:
    """Where the entry `kind/key[/name]` is or would be; None when the store is off."""
    root = store_root()
    return None if root is None else root / kind / key[:2] / key / name


@contextmanager
def stored_folder(kind: str, key: str, target: Path) -> Iterator[Path | None]:
    """Fill the folder `target` from the store; the block makes the entry if it is missing.

    Args:
        kind: the kind of entry, `"fits"` for example.
        key: its content key.
        target: an existing empty folder.

    Yields:
        The folder that the block has to write the entry's files into; None where the entry was found.
    """
    entry = entry_path(kind, key)
    if entry is None:
        yield target
        return
    if entry.is_dir():
        yield None
    else:
        with atomic_directory(entry, first_wins=True) as temporary:
            yield temporary
    for file in sorted(entry.iterdir()):
        copy_file(file, target / file.name)
