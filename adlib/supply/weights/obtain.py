"""Where weights come from: a package, a local file, an address or the hub; checked in any case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adlib.base.files import sha256_file
from adlib.base.store import store_root
from adlib.embedding.networks.backbones import PACKAGED, packaged_state
from adlib.embedding.networks.checkpoints import read_tensors
from adlib.embedding.networks.identity import WeightsError
from adlib.supply.datasets import PINS
from adlib.supply.downloads import DownloadError, download, file_name, pinned
from adlib.supply.weights.architectures import Comparison, compare
from adlib.supply.weights.catalogue import Weights, WeightsFile


@dataclass(frozen=True, slots=True)
class Obtained:
    """A file of weights that fits.

    Attributes:
        sha256: of the file.
        trust: why that checksum is the right one.
        comparison: of its tensors with the architecture.
    """

    path: Path
    sha256: str
    trust: str
    comparison: Comparison


def weights_folder() -> Path:
    """Where downloads go: `weights` in the store.

    Raises:
        WeightsError: the store is off.
    """
    root = store_root()
    if root is None:
        raise WeightsError(
            "weights are kept in the store, and ADLIB_CACHE=off; set it to a folder, or use --to"
        )
    return root / "weights"


def here(weights: Weights, folder: Path) -> Path | None:
    """The first of its files that lies in `folder`, or the package's; None if there is none yet."""
    if weights.package:
        try:
            return PACKAGED[weights.package].path()
        except WeightsError:
            return None
    return next((folder / file.file for file in weights.files if (folder / file.file).is_file()), None)


def obtain(
    weights: Weights,
    folder: Path,
    *,
    urls: Sequence[str] = (),
    hub: str = "",
    sha256: str | None = None,
    pins: Path = PINS,
) -> Path:
    """Make sure that weights are here; returns their file.

    Args:
        weights: an entry of the catalogue, or one without files.
        folder: where downloads go.
        urls, hub: instead of the published addresses.
        sha256: of the file; None: as published, else pinned in `pins` when it first comes.

    Raises:
        WeightsError: nobody says where they are.
        DownloadError: no address brought the right file.
    """
    if weights.package and not (urls or hub):
        return PACKAGED[weights.package].path()
    files = [_named(weights, urls, hub)] if urls or hub else list(weights.files)
    if not files:
        raise WeightsError(f"{weights.architecture}: name --file, --url or --hub; no address is known")
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for file in files:
        known = sha256 or file.sha256
        whole = known if len(known) == 64 else None
        try:
            return download(file.addresses, folder / file.file, whole, pins=pins, prefix=known)
        except DownloadError as error:
            failures.append(str(error))
    raise DownloadError(
        "\n".join(failures) + "\n  fetch it with a browser and name it with --file, or set --url to a mirror"
    )


def check(weights: Weights, path: Path, *, sha256: str | None = None, pins: Path = PINS) -> Obtained:
    """Read a file of weights and compare it with its checksum and its architecture.

    Args:
        sha256: that it must have; None: as published or pinned for a file of this name.

    Raises:
        WeightsError: another checksum, unreadable, or tensors of another network.
    """
    if not path.is_file():
        raise WeightsError(f"no file {path}; `adlib weights fetch` brings it")
    known, trust = expected_sha256(weights, path, sha256, pins)
    found = sha256_file(path)
    if not found.startswith(known):
        raise WeightsError(f"{path}: has sha256 {found}, expected {known}; fetch it again")
    if _in_package(weights, path):
        state = packaged_state(PACKAGED[weights.package].model, path)
    else:
        state = read_tensors(path)
    comparison = compare(state, weights.architecture)
    if comparison.problems:
        raise WeightsError(
            f"{path}: its tensors do not fit {weights.architecture}: {'; '.join(comparison.problems)}"
        )
    return Obtained(path, found, trust, comparison)


def expected_sha256(weights: Weights, path: Path, sha256: str | None, pins: Path) -> tuple[str, str]:
    """What the checksum of a file must begin with, and who says so; "" if nobody does."""
    if sha256:
        return sha256, "as asked for"
    published = next((file.sha256 for file in weights.files if file.file == path.name), "")
    if len(published) == 64:
        return published, "as published"
    recorded = pinned(pins).get(path.name, "")
    if recorded:
        return recorded, f"as recorded in {pins}"
    return published, "begins as published" if published else "nobody published one to compare with"


def params_lines(weights: Weights, obtained: Obtained) -> list[str]:
    """The lines of params.yaml that make the pipeline use a file."""
    packaged = _in_package(weights, obtained.path)
    settings = {
        "name": weights.package if packaged else weights.architecture.partition("/")[2],
        **weights.settings,
        "weights": "package" if packaged else obtained.path,
        "sha256": "null" if packaged else obtained.sha256,
    }
    blocks = weights.block.split(".")
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(blocks)]
    return lines + [f"{'  ' * len(blocks)}{key}: {value}" for key, value in settings.items()]


def _in_package(weights: Weights, path: Path) -> bool:
    return bool(weights.package) and path == PACKAGED[weights.package].path()


def _named(weights: Weights, urls: Sequence[str], hub: str) -> WeightsFile:
    """The file at the user's addresses; with the published checksum, if the name is a published one.

    Raises:
        WeightsError: an address without a file.
    """
    file = file_name(urls[0]) if urls else hub.replace("/", "--")
    if not file:
        raise WeightsError(f"--url: {urls[0]} names no file")
    published = next((known for known in weights.files if known.file == file), None)
    return WeightsFile(file=file, urls=tuple(urls), hub=hub, sha256=published.sha256 if published else "")
