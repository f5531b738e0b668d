"""The two sides of a comparison: where each runs, in which precision, and that both draw the same numbers.

On a GPU the other side is the GPU. Without one the machinery is still exercised: a second run on the CPU
stands in for the GPU, with products summed in float64 so that it rounds differently, as another device does;
and mixed precision is the CPU's autocast, in the very places where the project asks for it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

from adlib.base.device import mixed_precision

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Side:
    """Where and how one of two runs happens.

    Attributes:
        name: for the table.
        device: where.
        mixed: with the project's mixed precision; else float32 without TF32.
        stand_in: a CPU in the role of a GPU.
    """

    name: str
    device: torch.device
    mixed: bool = False
    stand_in: bool = False


BASE = Side("cpu", CPU)


def cuda_here() -> bool:
    """Whether a GPU can be used; asked in parts only, never by their parent."""
    return torch.cuda.is_available()


def other_sides() -> list[Side]:
    """What the CPU is compared with here: a GPU in both precisions, or the CPU's stand-ins."""
    if cuda_here():
        cuda = torch.device("cuda:0")
        return [Side("cuda float32", cuda), Side("cuda mixed", cuda, mixed=True)]
    return [
        Side("cpu, sums in float64", CPU, stand_in=True),
        Side("cpu, bfloat16", CPU, mixed=True, stand_in=True),
    ]


def missing_sides() -> list[str]:
    """The names of what is not measured on this machine."""
    return [] if cuda_here() else ["cuda float32", "cuda mixed"]


@contextmanager
def running(side: Side) -> Iterator[None]:
    """The precision and the draws of a side, for as long as the block runs."""
    with ExitStack() as stack:
        stack.enter_context(same_draws())
        stack.enter_context(precision(tf32=False, half=side.mixed))
        if side.stand_in and side.mixed:
            half = {"nullcontext": lambda: torch.autocast("cpu", torch.bfloat16)}
            stack.enter_context(mock.patch.dict(mixed_precision.__globals__, half))
        elif side.stand_in:
            stack.enter_context(sums_in_float64())
        yield


@contextmanager
def precision(*, tf32: bool, half: bool) -> Iterator[None]:
    """TF32 in products and convolutions or not, and bfloat16 in `mixed_precision` or not."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    try:
        with ExitStack() as stack:
            if not half:
                # The project asks the card; a card without bfloat16 trains in float32.
                stack.enter_context(mock.patch.object(torch.cuda, "is_bf16_supported", return_value=False))
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


PRODUCTS = (
    (F, ("linear", "conv2d", "layer_norm", "scaled_dot_product_attention")),
    (torch, ("addmm", "matmul", "einsum", "cdist")),
    (Tensor, ("matmul", "__matmul__", "mean", "sum")),
)


@contextmanager
def sums_in_float64() -> Iterator[None]:
    """Float32 products and sums, forwards and backwards, computed in float64 and rounded once."""
    with ExitStack() as stack:
        for owner, names in PRODUCTS:
            for name in names:
                stack.enter_context(mock.patch.object(owner, name, _wide(getattr(owner, name))))
        yield


def _wide(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def computed(*args: Any, **kwargs: Any) -> Tensor:
        narrow = any(isinstance(value, Tensor) and value.dtype == torch.float32 for value in args)
        if not narrow or "dtype" in kwargs:
            return function(*args, **kwargs)
        found = function(*map(_double, args), **{name: _double(value) for name, value in kwargs.items()})
        return found.float() if found.dtype == torch.float64 else found

    return computed


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


class CpuGenerator(torch.Generator):
    """A generator on the CPU, whatever is asked for."""

    def __new__(cls, device: Any = "cpu") -> "CpuGenerator":
        return super().__new__(cls, "cpu")  # pyright: ignore[reportCallIssue]


@contextmanager
def same_draws() -> Iterator[None]:
    """Every generator on the CPU, and its normal draws moved: a GPU's own stream has other numbers.

    The project draws noise where the batch is, for speed, so that a seed is one run on a CPU and another on a
    GPU. To compare the arithmetic both must see the same noise.
    """
    randn = torch.randn

    def drawn(
        *size: Any, generator: Any = None, device: Any = None, dtype: Any = None, **options: Any
    ) -> Tensor:
        if generator is None:
            return randn(*size, device=device, dtype=dtype, **options)
        full = dtype if dtype == torch.float64 else torch.float32
        return randn(*size, generator=generator, dtype=full, **options).to(
            device=device or "cpu", dtype=dtype
        )

    with mock.patch.object(torch, "Generator", CpuGenerator), mock.patch.object(torch, "randn", drawn):
        yield


@dataclass
class Probe:
    """What the first step of a training saw: its loss, and the gradients behind the first update."""

    loss: float | None = None
    gradients: list[Tensor] | None = None


@contextmanager
def first_step() -> Iterator[Probe]:
    """Watch the first call of `backward` and the first step of an optimiser, of whatever method runs."""
    probe, backward = Probe(), Tensor.backward

    def watched(self: Tensor, *arguments: Any, **options: Any) -> None:
        if probe.loss is None:
            probe.loss = float(self.detach())
        backward(self, *arguments, **options)

    def before_step(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        if probe.gradients is None:
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                probe.gradients = [
                    parameter.grad.detach().float().cpu().clone()
                    for group in optimiser.param_groups
                    for parameter in group["params"]
                    if parameter.grad is not None
                ]

    with mock.patch.object(Tensor, "backward", watched), optimiser_hook(before_step):
        yield probe


@contextmanager
def optimiser_hook(hook: Callable[..., None]) -> Iterator[None]:
    """Call `hook(optimiser, arguments, options)` before every step of every optimiser."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    handle = register_optimizer_step_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()
