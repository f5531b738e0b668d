"""Training sets and the test set of a category: their form, and their file."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adlib.base.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The ids one fit trains on, and those that its threshold is taken from.

    Both are sorted: nothing tells which of them were injected.
    """

    noise: float
    seed: int
    ids: tuple[str, ...]
    calibration: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A file name: `noise-0.1_seed-0`."""
        return f"noise-{self.noise:g}_seed-{self.seed}"


@dataclass(frozen=True, slots=True)
class Splits:
    """Which images train and which test, for every noise level and seed of one category."""

    test: tuple[str, ...]
    overlap: bool
    training_sets: tuple[TrainingSet, ...]


def write_splits(path: str | Path, splits: Splits) -> None:
    """Write splits as JSON."""
    write_json(path, asdict(splits))


def read_splits(path: str | Path) -> Splits:
    """Read splits."""
    raw: dict[str, Any] = read_json(path)
    sets = tuple(
        TrainingSet(s["noise"], s["seed"], tuple(s["ids"]), tuple(s["calibration"]))
        for s in raw["training_sets"]
    )
    return Splits(tuple(raw["test"]), raw["overlap"], sets)
