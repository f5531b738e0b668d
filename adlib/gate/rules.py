"""Which change is a regression: gate.yaml, checked, on top of the rules that ship with adlib."""

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from adlib.base.yaml import load_block
from adlib.config.numbers import Block, Fraction, NonNegative

Pattern = Annotated[str, Field(min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
DEFAULTS = Path(__file__).with_name("default.yaml")
SELECTORS = ("metric", "method", "category", "noise")


class Cell(NamedTuple):
    """What is compared: one metric of one method on one category at one noise level."""

    category: str
    method: str
    noise: str
    metric: str

    def __str__(self) -> str:
        return f"{self.category} {self.method} noise {self.noise} {self.metric}"


class Limits(Block):
    """What the rules say about one cell; `default.yaml` gives every metric a direction and a tolerance."""

    better: Literal["higher", "lower"] = "higher"
    absolute: NonNegative = 0.0
    relative: NonNegative = 0.0
    floor: Finite | None = None
    ceiling: Finite | None = None
    judge: bool = True

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.better == "higher" else -1

    def fixed(self, reference: float) -> float:
        """The loss that is tolerated whatever the seeds say."""
        return max(self.absolute, self.relative * abs(reference))

    def beyond(self, value: float) -> bool:
        """Whether a value is below the floor or above the ceiling."""
        too_low = self.floor is not None and value < self.floor
        return too_low or (self.ceiling is not None and value > self.ceiling)


class Rule(Block):
    """One entry of `rules`: selectors, and the settings that it changes."""

    metric: Pattern = "*"
    method: Pattern = "*"
    category: Pattern = "*"
    noise: Fraction | None = None
    better: Literal["higher", "lower"] | None = None
    absolute: NonNegative | None = None
    relative: NonNegative | None = None
    floor: Finite | None = None
    ceiling: Finite | None = None
    judge: bool | None = None

    @model_validator(mode="after")
    def _sets_something(self) -> Self:
        if not self.settings:
            allowed = ", ".join(name for name in Limits.model_fields)
            raise ValueError(f"sets nothing; give it one of {allowed}")
        return self

    @property
    def settings(self) -> dict[str, object]:
        """What the rule changes."""
        return self.model_dump(exclude=set(SELECTORS), exclude_none=True)

    def matches(self, cell: Cell) -> bool:
        """Whether the rule speaks of this cell."""
        named = ((cell.metric, self.metric), (cell.method, self.method), (cell.category, self.category))
        return all(fnmatchcase(name, pattern) for name, pattern in named) and (
            self.noise is None or self.noise == float(cell.noise)
        )

    def __str__(self) -> str:
        return ", ".join(f"{key}: {value}" for key, value in self.model_dump(exclude_defaults=True).items())


class Rules(Block):
    """The whole of gate.yaml."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rules: tuple[Rule, ...] = ()

    def limits(self, cell: Cell) -> Limits:
        """The settings of every rule that matches, the later ones last."""
        found: dict[str, object] = {}
        for rule in (*default_rules().rules, *self.rules):
            if rule.matches(cell):
                found |= rule.settings
        return Limits.model_validate(found)

    def unused(self, cells: list[Cell]) -> list[Rule]:
        """Rules of the file that speak of no cell: most often a misspelt name."""
        return [rule for rule in self.rules if not any(rule.matches(cell) for cell in cells)]


def load_rules(path: Path | None) -> Rules:
    """The rules that come on top of the defaults; without a path, those of `./gate.yaml` if it is there.

    Raises:
        ParamsError: no such file, no YAML, or rules that do not fit; one line per problem.
    """
    if path is None:
        path = Path("gate.yaml")
        if not path.exists():
            return Rules()
    return load_block(path, Rules)


@cache
def default_rules() -> Rules:
    """The rules that ship with adlib."""
    return load_block(DEFAULTS, Rules)
