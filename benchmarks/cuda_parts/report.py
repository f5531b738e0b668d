"""The results of all parts as one Markdown table, and what machine they are of."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.cuda_parts.isolation import NO_GPU

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "torchvision", "timm", "FrEIA", "open_clip_torch", "numpy")
NOT_YET = "**not measured on a GPU yet**"


def machine() -> dict[str, Any]:
    """Card, processor, versions, date and commit; asked in a process of its own, as it touches CUDA."""
    import torch

    # Forked from a process that has touched CUDA, no part could.
    spoilt = torch.cuda._is_in_bad_fork()
    card = None
    if not spoilt and torch.cuda.is_available():
        props = torch.cuda.get_device_properties(0)
        card = f"{props.name}, {props.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    return {
        "gpu": card,
        "fork_spoilt": spoilt,
        "cpu": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
    }


def commit() -> str:
    """The short commit of the checkout, with a mark where files differ from it; `unknown` without git."""
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("COMMIT", "unknown")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def markdown(about: Mapping[str, Any], results: Sequence[Mapping[str, Any]], *, small: bool) -> str:
    """The table of the parts, then a table of the rows of each, then the profiles.

    Args:
        about: `machine()`.
        results: what `measure` returned for each part.
        small: named, as its sizes say nothing about speed.
    """
    packages = ", ".join(f"{name} {found}" for name, found in about.get("packages", {}).items())
    lines = [
        NOT_YET
        if not about.get("gpu")
        else f"Measured on {about['gpu']}." + (" Small sizes." if small else ""),
        "",
        f"{about.get('date')}, commit {about.get('commit')}, {about.get('cpu')}, "
        f"Python {about.get('python')}, {packages}.",
        "",
        "| part | status | rows | seconds |",
        "|---|---|---|---|",
    ]
    for result in results:
        lines.append(
            f"| {result['part']} | {result['status']} | {_count(result['rows'])} | {result['seconds']:.0f} |"
        )
    for result in results:
        lines += _rows(result["part"], [row for row in result["rows"] if row["status"] != NO_GPU])
    return "\n".join(lines) + "\n"


def _count(rows: Sequence[Mapping[str, Any]]) -> str:
    """`12 ok, 3 not measured: no GPU`."""
    found: dict[str, int] = {}
    for row in rows:
        kind = row["status"].split(":")[0] if row["status"] != NO_GPU else NO_GPU
        found[kind] = found.get(kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in found.items())


def _rows(part: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    hidden = {"top", "waits"}
    names = list(dict.fromkeys(name for row in rows for name in row["values"] if name not in hidden))
    names = [name for name in names if not name.endswith("_allowed")]
    lines = ["", f"### {part}", "", f"| what | how | status |{''.join(f' {name} |' for name in names)}"]
    lines.append("|---|---|---|" + "---|" * len(names))
    for row in rows:
        cells = "".join(f" {_cell(name, row['values'])} |" for name in names)
        lines.append(f"| {row['what']} | {row['how']} | {row['status']} |{cells}")
    for row in rows:
        lines += _details(row)
    return lines


def _cell(name: str, values: Mapping[str, Any]) -> str:
    """A number, with what is allowed where there is a limit."""
    value = values.get(name)
    if value is None:
        return "-"
    limit = values.get(f"{name}_allowed")
    return f"{value}" if limit is None else f"{value} (≤ {limit})"


def _details(row: Mapping[str, Any]) -> list[str]:
    """The waits and the longest kernels of a training."""
    values, lines = row["values"], []
    waits = values.get("waits")
    if isinstance(waits, dict) and waits:
        lines += ["", f"{row['what']}: {sum(waits.values())} waits for the GPU in a fit of one epoch"]
        lines += [f"- {count} x {line}" for line, count in list(waits.items())[:15]]
    if values.get("top") and row["how"].startswith("cuda"):
        lines += [
            "",
            f"{row['what']}: the longest kernels of one step",
            "",
            "| kernel | calls | ms | share |",
        ]
        lines.append("|---|---|---|---|")
        for kernel in values["top"]:
            name = str(kernel["name"]).replace("|", "\\|")
            lines.append(f"| `{name}` | {kernel['calls']} | {kernel['ms']} | {kernel['share']:.1%} |")
    return lines
