"""report: every evaluation that params.yaml names -> index.html, results.csv and summary.json."""

import sys
from pathlib import Path

from adlib.base.errors import stage
from adlib.base.progress import say
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.report.build import write_report


@stage
def main() -> None:
    folder = Path("report")
    write_report(load_params(), Workspace(), folder, Path("params.yaml"))
    say(f"wrote {folder / 'index.html'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
