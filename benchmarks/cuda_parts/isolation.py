"""Each part in a process of its own, with a limit: what fails, hangs or crashes there costs no other part.

The process is forked, so that torch is imported once. That is safe as long as the parent never touches CUDA:
nothing here asks for a device, the parts do. Should an import have done so, `spawn` starts afresh each time.
"""

import json
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

OK, DIFFERS, NO_GPU = "ok", "differs", "not measured: no GPU"
# Names of modules that a bare machine may lack, and the packages that bring them.
PACKAGES = {
    "open_clip": "open_clip_torch",
    "ruamel": "ruamel.yaml",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


@dataclass(frozen=True)
class Row:
    """One line of a part's result.

    Attributes:
        what: method, network or step.
        how: which two were compared, or how it was run.
        status: `ok`, `differs`, `not measured: …`, `skipped: …` or `failed: …`.
        values: numbers by name; differences beside their tolerance end in `_allowed`.
    """

    what: str
    how: str
    status: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part of the check.

    Attributes:
        name: also of its JSON file.
        run: yields the rows; whether sizes are small is its argument.
        limit: seconds, after which it is killed.
    """

    name: str
    run: Callable[[bool], Iterable[Row]]
    limit: float


def measure(
    part: Part,
    small: bool,
    out: Path,
    limit: float | None = None,
    start_method: Literal["fork", "spawn"] = "fork",
) -> dict[str, Any]:
    """Run a part in a process of its own and write its JSON to `out`, whatever happens to it.

    Args:
        part: which.
        small: handed to it.
        out: folder of the results.
        limit: seconds if not the part's own.
        start_method: of the process.

    Returns:
        What was written: `part`, `status`, `seconds`, `rows`.
    """
    out.mkdir(parents=True, exist_ok=True)
    limit = part.limit if limit is None else min(limit, part.limit)
    start, path = time.perf_counter(), out / f"{part.name}.json"
    path.unlink(missing_ok=True)
    with warnings.catch_warnings():
        # Python 3.12 warns of threads at a fork; those of the numerical libraries sleep.
        warnings.simplefilter("ignore", DeprecationWarning)
        get = multiprocessing.get_context
        context = get("fork") if start_method == "fork" else get("spawn")
        process = context.Process(target=_child, args=(part, small, path))
        process.start()
    process.join(limit)
    killed = process.is_alive()
    if killed:
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL) if os.getpgid(process.pid) == process.pid else process.kill()
        process.join()
    result: dict[str, Any] = {"part": part.name, "status": "", "rows": []}
    if path.is_file():  # rows written before the end stay
        result |= json.loads(path.read_text(encoding="utf-8"))
    if killed:
        result["status"] = f"failed: over its limit of {limit:.0f} s"
    elif process.exitcode:
        result["status"] = f"failed: the process ended with {process.exitcode}"
    result |= {"part": part.name, "seconds": round(time.perf_counter() - start, 1)}
    _write(path, result)
    return result


def unmeasured(part: Part, out: Path) -> dict[str, Any]:
    """What is written for a part that has no time left."""
    result = {"part": part.name, "status": "not measured: the time was used up", "rows": [], "seconds": 0.0}
    _write(out / f"{part.name}.json", result)
    return result


def overall(rows: list[Row]) -> str:
    """A part's status: the worst of its rows; `ok` only where every row is, skipped ones aside."""
    found = [row.status for row in rows]
    for worst in ("failed", DIFFERS, NO_GPU, "skipped", "not measured"):
        matching = [status for status in found if status.startswith(worst)]
        if matching and (worst != "skipped" or len(matching) == len(found)):
            return matching[0]
    return OK if found else "failed: no row"


def missing(error: ModuleNotFoundError) -> str:
    """The status of what needs a package that is not here; an import that the project broke is a failure."""
    name = (error.name or "").split(".")[0]
    if name in ("", "adlib", "stages", "benchmarks"):
        return f"failed: {error}"
    return f"skipped: {PACKAGES.get(name, name)} is not installed"


def attempt(what: str, how: str, make: Callable[[], Row]) -> Row:
    """A row, or why there is none: one method that fails costs no other."""
    try:
        return make()
    except ModuleNotFoundError as error:
        return Row(what, how, missing(error))
    except Exception as error:
        traceback.print_exc(limit=-4)
        return Row(what, how, f"failed: {type(error).__name__}: {str(error)[:200]}")


def _child(part: Part, small: bool, path: Path) -> None:
    os.setpgid(0, 0)  # so that what it starts ends with it
    if small:  # more threads cost more than they bring
        with suppress(ImportError):
            import torch

            torch.set_num_threads(1)
    rows: list[Row] = []

    def keep(status: str) -> None:
        _write(path, {"status": status, "rows": [asdict(row) for row in rows]})

    try:
        for row in part.run(small):
            rows.append(row)
            keep("failed: it ended in the middle")
        keep(overall(rows))
    except ModuleNotFoundError as error:
        keep(missing(error))
    except BaseException as error:
        traceback.print_exc()
        keep(f"failed: {type(error).__name__}: {str(error)[:200]}")


def _write(path: Path, result: dict[str, Any]) -> None:
    # Renamed: the part may be killed at any moment.
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
