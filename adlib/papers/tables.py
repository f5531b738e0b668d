"""The papers' tables as data, one CSV file per paper, to be printed beside our own numbers.

Columns: `table`, `dataset` (as in params.yaml), `category` (`average` for a dataset's mean), `method` (by our
names if it is ours), `setting` (of an ablation, else empty), `metric` (by our names), `percent` as printed,
`spread` (standard deviation over draws, in percent; a column only where a paper prints some), `protocol`,
`note`.

Protocols: `full-shot` trains on the target's own images, `4-shot` sees so many of them; `zero-shot visa`
trains once on VisA and applies the model unchanged (`zero-shot mvtec` where VisA is the target). A note that
starts with `doubtful` marks a number that contradicts another one in the same paper; `no masks in the public
release` marks a pixel metric that nobody can check.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from adlib.base.errors import UserError
from adlib.base.tables import read_records
from adlib.base.yaml import read_yaml

FOLDER = Path(__file__).parent
PAPERS = {
    "comet": "CoMet (Aqeel et al. 2025)",
    "cozad": "CoZAD (Aqeel et al. 2025)",
    "afclip": "AF-CLIP (Fang et al. 2025)",
}


@dataclass(frozen=True, slots=True)
class PaperResult:
    """One number of a paper; the fields are the columns of its file, but for the paper's name."""

    table: int
    dataset: str
    category: str
    method: str
    setting: str
    metric: str
    percent: float
    protocol: str
    note: str
    spread: float | None = None
    paper: str = ""

    @property
    def value(self) -> float:
        """As a fraction, like our own metrics."""
        return self.percent / 100


def paper_results(paper: str | None = None, **wanted: Any) -> list[PaperResult]:
    """The reported numbers that agree with everything asked for, in the order of the papers.

    Args:
        paper: a key of `PAPERS`; None for all.
        wanted: fields of `PaperResult`; None stands for any value.

    Raises:
        ValueError: an unknown paper.
    """
    if paper is not None and paper not in PAPERS:
        raise ValueError(f"paper: must be one of {', '.join(PAPERS)}, got {paper!r}")
    return [
        result
        for name in ([paper] if paper else PAPERS)
        for result in _read(name)
        if all(value is None or getattr(result, key) == value for key, value in wanted.items())
    ]


@cache
def _read(paper: str) -> tuple[PaperResult, ...]:
    return tuple(replace(row, paper=paper) for row in read_records(FOLDER / f"{paper}.csv", PaperResult))


def named_setting(name: str) -> dict[str, Any]:
    """Values at keys of params.yaml such as `methods.comet-sn.tasks`, from `settings.yaml`.

    Raises:
        UserError: there is no such setting; the message lists them.
    """
    known = read_yaml(FOLDER / "settings.yaml")
    if name not in known:
        raise UserError(f"no setting is called {name!r}; there are {', '.join(known)}")
    return dict(known[name])
