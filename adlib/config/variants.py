"""The one schema of params.yaml: every knob, its type and its bounds.

DVC accepts any value for a key (`kappa=abc` included), so every stage reads its parameters through
`load_params`, which refuses unknown keys, wrong types and out-of-range values before any work is done.
"""

TRANSDUCTIVE = "transductive"  # the variant that sees all test images at once


def variant_name(method: str, shots: int) -> str:
    """The name of a method with some shots: that of its folder below fits and evaluations."""
    return f"{method}/shots-{shots}" if shots else method


def split_variant(name: str) -> tuple[str, int]:
    """Method and shots of `variant_name`."""
    method, _, shots = name.partition("/shots-")
    return method, int(shots or 0)
