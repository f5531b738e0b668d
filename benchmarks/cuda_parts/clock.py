"""Time, memory, work and waiting: what the speed parts measure with."""

import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cuda_parts.roles import optimiser_hook

ROOT = Path(__file__).resolve().parents[2]
TOP = 15
# Dense peaks in FLOP/s of float32 (without tensor cores), TF32 and bfloat16, from the makers' data sheets.
PEAKS = {
    "H100 PCIe": (51e12, 378e12, 756e12),
    "H100": (67e12, 494e12, 989e12),
    "H200": (67e12, 494e12, 989e12),
    "A100": (19.5e12, 156e12, 312e12),
    "L40S": (91.6e12, 183e12, 362e12),
    "L4": (30.3e12, 60e12, 121e12),
    "RTX 4090": (82.6e12, 82.6e12, 165e12),
}
MODES = ("float32", "tf32", "bf16")


def peak(mode: str) -> float | None:
    """The card's peak in FLOP/s in one of `MODES`; None for a card that is not listed, and for a CPU."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((values[MODES.index(mode)] for card, values in PEAKS.items() if card in name), None)


def share_of_peak(flops: float, mode: str) -> float | None:
    """FLOP/s as a fraction of the card's peak."""
    limit = peak(mode)
    return None if limit is None else float(f"{flops / limit:.3g}")


def settle(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(call: Callable[[], Any], device: torch.device, *, least: float, most: int) -> float:
    """Seconds a call, the mean over enough of them to take `least` seconds, after one that is not counted."""
    call()
    settle(device)
    start, calls = time.perf_counter(), 0
    while not calls or (calls < most and time.perf_counter() - start < least):
        call()
        settle(device)
        calls += 1
    return (time.perf_counter() - start) / calls


def flops_of(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call, a multiplication and an addition counted as two."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


@contextmanager
def peak_memory(device: torch.device) -> Iterator[dict[str, float | None]]:
    """`gib`: the most memory that tensors took on the device while the block ran; None on a CPU."""
    found: dict[str, float | None] = {"gib": None}
    if device.type == "cuda":
        torch.cuda.init()  # else there is nothing to reset
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found["gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)


@dataclass
class Steps:
    """When the optimiser was called, on the device's own clock: idle time counts, waiting for it does not.

    Attributes:
        device: of the training.
        marks: one a step, a CUDA event or seconds.
    """

    device: torch.device
    marks: list[Any] = field(default_factory=list)

    def mark(self, *_: Any) -> None:
        """A step begins."""
        if self.device.type != "cuda":
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append(event)

    def seconds(self, first: int, last: int) -> float:
        """From one step to another."""
        begin, end = self.marks[first], self.marks[last]
        settle(self.device)
        return end - begin if self.device.type != "cuda" else begin.elapsed_time(end) / 1000


@contextmanager
def timed_steps(device: torch.device) -> Iterator[Steps]:
    """Mark every step of whatever trains inside."""
    steps = Steps(device)
    with optimiser_hook(steps.mark):
        yield steps


@dataclass
class Kernels:
    """Where one step's time went: `top` has name, calls, milliseconds and share, the longest first."""

    top: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def profiled_step(device: torch.device, number: int) -> Iterator[Kernels]:
    """Profile from one call of the optimiser to the next, inside a training of more steps than `number`."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    profiler, found, count = profile(activities=activities), Kernels(), 0

    def step(*_: Any) -> None:
        nonlocal count
        if count == number:
            settle(device)
            profiler.start()
        elif count == number + 1:
            settle(device)
            profiler.stop()
        count += 1

    with optimiser_hook(step):
        yield found
    if count > number + 1:
        found.top = longest(profiler, device)


def longest(profiler: profile, device: torch.device) -> list[dict[str, Any]]:
    """The longest kernels (on a CPU, operators) of a finished profile, in milliseconds of their own."""
    name = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    events = [(event, float(getattr(event, name))) for event in profiler.key_averages()]
    if device.type == "cuda":  # operators repeat the time of the kernels that they start
        events = [(e, t) for e, t in events if str(e.device_type).endswith("CUDA")]
    total = sum(time for _, time in events) or 1.0
    return [
        {"name": e.key[:90], "calls": e.count, "ms": round(t / 1000, 3), "share": round(t / total, 3)}
        for e, t in sorted(events, key=lambda pair: -pair[1])[:TOP]
        if t > 0
    ]


@contextmanager
def counted_waits() -> Iterator[Counter[str]]:
    """Calls that make the CPU wait for the GPU, by the project's line that they come from."""
    found: Counter[str] = Counter()

    def count(message: Any, *_: Any, **__: Any) -> None:
        if "called a synchronizing" in str(message):
            found[project_line(sys._getframe(1))] += 1

    before = torch.cuda.get_sync_debug_mode() if torch.cuda.is_available() else None
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = count
        if before is not None:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            if before is not None:
                torch.cuda.set_sync_debug_mode(before)


def project_line(frame: Any) -> str:
    """The innermost line of the package on the stack, `adlib/x.py:12`; else the innermost of the stack."""
    innermost = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT / "adlib"):
            return f"{path.relative_to(ROOT).as_posix()}:{frame.f_lineno}"
        frame = frame.f_back
    return innermost
