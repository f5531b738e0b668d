"""`adlib doctor`: what is here, what is missing, and what to do about it."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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
    yield _finding("python", _python)
    for package in PACKAGES:
        yield _finding(package, partial(_package, package))
    try:
        params = load_params()
    except UserError as error:
        yield Finding("params.yaml", False, str(error), "mend the keys named above")
        return
    yield Finding("params.yaml", True, f"{params.dataset.name}, {', '.join(params.methods.names)}")
    yield _finding("device", partial(_device, params))
    yield _finding("data", partial(_data, params))
    yield _finding("weights", partial(_weights, params))
    if params.methods.clip:
        yield _finding("clip", partial(_clip, params))
    yield _finding("store", _store)
    yield _finding("pipeline", _pipeline)


def _finding(what: str, check: Callable[[], tuple[str, str]]) -> Finding:
    """What a check finds: its detail, and the remedy, which is empty where all is well."""
    try:
        detail, remedy = check()
    except (UserError, ImportError, OSError) as error:
        return Finding(what, False, str(error))
    return Finding(what, not remedy, detail, remedy)


def _python() -> tuple[str, str]:
    remedy = "" if sys.version_info >= PYTHON else f"use Python {PYTHON[0]}.{PYTHON[1]} or newer"
    return ".".join(map(str, sys.version_info[:3])), remedy


def _package(name: str) -> tuple[str, str]:
    try:
        return version(name), ""
    except PackageNotFoundError:
        return "not installed", "run `make repro`, or pip install -e '.[samples,dev]'"


def _device(params: Params) -> tuple[str, str]:
    torch = importlib.import_module("torch")
    from adlib.base.device import resolve_device

    device = resolve_device(params.device)
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}, mixed precision", ""
    return f"cpu, {torch.get_num_threads()} threads", ""


def _data(params: Params) -> tuple[str, str]:
    dataset = params.dataset
    packaged = dataset.name in catalogue() and catalogue()[dataset.name].package
    if not packaged and not Path(dataset.root).is_dir():
        remedy = "run `dvc repro data.dvc`" if dataset.root == "data" else "set dataset.root to your images"
        if dataset.name in catalogue():
            remedy = f"run `adlib data fetch {dataset.name}`"
        return f"{dataset.name}: no folder {dataset.root!r}", remedy
    source = dataset_source(dataset.name, dataset.root, dataset.version)
    known = DATASETS[dataset.name].categories(source.folder)
    unknown = sorted(set(dataset.categories) - set(known))
    if unknown:
        raise DataError(
            f"dataset.categories: {', '.join(unknown)} not in {dataset.name}; it has {', '.join(known)}"
        )
    return f"{dataset.name}: {', '.join(dataset.categories)}", ""


def _weights(params: Params) -> tuple[str, str]:
    from adlib.base.device import resolve_device
    from adlib.embedding.networks.backbones import load_backbone

    chosen = params.backbone
    if chosen.weights == "hub":
        return f"{chosen.name} from the hub (fetched on first use, not checked here)", ""
    backbone = load_backbone(chosen, resolve_device("cpu"))
    return f"{chosen.name}, {chosen.weights}, {backbone.weights_sha256[:12]}", ""


def _clip(params: Params) -> tuple[str, str]:
    import torch

    from adlib.embedding.tokens import chosen_blocks, open_clip_tower

    clip, blocks = open_clip_tower(params.clip, torch.device("cpu")), chosen_blocks(params.clip)
    activation = "QuickGELU" if clip.quick_gelu else "GELU"
    taps = ", ".join(map(str, blocks))
    return f"{params.clip.name}, {clip.weights_sha256[:12]}, {activation}, blocks {taps}", ""


def _store() -> tuple[str, str]:
    root = store_root()
    if root is None:
        return "off (ADLIB_CACHE=off): everything is computed anew", ""
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return f"{root} is not a writable folder", "set ADLIB_CACHE to one that is, or to off"
    free = shutil.disk_usage(existing).free / 2**30
    remedy = "" if free > 5 else "free some disk space, or set ADLIB_CACHE to another disk"
    return f"{root}, {free:.0f} GiB free", remedy


def _pipeline() -> tuple[str, str]:
    if not Path(".dvc").is_dir():
        return "no .dvc folder here", "run from the root of the project's clone"
    status = [sys.executable, "-m", "dvc", "status", "-q"]
    result = subprocess.run(status, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return "every stage is up to date", ""
    if result.returncode == 1:
        return "some stages are not up to date: `dvc repro` runs them", ""
    return (result.stderr or "dvc status failed").strip().splitlines()[-1], "run `dvc status`"
