"""Where tensors live: the device that params.yaml asks for, mixed precision, and moving batches there."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from adlib.base.errors import UserError


def resolve_device(name: str) -> torch.device:
    """`auto` is the first CUDA device if there is one, else the CPU.

    Raises:
        UserError: a CUDA device is asked for that this machine does not have.
    """
    available = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda:0" if available else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= available:
        raise UserError(f"device: {name} is not here ({available} CUDA devices found); use auto or cpu")
    return device


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 on CUDA cards that have it; full precision elsewhere.

    float16 has too small a range for gradients that flow through an inner step, and a scaled loss would
    scale the inner step with it.
    """
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return nullcontext()
    return torch.autocast("cuda", torch.bfloat16)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A contiguous array as a tensor on `device`; through pinned memory and without blocking on CUDA."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
