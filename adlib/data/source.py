"""Where the images of a set lie, as `fetch` recorded it: no later stage needs to know a dataset's layout.

The record holds the folder as params.yaml names it, or a folder of an installed package by that package's
name and version: never an absolute path that only one machine has (unless params.yaml itself names one).
"""

import importlib.util
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

from adlib.base.files import read_json, write_json
from adlib.data.manifest import DataError


@dataclass(frozen=True, slots=True)
class Source:
    """The folder that the paths of a manifest are relative to.

    Attributes:
        root: a folder, relative to the project's root or absolute; with a package, below its folder.
        package: the distribution that carries the images, `elpv-dataset==1.0.0.post1`; "" for none.
        module: the package's importable name.
    """

    root: str
    package: str = ""
    module: str = ""

    @property
    def folder(self) -> Path:
        """The folder on this machine.

        Raises:
            DataError: there is no such folder, or the package is missing or of another version.
        """
        if self.package:
            distribution, _, version = self.package.partition("==")
            return _package_folder(distribution, version, self.module) / self.root
        folder = Path(self.root)
        if not folder.is_dir():
            raise DataError(
                f"dataset.root: no folder {self.root!r}; name the folder that holds the categories "
                "(an absolute path for queued and temporary experiments)"
            )
        return folder


def write_source(path: Path, source: Source) -> None:
    """Write a source as JSON."""
    write_json(path, asdict(source))


def read_source(path: Path) -> Source:
    """Read what `write_source` wrote."""
    return Source(**read_json(path))


def _package_folder(distribution: str, wanted: str, module: str) -> Path:
    """The folder of an installed package, checked to be of the version that params.yaml names."""
    remedy = f"install it with: pip install '{distribution}=={wanted}'"
    try:
        found = installed_version(distribution)
    except PackageNotFoundError:
        raise DataError(f"the package {distribution} is not installed; {remedy}") from None
    if found != wanted:
        raise DataError(
            f"dataset.version is {wanted!r}, but {distribution} {found} is installed; "
            f"{remedy}, or set dataset.version={found}"
        )
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"{distribution} {found} is installed without its module {module}; {remedy}")
    return Path(spec.submodule_search_locations[0])
