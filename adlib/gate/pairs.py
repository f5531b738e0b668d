"""Per-image scores of both sides, and what they say about a difference: the same test images, paired."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from adlib.base.rng import numpy_stream
from adlib.config.workspace import Workspace
from adlib.evaluation.metrics import bootstrap_interval, image_metrics
from adlib.gate.rules import Cell
from adlib.gate.sides import Side
from adlib.report.per_image import FitImages, PairedTest, by_fit, paired_test, read_rows
from adlib.report.results import LEADING

DRAWS = 500
NORMAL_95 = 1.96
# images.csv rounds scores to six digits, which can tie two images.
AGREEMENT = 1e-3


class Scores:
    """The per-image scores of one side, read when they are asked for.

    Those of a revision come through DVC, which keeps databases open: until `opened` is closed.
    """

    def __init__(self, side: Side, opened: ExitStack) -> None:
        """Nothing is read here."""
        self._side, self._opened = side, opened
        self._read = cache(self._fetch)

    def fit(self, cell: Cell, seed: int) -> FitImages | None:
        """The images of one fit.

        None where neither the workspace nor DVC's cache has them, or where they give another value than
        results.csv: outputs of another run.
        """
        images = self._read(cell.category, cell.method).get((cell.noise, seed))
        if images is None:
            return None
        told = self._side.values.get(cell._replace(metric=LEADING), {}).get(seed)
        found = image_metrics(images.test_scores, images.test_labels)[LEADING]
        return images if told is not None and abs(told - found) <= AGREEMENT else None

    def _fetch(self, category: str, method: str) -> dict[Any, FitImages]:
        try:
            with self._workspace(category, method) as workspace:
                return by_fit(read_rows(workspace, category, method))
        except (OSError, ValueError, KeyError, *_dvc_errors()):
            return {}

    @contextmanager
    def _workspace(self, category: str, method: str) -> Iterator[Workspace]:
        """A folder that holds the evaluation: the project's own, or a copy out of DVC's cache."""
        if self._side.commit is None:
            yield Workspace(self._side.folder / "outputs")
            return
        with tempfile.TemporaryDirectory() as scratch:
            file = Workspace().evaluation(category, method) / "images.csv"
            (Path(scratch) / file).parent.mkdir(parents=True)
            (Path(scratch) / file).write_bytes(self._cached.read_bytes(file.as_posix()))
            yield Workspace(Path(scratch) / "outputs")

    @cached_property
    def _cached(self) -> Any:
        """The files of a revision as DVC's cache, or its remote, holds them."""
        from dvc.api import DVCFileSystem  # takes a second or two to import

        files = DVCFileSystem(str(self._side.folder), rev=self._side.commit)
        return self._opened.enter_context(closing(files))


def _dvc_errors() -> tuple[type[Exception], ...]:
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexError

    return DvcException, DataIndexError


def paired_error(cell: Cell, reference: FitImages, current: FitImages) -> float | None:
    """Standard error over test images of the difference of a metric between two fits.

    DeLong's for the AUROC; for the other image metrics the bootstrap's, both fits under the same draws.
    None for a metric that images.csv cannot give, or for other test images.
    """
    labels = reference.test_labels
    if reference.test_ids != current.test_ids or not np.array_equal(labels, current.test_labels):
        return None
    if cell.metric == LEADING:
        test = paired_test(reference, current)
        return None if test is None else test.standard_error
    if cell.metric not in image_metrics(reference.test_scores, labels):
        return None

    def difference(picks: np.ndarray, truth: np.ndarray) -> float:
        a, b = (image_metrics(fit.test_scores[picks], truth)[cell.metric] for fit in (reference, current))
        return b - a

    # The "scores" that are resampled are the images' numbers, so that both fits see the same draw.
    low, high = bootstrap_interval(
        difference,
        np.arange(labels.size),
        labels,
        level=0.95,
        draws=DRAWS,
        rng=numpy_stream(0, "gate", *cell),
    )
    return (high - low) / (2 * NORMAL_95)


class Pairs(ExitStack):
    """Paired looks at the fits of two sides, in a `with` that closes what was opened for them."""

    def __init__(self, reference: Side, current: Side) -> None:
        """Nothing is read here."""
        super().__init__()
        self._reference, self._current = Scores(reference, self), Scores(current, self)

    def error(self, cell: Cell, reference_seed: int, current_seed: int) -> float | None:
        """`paired_error` of two fits, or None where the scores of one are not at hand."""
        reference, current = self._reference.fit(cell, reference_seed), self._current.fit(cell, current_seed)
        return None if reference is None or current is None else paired_error(cell, reference, current)

    def test(self, cell: Cell, seed: int) -> PairedTest | None:
        """DeLong's test of the AUROC, current minus reference, of one seed."""
        reference, current = self._reference.fit(cell, seed), self._current.fit(cell, seed)
        return None if reference is None or current is None else paired_test(current, reference)
