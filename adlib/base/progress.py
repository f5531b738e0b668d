"""Progress that a person can follow; quiet when nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class SpeedColumn(ProgressColumn):
    """Items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(
            f"{speed:.1f} {self.unit}/s" if speed else f"- {self.unit}/s", style="progress.data.speed"
        )


@contextmanager
def track(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar with speed and time left on a terminal; the block calls `advance(n)` as work is done."""
    with _bar(what, total, MofNCompleteColumn(), SpeedColumn(unit)) as advance:
        yield advance


def say(message: str) -> None:
    """One line for the log of a stage."""
    print(message, file=sys.stderr, flush=True)


def wide_console(width: int = 160) -> Console:
    """As wide as the terminal; in a log wide enough for a table's row."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=width)


@contextmanager
def transfer(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar with bytes, speed and time left on a terminal; `total` is None where the size is unknown."""
    with _bar(what, total, DownloadColumn(binary_units=True), TransferSpeedColumn()) as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int | None, *columns: ProgressColumn) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)
