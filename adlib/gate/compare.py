"""Two sides put next to each other: the gate's verdict, and `adlib compare`, which judges nothing."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from adlib.base.errors import UserError
from adlib.gate.judge import FAILURES, Error, Judgement, judge
from adlib.gate.pairs import Pairs
from adlib.gate.rules import Cell, Rules
from adlib.gate.sides import Side
from adlib.report.per_image import PairedTest
from adlib.report.results import LEADING

ABSENT = "(absent)"


class UnlikeError(UserError):
    """Two results that do not compare: other images, labels, splits or protocol."""


@dataclass(frozen=True)
class Comparison:
    """Two sides and every cell of them, in the order of `judge`.

    `unlike` says why their numbers do not compare, `unverified` why that cannot be told; both are empty for a
    sound comparison. `notes` is what else a reader should know.
    """

    reference: Side
    current: Side
    rules: Rules
    lines: list[Judgement]
    unlike: list[str]
    unverified: list[str]
    notes: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing is worse by more than chance, missing, or beyond its limit."""
        return not any(line.failed for line in self.lines)

    @property
    def in_order(self) -> list[Judgement]:
        """The lines in the order of results.csv."""
        place = {
            cell: i for i, cell in enumerate(dict.fromkeys((*self.reference.values, *self.current.values)))
        }
        return sorted(self.lines, key=lambda line: place[line.cell])

    @property
    def counts(self) -> Counter[str]:
        """How many lines have which status."""
        return Counter(line.status for line in self.lines)

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        counts = self.counts
        total = sum(counts.values())
        words = [f"{counts[status]} {status}" for status in FAILURES if counts[status]]
        words += [f"{counts['better']} better"] if counts["better"] else []
        words += [f"{counts['same']} within tolerance"]
        words += [f"{counts[status]} {status}" for status in ("new", "not judged") if counts[status]]
        verdict = "pass" if self.passed else "FAIL"
        text = f"gate: {verdict}, {total} results against {self.reference.name}: {', '.join(words)}"
        return text if self.passed else f"{text}. First: {describe(self.lines[0])}"


def describe(line: Judgement) -> str:
    """One line in words."""
    if line.current is None:
        return f"{line.cell} is missing (was {line.reference:.4f})"
    if line.status == "beyond limit":
        low = line.limits.floor is not None and line.current < line.limits.floor
        limit = (
            f"below its floor {line.limits.floor:g}" if low else f"above its ceiling {line.limits.ceiling:g}"
        )
        return f"{line.cell} is {line.current:.4f}, {limit}"
    if line.reference is None:
        return f"{line.cell} is new ({line.current:.4f})"
    return (
        f"{line.cell} {line.reference:.4f} -> {line.current:.4f} "
        f"({line.delta:+.4f}, tolerance {line.tolerance:.4f} by {line.basis})"
    )


def compare(reference: Side, current: Side, rules: Rules, error: Error = lambda *_: None) -> Comparison:
    """Put two sides next to each other; for `error` see `judge`."""
    unlike, unverified = likeness(reference, current)
    lines = judge(reference.values, current.values, rules, error)
    notes = [*reference.notes, *current.notes]
    for rule in rules.unused([line.cell for line in lines]):
        notes.append(f"the rule `{rule}` matches no result: check its spelling")
    return Comparison(reference, current, rules, lines, unlike, unverified, notes)


def gate(reference: Side, current: Side, rules: Rules, *, allow_unverified: bool = False) -> Comparison:
    """Compare, unless the two sides were not measured alike.

    Raises:
        UnlikeError: other images, labels or protocol; or, unless `allow_unverified`, it cannot be told.
    """
    unlike, unverified = likeness(reference, current)
    names = f"{reference.name} and {current.name}"
    if unlike:
        raise UnlikeError(
            "\n  ".join([f"{names} do not compare:", *unlike])
            + "\nRun both with the same data and protocol; `adlib compare` shows the numbers all the same."
        )
    if unverified and not allow_unverified:
        raise UnlikeError(
            "\n  ".join([f"whether {names} were measured on the same images cannot be told:", *unverified])
            + "\nPut the run's dvc.lock beside its results, or pass --allow-unverified if you know they were."
        )
    with Pairs(reference, current) as pairs:
        return compare(reference, current, rules, pairs.error)


def likeness(reference: Side, current: Side) -> tuple[list[str], list[str]]:
    """Why two sides do not compare, and why that cannot be told; a line each, none twice."""
    unlike: list[str] = []
    unverified = [f"{s.name}: no dvc.lock beside its results" for s in (reference, current) if s.lock is None]
    measured = dict.fromkeys(
        (cell.category, cell.method) for cell in reference.values if cell in current.values
    )
    if not measured:
        unlike.append("they have no result of the same category, method, noise level and metric")
    for category, method in measured:
        datasets = reference.datasets[category], current.datasets[category]
        if len(set(datasets)) > 1:
            unlike.append(f"{category}: dataset {datasets[0]} and {datasets[1]}")
        if reference.lock is None or current.lock is None:
            continue
        a, b = reference.lock.protocol(category, method), current.lock.protocol(category, method)
        if a is None or b is None:
            side = reference if a is None else current
            unverified.append(f"{side.name}: dvc.lock has no finished evaluation of {category} {method}")
            continue
        unlike += [f"{category}: {reason}" for reason in a.differences(b)]
        if a.undecided(b):
            unverified.append(
                f"{category}: the code that draws the splits changed, and so did noise or seeds"
            )
    return list(dict.fromkeys(unlike)), list(dict.fromkeys(unverified))


def changed_params(reference: Side, current: Side) -> list[tuple[str, Any, Any]] | None:
    """Parameters that differ: name, reference, current; None where a side has no params.yaml."""
    if reference.params is None or current.params is None:
        return None
    names = dict.fromkeys((*reference.params, *current.params))
    values = [(name, reference.params.get(name, ABSENT), current.params.get(name, ABSENT)) for name in names]
    return [(name, a, b) for name, a, b in values if a != b]


def paired_tests(comparison: Comparison) -> dict[Cell, tuple[int, PairedTest]]:
    """DeLong's test and its seed, the first common one, of every AUROC that both sides have the scores of."""
    reference, current = comparison.reference, comparison.current
    found = {}
    with Pairs(reference, current) as pairs:
        for line in comparison.in_order:
            theirs = current.values.get(line.cell, {})
            seeds = [seed for seed in reference.values.get(line.cell, {}) if seed in theirs]
            if line.cell.metric == LEADING and seeds:
                test = pairs.test(line.cell, seeds[0])
                if test is not None:
                    found[line.cell] = seeds[0], test
    return found
