"""`adlib doctor`: what is here, what is missing, and what to do about it."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from adlib.base.errors import UserError
from adlib.base.store import store_root
from adlib.config.params import Params, load_params
from adlib.data.manifest import DataError
from adlib.datasets import DATASETS, dataset_source
from adlib.datasets.catalogue import catalogue

PACKAGES = ("torch", "torchvision", "timm", "dvc", "numpy", "scikit-learn", "safetensors", "pydantic")
PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `remedy` says what to do where `ok` is False."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""


def check_all() -> Iterator[Finding]:
    """Every check, in the order in which a broken machine is best mended."""
    yield _python()
    for package in PACKAGES:
        yield _package(package)
    try:
        params = load_params()
    except UserError as error:
        yield Finding("params.yaml", False, str(error), "mend the keys named above")
        return
    yield Finding("params.yaml", True, f"{params.dataset.name}, {', '.join(params.methods.names)}")
    checks: list[tuple[str, Callable[[Params], Finding]]] = [
        ("device", _device),
        ("data", _data),
        ("weights", _weights),
        *([("clip", _clip)] if params.methods.clip else []),
        ("store", _store),
        ("pipeline", _pipeline),
    ]
    for what, check in checks:
        try:
            yield check(params)
        except (UserError, ImportError, OSError) as error:
            yield Finding(what, False, str(error))


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    remedy = "" if sys.version_info >= PYTHON else f"use Python {PYTHON[0]}.{PYTHON[1]} or newer"
    return Finding("python", not remedy, found, remedy)


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed", "run `make repro`, or pip install -e '.[samples,dev]'")


def _device(params: Params) -> Finding:
    torch = importlib.import_module("torch")
    from adlib.base.device import resolve_device

    device = resolve_device(params.device)
    if device.type == "cuda":
        return Finding("device", True, f"{device}, {torch.cuda.get_device_name(device)}, mixed precision")
    return Finding("device", True, f"cpu, {torch.get_num_threads()} threads")


def _data(params: Params) -> Finding:
    dataset = params.dataset
    packaged = dataset.name in catalogue() and catalogue()[dataset.name].package
    if not packaged and not Path(dataset.root).is_dir():
        remedy = "run `dvc repro data.dvc`" if dataset.root == "data" else "set dataset.root to your images"
        if dataset.name in catalogue():
            remedy = f"run `adlib data fetch {dataset.name}`"
        return Finding("data", False, f"{dataset.name}: no folder {dataset.root!r}", remedy)
    known = DATASETS[dataset.name].categories(
        dataset_source(dataset.name, dataset.root, dataset.version).folder
    )
    unknown = sorted(set(dataset.categories) - set(known))
    if unknown:
        raise DataError(
            f"dataset.categories: {', '.join(unknown)} not in {dataset.name}; it has {', '.join(known)}"
        )
    return Finding("data", True, f"{dataset.name}: {', '.join(dataset.categories)}")


def _weights(params: Params) -> Finding:
    from adlib.base.device import resolve_device
    from adlib.embedding.networks.backbones import load_backbone

    if params.backbone.weights == "hub":
        return Finding(
            "weights", True, f"{params.backbone.name} from the hub (fetched on first use, not checked here)"
        )
    backbone = load_backbone(params.backbone, resolve_device("cpu"))
    return Finding(
        "weights", True, f"{params.backbone.name}, {params.backbone.weights}, {backbone.weights_sha256[:12]}"
    )


def _clip(params: Params) -> Finding:
    import torch

    from adlib.embedding.tokens import chosen_blocks, open_clip_tower

    clip, blocks = open_clip_tower(params.clip, torch.device("cpu")), chosen_blocks(params.clip)
    activation = "QuickGELU" if clip.quick_gelu else "GELU"
    taps = ", ".join(map(str, blocks))
    return Finding(
        "clip", True, f"{params.clip.name}, {clip.weights_sha256[:12]}, {activation}, blocks {taps}"
    )


def _store(_params: Params) -> Finding:
    root = store_root()
    if root is None:
        return Finding("store", True, "off (ADLIB_CACHE=off): everything is computed anew")
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding(
            "store", False, f"{root} is not a writable folder", "set ADLIB_CACHE to one that is, or to off"
        )
    free = shutil.disk_usage(existing).free / 2**30
    remedy = "" if free > 5 else "free some disk space, or set ADLIB_CACHE to another disk"
    return Finding("store", not remedy, f"{root}, {free:.0f} GiB free", remedy)


def _pipeline(_params: Params) -> Finding:
    if not Path(".dvc").is_dir():
        return Finding("pipeline", False, "no .dvc folder here", "run from the root of the project's clone")
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "-q"], capture_output=True, text=True, check=False
    )
    if result.returncode == 0:
        return Finding("pipeline", True, "every stage is up to date")
    if result.returncode == 1:
        return Finding("pipeline", True, "some stages are not up to date: `dvc repro` runs them")
    return Finding(
        "pipeline", False, (result.stderr or "dvc status failed").strip().splitlines()[-1], "run `dvc status`"
    )
