"""The names of a method's variants: one for each number of shots, and one that sees all test images."""

TRANSDUCTIVE = "transductive"  # the variant that sees all test images at once


def variant_name(method: str, shots: int) -> str:
    """The name of a method with some shots: that of its folder below fits and evaluations."""
    return f"{method}/shots-{shots}" if shots else method


def split_variant(name: str) -> tuple[str, int]:
    """Method and shots of `variant_name`."""
    method, _, shots = name.partition("/shots-")
    return method, int(shots or 0)
