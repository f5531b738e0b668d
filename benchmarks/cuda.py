"""Does it run on a GPU as on a CPU, how fast, and the whole way? One script, one call, under six minutes.

    python benchmarks/cuda.py --out DIR [--small] [--only PART ...]

Run from a checkout; the package need not be installed, nor DVC. Each part runs in a process of its own with a
limit, and writes `DIR/PART.json`, also when it fails; `DIR/table.md` has all of them. With `--small` every
part runs in seconds and, without a GPU, on the CPU alone: what needs the GPU is then "not measured: no GPU".
docs/performance.md says what the parts are and what a machine needs.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # In place of this folder, in which this very file would pass for NVIDIA's package `cuda`.
    sys.path[0] = str(ROOT)
    # Looking for a card through the driver would spoil every fork.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

from benchmarks.cuda_parts.isolation import DIFFERS, OK, Part, Row, measure, unmeasured  # noqa: E402
from benchmarks.cuda_parts.report import machine, markdown  # noqa: E402

BUDGET = 330.0  # seconds for all parts together
SMALL_BUDGET = 260.0  # it takes some 30 on one idle core; a busy machine is no failure
LEAST = 3.0  # seconds, below which no part is begun


def _machine(small: bool) -> Iterable[Row]:
    yield Row("machine", "", OK, machine())


def _devices(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.devices import rows

    yield from rows(small)


def _methods(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.equal import compared
    from benchmarks.cuda_parts.methods import target_cases

    yield from compared(lambda: target_cases(small))


def _auxiliary(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.equal import compared
    from benchmarks.cuda_parts.methods import auxiliary_cases

    yield from compared(lambda: auxiliary_cases(small))


def _flows(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.equal import compared
    from benchmarks.cuda_parts.flows import flow_cases

    yield from compared(lambda: flow_cases(small))


def _clip(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.clip import clip_cases
    from benchmarks.cuda_parts.equal import compared

    yield from compared(lambda: clip_cases(small))


def _embeddings(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.embeddings import network_rows

    yield from network_rows(small)


def _clip_embedding(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.embeddings import clip_rows

    yield from clip_rows(small)


def _whole(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.whole import rows

    yield from rows(small)


def _speed_embedding(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.speed import network_rows

    yield from network_rows(small)


def _speed_heads(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.training import head_rows

    yield from head_rows(small)


def _speed_flows(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.training import flow_rows

    yield from flow_rows(small)


def _speed_clip(small: bool) -> Iterable[Row]:
    from benchmarks.cuda_parts.speed import clip_rows as embedding
    from benchmarks.cuda_parts.training import clip_rows as training

    yield from training(small)
    yield from embedding(small)


MACHINE = Part("machine", _machine, 30)
# In the order of what must not be missed should the time run out.
PARTS = (
    Part("devices", _devices, 30),
    Part("equal-methods", _methods, 70),
    Part("equal-auxiliary", _auxiliary, 40),
    Part("equal-flows", _flows, 40),
    Part("equal-clip", _clip, 50),
    Part("equal-embeddings", _embeddings, 50),
    Part("equal-clip-embedding", _clip_embedding, 50),
    Part("whole-way", _whole, 60),
    Part("speed-heads", _speed_heads, 80),
    Part("speed-flows", _speed_flows, 60),
    Part("speed-clip", _speed_clip, 70),
    Part("speed-embedding", _speed_embedding, 60),
)


def check(
    parts: Sequence[Part],
    out: Path,
    *,
    small: bool,
    budget: float,
    about: dict[str, Any] | None = None,
    start_method: Literal["fork", "spawn"] = "fork",
) -> list[dict[str, Any]]:
    """Run parts one after the other, a late one with what is left of the time, and write the table.

    Args:
        parts: which.
        out: folder of the results.
        small: see `Part`.
        budget: seconds for all of them.
        about: what `machine` says, for the table.
        start_method: of the parts' processes.
    """
    start, results = time.perf_counter(), []
    for part in parts:
        left = budget - (time.perf_counter() - start)
        results.append(
            measure(part, small, out, left, start_method) if left > LEAST else unmeasured(part, out)
        )
        print(f"{part.name}: {results[-1]['status']} ({results[-1]['seconds']} s)", flush=True)
        table = markdown(about or {}, results, small=small)
        (out / "table.md").write_text(table, encoding="utf-8")
    return results


def warm_up() -> None:
    """Import what parts share, once; what is missing the parts will tell. CUDA is not touched."""
    with suppress(ImportError):
        from torch import _dynamo  # the first optimiser would, in every part  # noqa: F401
    with suppress(ImportError):
        from adlib.embedding.networks import backbones  # noqa: F401
    with suppress(ImportError):
        from adlib.fits import train as training  # noqa: F401


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build", "cuda"), help="folder of the results")
    parser.add_argument("--small", action="store_true", help="small sizes; without a GPU on the CPU")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], help="some parts only")
    parser.add_argument("--start", choices=["fork", "spawn"], default="fork", help="of the parts' processes")
    asked = parser.parse_args()
    warm_up()
    start_method = asked.start
    found = measure(MACHINE, asked.small, asked.out, start_method=start_method)
    if found["rows"] and found["rows"][0]["values"]["fork_spoilt"]:
        start_method = "spawn"
        found = measure(MACHINE, asked.small, asked.out, start_method=start_method)
    about = found["rows"][0]["values"] if found["rows"] else {}
    if not about.get("gpu") and not asked.small:
        raise SystemExit("no CUDA device was found: run it where one is, or with --small")
    parts = [part for part in PARTS if not asked.only or part.name in asked.only]
    budget = SMALL_BUDGET if asked.small else BUDGET
    results = check(
        parts, asked.out, small=asked.small, budget=budget, about=about, start_method=start_method
    )
    (asked.out / "results.json").write_text(json.dumps({"machine": about, "parts": results}, indent=1) + "\n")
    print((asked.out / "table.md").read_text(encoding="utf-8"))
    if any(result["status"].startswith(("failed", DIFFERS)) for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
