"""A copy of the project in which DVC runs the pipeline, on drawn samples and with small settings.

64 px, random weights and two epochs keep a run to about a minute.
"""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML
from ssh_server import SshServer
from toys import ROOT

CATEGORY = "weave"
CHANGES = {
    "seeds": [0, 1],
    "image_size": 64,
    "device": "cpu",
    "dataset": {"name": "samples", "categories": [CATEGORY]},
    "backbone": {"weights": "random"},
    "views": {"backbone": {"weights": "random"}, "sizes": [64, 32], "count": 2},
    "methods": {
        "simplenet": {"epochs": 2},
        "patchcore": {"presample": 500, "coreset": 100},
        "differnet": {"hidden": 16},
        "comet-nf": {"epochs": 1},
    },
}


METRICS = {
    *("image_auroc", "image_ap", "image_f1max", "image_fpr95"),
    *("image_precision", "image_recall", "image_f1", "image_fpr"),
    *("pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_0.3", "aupro_0.05"),
}


class Clone:
    """A copy of the project with its own git history, store and parameters."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file() and name != "dvc.lock":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        interpreter = Path(sys.executable).parent
        self.environment = os.environ | {
            "PATH": f"{interpreter}{os.pathsep}{os.environ['PATH']}",
            "ADLIB_CACHE": str(store),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        self.edit(CHANGES)
        self.run("git", "init", "-q", "-b", "main")
        self.commit("start")

    def run(self, *command: str, ok: bool = True, **environment: str) -> str:
        """Run a command in the clone; its output, both streams together."""
        result = subprocess.run(
            command, cwd=self.folder, env=self.environment | environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert (result.returncode == 0) == ok, result.stdout
        return result.stdout

    def repro(self) -> list[str]:
        """Run the pipeline; the stages that were executed (or taken from DVC's run cache)."""
        return executed(self.run("dvc", "repro"))

    def edit(self, changes: dict[str, object]) -> None:
        """Change parameters in place, keeping the file's comments."""
        yaml = YAML()
        path = self.folder / "params.yaml"
        merge((data := yaml.load(path)), changes)
        yaml.dump(data, path)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """What happens inside is undone: the last commit's parameters, lock and outputs come back."""
        try:
            yield
        finally:
            self.run("git", "checkout", "-q", ".")
            self.run("dvc", "checkout", "-q")

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message)

    def use(self, remote: SshServer) -> None:
        """Make an SSH server the default remote, as docs/remotes.md says."""
        self.run("dvc", "remote", "add", "--local", "-d", "team", f"ssh://127.0.0.1:{remote.port}/adlib")
        for key, value in {"user": "team", "keyfile": str(remote.keyfile), "verify": "true"}.items():
            self.run("dvc", "remote", "modify", "--local", "team", key, value)

    def files(self, folder: str) -> dict[str, bytes]:
        """Every file below a folder, by its path."""
        paths = (path for path in (self.folder / folder).rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}

    def results(self) -> list[dict[str, str]]:
        """The rows of report/results.csv."""
        with (self.folder / "report" / "results.csv").open() as file:
            return list(csv.DictReader(file))


def merge(data: dict, changes: dict) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            merge(data[key], value)
        else:
            data[key] = value


def executed(log: str) -> list[str]:
    """The stages that DVC says it ran or took from its run cache."""
    lines = [line for line in log.splitlines() if line.startswith("Running stage") or " is cached" in line]
    return [line.split("'")[1] for line in lines]
