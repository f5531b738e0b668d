"""Datasets that an installed Python package carries."""

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from adlib.data.manifest import DataError


def package_folder(distribution: str, module: str, wanted: str) -> Path:
    """The folder of an installed package, checked to be of the version that params.yaml names.

    Raises:
        DataError: the package is missing or of another version.
    """
    remedy = f"install it with: pip install '{distribution}=={wanted}'"
    try:
        found = version(distribution)
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
