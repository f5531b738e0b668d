"""Named tensors out of checkpoint files; nothing in a file is executed."""

import re
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from adlib.base.files import sha256_file
from adlib.embedding.networks.identity import WeightsError


def checked_sha256(path: Path, sha256: str | None, block: str, allowed: str) -> str:
    """The sha256 of a local checkpoint, provided that it is the one asked for.

    Args:
        path, sha256: of the file.
        block: what stands before the keys `weights` and `sha256` in a message.
        allowed: values of `weights`, likewise.

    Raises:
        WeightsError: no such file, or another one.
    """
    if not path.is_file():
        raise WeightsError(f"{block}weights: no file {path}; allowed: {allowed}")
    found = sha256_file(path)
    if sha256 != found:
        raise WeightsError(
            f"{block}sha256: {path} has sha256 {found}, expected {sha256}; "
            "set the right value if you trust the file"
        )
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, read by its content.

    Args:
        path: `.safetensors`, a TorchScript archive, or a state dict written by `torch.save`, also under the
            key `state_dict` and with the prefix `module.` that data-parallel training leaves.

    Raises:
        WeightsError: the file is damaged, holds something else, or could only be read by running its code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if _is_torchscript(path):
            # Read by TorchScript's own restricted unpickler: no Python in the archive is run. Deprecated, but
            # it is the form in which OpenAI published its weights.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit.load")
                return dict(torch.jit.load(path, map_location="cpu").state_dict())
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        if not all(isinstance(tensor, Tensor) for tensor in state.values()):
            raise TypeError("some of its entries are no tensors")
        return {name.removeprefix("module."): tensor for name, tensor in state.items()}
    except Exception as error:  # the readers raise any type at all on a damaged file
        raise WeightsError(
            f"weights: {path} holds no named tensors that can be read without running code: "
            f"{refusal(error)}; save a state dict as .safetensors or .pt"
        ) from error


def refusal(error: Exception) -> str:
    """Why a checkpoint was not read, without torch's advice to run what is in it after all."""
    text = str(error)
    needed = re.search(r"GLOBAL (\S+)", text)
    return f"it needs {needed[1]}" if needed else (text.splitlines() or [type(error).__name__])[0][:200]


def _is_torchscript(path: Path) -> bool:
    """TorchScript archives keep their constants apart; state dicts have none."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
