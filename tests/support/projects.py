"""Small projects in a git repository: what `dvc repro` leaves there, without running it."""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from ruamel.yaml import YAML
from typer.testing import CliRunner

from adlib.cli.app import app
from adlib.gate.rules import Cell
from adlib.report.results import HEADER

Table = dict[Cell, dict[int, float]]
RESULTS = {"image_auroc": 0.95, "image_ap": 0.94, "image_f1max": 0.87}
WORSE = RESULTS | {"image_ap": 0.90}
PARAMS: dict[str, Any] = {
    "kappa": 1.5,
    "seeds": [0],
    "image_size": 256,
    "keep_aspect": False,
    "dataset": {"name": "elpv", "max_train": 250, "split_seed": 0, "categories": ["mono"]},
    "noise": {"levels": [0.0, 0.1], "reserve": 0.4, "overlap": False},
}


def table(
    values: Mapping[str, float] | Mapping[str, list[float]],
    *,
    category: str = "mono",
    method: str = "patchcore",
    noise: str = "0",
    seeds: list[int] | None = None,
) -> Table:
    """`table({"image_auroc": [0.9, 0.91]})`: one value per seed, for one method."""
    found: Table = {}
    for metric, value in values.items():
        several = value if isinstance(value, list) else [value]
        found[Cell(category, method, noise, metric)] = dict(
            zip(seeds or range(len(several)), several, strict=True)
        )
    return found


def csv_text(values: Table, dataset: str = "elpv") -> str:
    """The table as results.csv."""
    rows = [
        ",".join((dataset, cell.category, cell.method, cell.noise, str(seed), cell.metric, f"{value:.6f}"))
        for cell, seeds in values.items()
        for seed, value in seeds.items()
    ]
    return "\n".join((",".join(HEADER), *rows)) + "\n"


def write(
    folder: Path,
    values: Table,
    *,
    params: Mapping[str, Any] | None = None,
    dataset: str = "elpv",
    manifest: str = "m0",
    labels: str = "l0",
    splits: str | None = None,
    code: str = "c0",
    excluded: str = "x0",
    lock: bool = True,
) -> Path:
    """Write a run's tracked results; `params` are top-level changes; returns results.csv."""
    settings = PARAMS | dict(params or {})
    (folder / "report").mkdir(parents=True, exist_ok=True)
    yaml = YAML(typ="safe", pure=True)
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(settings, file)
    results = folder / "report" / "results.csv"
    results.write_text(csv_text(values, dataset))
    if not lock:
        return results
    drawn = splits or _md5(
        f"{manifest}{labels}{code}{excluded}{settings['noise']}{settings['seeds']}".encode()
    )
    stages: dict[str, Any] = {
        "report": {
            "deps": [{"path": "params.yaml", "md5": _md5((folder / "params.yaml").read_bytes())}],
            "outs": [{"path": "report/results.csv", "md5": _md5(results.read_bytes())}],
        }
    }
    for category in {cell.category for cell in values}:
        data = [
            {"path": f"outputs/fetch/{category}/manifest.csv", "md5": manifest},
            {"path": f"outputs/fetch/{category}/labels.csv", "md5": labels},
        ]
        plan = {"path": f"outputs/contaminate/{category}.json", "md5": drawn}
        stages[f"fetch@{category}"] = {
            "outs": data,
            "params": {"params.yaml": {"dataset": settings["dataset"]}},
        }
        stages[f"contaminate@{category}"] = {
            "deps": [
                *data,
                *({"path": f"adlib/{room}", "md5": code} for room in ("data", "base")),
                {"path": "excluded.csv", "md5": excluded},
            ],
            "params": {
                "params.yaml": {
                    "noise": settings["noise"],
                    "seeds": settings["seeds"],
                    "dataset.split_seed": settings["dataset"]["split_seed"],
                }
            },
            "outs": [dict(plan)],
        }
        for method in {cell.method for cell in values if cell.category == category}:
            frame = {key: settings[key] for key in ("image_size", "keep_aspect")}
            stages[f"evaluate@{category}-{method}"] = {
                "deps": [*data, plan],
                "params": {"params.yaml": frame},
                "outs": [{"path": f"outputs/evaluation/{category}/{method}", "md5": "e.dir"}],
            }
    with (folder / "dvc.lock").open("w") as file:
        yaml.dump({"schema": "2.0", "stages": stages}, file)
    return results


def commit(folder: Path, message: str = "results") -> str:
    """Commit everything; the full hash."""
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(
        folder,
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        message,
    )
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def both(first: dict[str, float] | None = None) -> Table:
    return table(first or RESULTS) | table({"image_auroc": 0.9}, method="simplenet")  # type: ignore[arg-type]


def adlib(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def gate(*arguments: object, against: str = "HEAD") -> Result:
    return adlib("gate", "--against", against, *arguments)


def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed run of two methods; it becomes the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    write(folder, both())
    commit(folder)
    return folder
