"""What `adlib.base.device` and the streams promise, each shown on the CPU and on the GPU."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from adlib.base.device import mixed_precision, resolve_device, to_device
from adlib.base.errors import UserError
from adlib.base.rng import torch_stream
from adlib.data.rows import FeatureView
from benchmarks.cuda_parts.cases import generated
from benchmarks.cuda_parts.isolation import NO_GPU, OK, Row, attempt
from benchmarks.cuda_parts.roles import CPU, cuda_here


def rows(small: bool) -> Iterator[Row]:
    """Each promise on each device."""
    for what, check in CHECKS.items():
        for name, device in (("cpu", CPU), ("cuda", torch.device("cuda:0"))):
            if device.type == "cuda" and not cuda_here():
                yield Row(what, name, NO_GPU)
            else:
                yield attempt(what, name, lambda c=check, d=device, w=what, n=name: Row(w, n, OK, c(d)))


def choice(device: torch.device) -> dict[str, object]:
    """`auto` finds the card, a name finds its device, and a card too many is refused."""
    auto = resolve_device("auto")
    assert auto.type == ("cuda" if cuda_here() else "cpu"), auto
    assert resolve_device(str(device)) == device
    try:
        resolve_device(f"cuda:{torch.cuda.device_count()}")
    except UserError:
        return {"auto": str(auto)}
    raise AssertionError("a card that is not here was accepted")


def copies(device: torch.device) -> dict[str, object]:
    """Batches arrive whole, whatever their type and layout, also when many are on their way."""
    rng = np.random.default_rng(0)
    sources = [rng.normal(size=(64, 257)).astype(np.float16) for _ in range(50)]
    moved = [to_device(source, device) for source in sources]
    for source, tensor in zip(sources, moved, strict=True):
        assert np.array_equal(tensor.cpu().numpy(), source)
    for source in (sources[0][:, ::3], sources[0] > 0, np.arange(9)[::-1], sources[0].view(np.uint8)):
        tensor = to_device(source, device)
        assert tensor.device == device
        assert np.array_equal(tensor.cpu().numpy(), source)
    return {"batches": len(sources)}


def autocast(device: torch.device) -> dict[str, object]:
    """Products are bfloat16 inside and float32 outside, and gradients arrive in float32."""
    layer, x = nn.Linear(32, 8).to(device), torch.ones(4, 32, device=device)
    with mixed_precision(device):
        inside = layer(x)
        with torch.no_grad():
            layer(x)  # as CoMet's weights, after the losses
        loss = layer(x).float().square().mean()
    loss.backward()
    half = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    assert inside.dtype == (torch.bfloat16 if half else torch.float32), inside.dtype
    assert layer(x).dtype == torch.float32
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.abs().sum() > 0
    return {"dtype": str(inside.dtype)}


def streams(device: torch.device) -> dict[str, object]:
    """A named stream repeats itself on its device; whether it has the CPU's numbers is only told."""

    def draw(place: torch.device) -> torch.Tensor:
        return torch.randn(1000, generator=torch_stream(0, "check", device=place), device=place).cpu()

    assert torch.equal(draw(device), draw(device))
    return {"as_on_the_cpu": torch.equal(draw(device), draw(CPU))}


def mapped_rows(device: torch.device) -> dict[str, object]:
    """Rows from a memory-mapped file, whole images and chosen patches."""
    features, _ = generated(12, 0, 16, 8)
    view = features.select(features.info.ids)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        np.save(path, np.asarray(view.rows))
        mapped = FeatureView(view.ids, np.load(path, mmap_mode="r"), view.index)
        where, patches = np.array([3, 1, 7]), np.array([[0, 5], [2, 2], [15, 1]])
        for found, expected in (
            (mapped.batch(where, device), view.batch(where, CPU)),
            (mapped.sampled_batch(where, patches, device), view.sampled_batch(where, patches, CPU)),
        ):
            assert found.device == device
            assert found.dtype == torch.float32
            assert torch.equal(found.cpu(), expected)
    return {}


CHECKS: dict[str, Callable[[torch.device], dict[str, object]]] = {
    "device choice": choice,
    "copies, pinned and in flight": copies,
    "autocast and its gradients": autocast,
    "named streams": streams,
    "mapped rows": mapped_rows,
}
