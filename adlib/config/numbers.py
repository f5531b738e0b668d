"""What all blocks of params.yaml are made of: numbers with bounds, names, and the block itself."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A category or method becomes a folder, a stage name and a table cell.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$", max_length=80)]


def odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("should be odd")
    return number


class Block(BaseModel):
    """A block of a YAML file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _increasing(levels: tuple[int, ...]) -> tuple[int, ...]:
    """Levels and blocks come in the network's order whatever is asked: two lists would name one result."""
    if list(levels) != sorted(set(levels)):
        raise ValueError("must increase (the first of the network first)")
    return levels
