"""Everything in the report that is not a metric: counts, paired tests, weights, seconds, the colour bar."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from adlib.base.files import read_json
from adlib.config.workspace import Workspace
from adlib.data.splits import Splits
from adlib.evaluation.pictures import heat_colours
from adlib.report.per_image import (
    FitImages,
    FitName,
    PairedTest,
    WeightSummary,
    mean_test,
    paired_test,
    summarise_weights,
)
from adlib.report.results import Results, noise_key, require
from adlib.report.verdict import ranking

# Keyed by category and method.
Images = Mapping[tuple[str, str], Mapping[FitName, FitImages]]


@dataclass(frozen=True)
class Counts:
    """Images of a category; `train` has the number of images per noise level."""

    category: str
    train: list[int]
    test_normal: int
    test_anomalous: int


def count_rows(results: Results, images: Images, splits: Mapping[str, Splits]) -> list[Counts]:
    """How many images each category trains on and tests."""
    rows = []
    for category in results.categories:
        labels = next(iter(images[category, results.methods[0]].values())).test_labels
        sizes = {s.noise: len(s.ids) for s in splits[category].training_sets}
        train = [sizes[level] for level in results.levels]
        rows.append(Counts(category, train, int((~labels).sum()), int(labels.sum())))
    return rows


def training_sizes(counts: Sequence[Counts]) -> str:
    """Training images of all categories together: a range if it depends on the noise level."""
    train = [sum(numbers) for numbers in zip(*(row.train for row in counts), strict=True)]
    return str(min(train)) if min(train) == max(train) else f"{min(train)} to {max(train)}"


@dataclass(frozen=True)
class Paired:
    """The leader against the runner-up at a noise level, first seed; `tests` by category, the mean first."""

    noise: float
    leader: str
    other: str
    tests: dict[str, PairedTest]

    @property
    def overall(self) -> PairedTest:
        """The test of the mean over categories, or of the only category."""
        return next(iter(self.tests.values()))


def paired_rows(results: Results, images: Images) -> list[Paired]:
    """DeLong's test at the lowest and the highest noise level; nothing with a single method."""
    rows = []
    for level in dict.fromkeys((min(results.levels), max(results.levels))):
        order, _ = ranking(results, level)
        if len(order) < 2:
            continue
        first, second = (results.methods[m] for m in order[:2])
        fit = noise_key(level), results.seeds[0]
        found = {c: paired_test(images[c, first][fit], images[c, second][fit]) for c in results.categories}
        tests = {category: test for category, test in found.items() if test is not None}
        if len(tests) > 1:
            tests = {f"Mean over {len(tests)} categories": mean_test(list(tests.values())), **tests}
        if tests:
            rows.append(Paired(level, first, second, tests))
    return rows


def weight_rows(results: Results, images: Images) -> list[tuple[str, str, float, WeightSummary]]:
    """How weights treat injected anomalies: category, method that gives weights, dirty level, summary."""
    rows = []
    for category, method, level in product(results.categories, results.methods, sorted(results.levels)):
        fits = [images[category, method][noise_key(level), seed] for seed in results.seeds]
        summary = summarise_weights(fits)
        if summary is not None:
            rows.append((category, method, level, summary))
    return rows


@dataclass(frozen=True)
class Timing:
    """Seconds of a category and method, mean over fits; `device` is empty where it was not recorded."""

    category: str
    method: str
    fit: float
    score: float
    images_per_second: float
    device: str


def timing_rows(results: Results, workspace: Workspace, splits: Mapping[str, Splits]) -> list[Timing]:
    """How long fits and scoring took, for the fits that params.yaml names."""
    rows = []
    for category in results.categories:
        plan = splits[category]
        wanted = [s for s in plan.training_sets if s.noise in results.levels and s.seed in results.seeds]
        for method in results.methods:
            name, _, variant = method.partition("/")
            seconds = read_json(require(workspace.timing(name, category)))
            fits = [seconds[Path(variant, training_set.name).as_posix()] for training_set in wanted]
            fit, score = (float(np.mean([f[part] for f in fits])) for part in ("fit", "score"))
            devices = sorted({f["device"] for f in fits if "device" in f})
            speed = len(plan.test) / score if score > 0 else float("nan")
            rows.append(Timing(category, method, fit, score, speed, ", ".join(devices)))
    return rows


def colour_bar(stops: int = 13) -> str:
    """The colour scale of the heat maps as a CSS gradient."""
    colours = heat_colours(np.linspace(0, 1, stops))
    return f"linear-gradient(90deg, {', '.join('#' + bytes(colour).hex() for colour in colours)})"
