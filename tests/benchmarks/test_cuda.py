"""`benchmarks/cuda.py`: every part runs small, one that fails costs no other, and differences are found."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import ROOT

from benchmarks.cuda import PARTS, check
from benchmarks.cuda_parts.clock import counted_waits, seconds_of
from benchmarks.cuda_parts.compare import (
    FLOAT32,
    gradient_difference,
    image_auroc,
    relative,
    row_differences,
    score_difference,
    verdict,
)
from benchmarks.cuda_parts.isolation import NO_GPU, Part, Row, attempt, overall
from benchmarks.cuda_parts.report import markdown
from benchmarks.cuda_parts.roles import CPU, first_step, running, same_draws, sums_in_float64
from benchmarks.cuda_parts.roles import Side as RoleSide

# The parts are forked, and under Python 3.12 that warns where the test runner has threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of `--small`, run as a person would; CPU seconds are bounded, as a machine may be busy."""
    out = tmp_path_factory.mktemp("cuda")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(ROOT / "benchmarks" / "cuda.py"), "--small", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60
    return out


@pytest.mark.slow
def test_every_part_runs_small(small: Path):
    results = json.loads((small / "results.json").read_text())["parts"]
    assert [result["part"] for result in results] == [part.name for part in PARTS]
    for result in results:
        assert json.loads((small / f"{result['part']}.json").read_text()) == result
        assert result["rows"], result["part"]
        assert not [
            row for row in result["rows"] if row["status"].startswith(("failed", "differs", "skipped"))
        ]
    assert "### equal-methods" in (small / "table.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is said without a GPU")
def test_without_a_gpu_nothing_of_it_is_ok(small: Path):
    results = json.loads((small / "results.json").read_text())["parts"]
    for result in results:
        assert result["status"] == NO_GPU
        on_gpu = [row for row in result["rows"] if "cuda" in row["how"]]
        assert on_gpu, result["part"]
        assert {row["status"] for row in on_gpu} == {NO_GPU}
    assert (small / "table.md").read_text().startswith("**not measured on a GPU yet**\n")


@pytest.mark.slow
def test_the_stand_ins_are_other_runs(small: Path):
    """A comparison of a run with itself would find nothing."""
    rows = json.loads((small / "equal-methods.json").read_text())["rows"]
    for how in ("cpu against cpu, sums in float64", "cpu against cpu, bfloat16"):
        values = [row["values"] for row in rows if row["how"] == how]
        assert len(values) == 8
        assert any(value["scores"] > 0 and value["gradients"] for value in values)


def sleeping(small: bool) -> list[Row]:
    time.sleep(60)
    return []


def raising(small: bool) -> list[Row]:
    raise RuntimeError("as a kernel that was never built")


def half(small: bool):
    yield Row("first", "cpu", "ok")
    torch.ones(2) @ torch.ones(3)


def crashing(small: bool):
    yield Row("first", "cpu", "ok")
    os.kill(os.getpid(), signal.SIGKILL)  # as the system does where memory runs out


def lacking(small: bool) -> list[Row]:
    raise ModuleNotFoundError("No module named 'open_clip'", name="open_clip")


def fine(small: bool) -> list[Row]:
    return [Row("all", "cpu", "ok")]


def test_a_part_that_fails_costs_only_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    parts = [
        Part("slow", sleeping, 0.4), Part("raises", raising, 30), Part("half", half, 30),
        Part("dies", crashing, 30), Part("lacks", lacking, 30), Part("fine", fine, 30),
    ]  # fmt: skip
    results = {result["part"]: result for result in check(parts, tmp_path, small=True, budget=200)}
    status = {name: result["status"] for name, result in results.items()}
    assert status["slow"] == "failed: over its limit of 0 s"
    assert status["raises"] == "failed: RuntimeError: as a kernel that was never built"
    assert status["half"].startswith("failed: RuntimeError: ")
    assert status["dies"] == "failed: the process ended with -9"
    assert status["lacks"] == "skipped: open_clip_torch is not installed"
    assert status["fine"] == "ok"
    # What was found before the end is kept.
    assert [len(results[name]["rows"]) for name in ("half", "dies", "fine")] == [1, 1, 1]
    assert all((tmp_path / f"{part.name}.json").is_file() for part in parts)
    assert "| slow | failed: over its limit of 0 s |" in (tmp_path / "table.md").read_text()


def test_no_part_begins_without_time(tmp_path: Path):
    (result,) = check([Part("fine", fine, 9)], tmp_path, small=True, budget=1)
    assert result["status"] == "not measured: the time was used up"


def test_a_difference_above_its_tolerance_differs():
    status, values = verdict({"scores": FLOAT32.scores, "loss": FLOAT32.loss / 2}, FLOAT32)
    assert status == "ok"
    assert values["scores_allowed"] == FLOAT32.scores
    for found in (FLOAT32.scores * 1.01, float("nan"), float("inf")):
        assert verdict({"loss": 0.0, "scores": found}, FLOAT32)[0] == "differs"
    assert verdict({"loss": None, "scores": 0.0}, FLOAT32)[0] == "ok"


def test_differences_by_hand():
    ones = [torch.ones(4), torch.zeros(4)]
    assert gradient_difference([torch.full((4,), 1.5), torch.zeros(4)], ones) == pytest.approx(0.5)
    # The second tensor has no norm of its own: it is measured by a thirtieth of the whole.
    assert gradient_difference([torch.ones(4), torch.full((4,), 0.1)], ones) == pytest.approx(3)
    assert gradient_difference([torch.ones(3), torch.zeros(4)], ones) == float("inf")
    assert gradient_difference(None, ones) is None
    assert relative(1.1, 1.0) == pytest.approx(0.1)
    scores = np.array([0.0, 2.0])
    assert score_difference(scores + 0.5, scores) == pytest.approx(0.5)
    found = row_differences(np.array([[3.0, 4.5]]), np.array([[3.0, 4.0]]))
    assert found == {"rows": pytest.approx(0.125), "rows_l2": pytest.approx(0.1)}
    assert image_auroc(np.array([1.0, 2.0, 2.0]), np.array([False, False, True])) == 0.75


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["ok", "ok"], "ok"),
        (["ok", NO_GPU], NO_GPU),
        (["differs", NO_GPU, "failed: x"], "failed: x"),
        (["ok", "differs", NO_GPU], "differs"),
        (["ok", "skipped: a is not installed"], "ok"),
        (["skipped: a is not installed"], "skipped: a is not installed"),
        ([], "failed: no row"),
    ],
)
def test_a_part_is_as_good_as_its_worst_row(statuses: list[str], expected: str):
    assert overall([Row("x", "y", status) for status in statuses]) == expected


def test_a_row_that_fails_says_why(capfd: pytest.CaptureFixture[str]):
    def broken() -> Row:
        raise ValueError("no")

    def misspelt() -> Row:
        raise ModuleNotFoundError("No module named 'adlib.gone'", name="adlib.gone")

    assert attempt("a", "b", broken).status == "failed: ValueError: no"
    assert attempt("a", "b", misspelt).status.startswith("failed: ")  # the project's own, not a package


def test_draws_are_the_same_on_every_device():
    with same_draws():
        generator = torch.Generator(device="cuda").manual_seed(3)
        found = torch.randn((2, 5), generator=generator, device="cpu", dtype=torch.bfloat16)
    assert found.dtype == torch.bfloat16
    expected = torch.randn((2, 5), generator=torch.Generator().manual_seed(3))
    assert torch.equal(found, expected.bfloat16())


def test_sums_in_float64_round_once_and_leave_nothing_behind():
    x, w = torch.randn(300, 200), torch.randn(200, 4)
    before = torch.Tensor.__matmul__
    with sums_in_float64():
        found = x @ w
    assert torch.equal(found, (x.double() @ w.double()).float())
    assert torch.Tensor.__matmul__ is before


def test_the_first_step_is_watched():
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimiser = torch.optim.SGD([weight], lr=0.1)
    with running(RoleSide("cpu", CPU)), first_step() as probe:
        for _ in range(2):
            optimiser.zero_grad()
            (weight**2).sum().backward()
            optimiser.step()
    assert probe.loss == 4
    assert probe.gradients is not None
    assert probe.gradients[0].tolist() == [4]


def test_waits_are_counted_by_the_projects_line(monkeypatch: pytest.MonkeyPatch):
    import warnings

    from adlib.learning.methods.patchcore import greedy_coreset

    argmax = torch.Tensor.argmax

    def waiting(self: torch.Tensor) -> torch.Tensor:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        return argmax(self)

    monkeypatch.setattr(torch.Tensor, "argmax", waiting)
    with counted_waits() as waits:
        greedy_coreset(torch.randn(9, 2), 4)
        warnings.warn("something else", stacklevel=1)
    ((line, count),) = waits.items()
    assert line.startswith("adlib/learning/methods/patchcore.py:")
    assert count == 4


def test_seconds_are_means_of_at_least_one_call():
    calls: list[int] = []
    assert seconds_of(lambda: calls.append(1), CPU, least=0.0, most=1) >= 0
    assert len(calls) == 2  # one is not counted


def test_the_table_tells_the_longest_kernels_and_the_waits():
    values = {
        "steps_s": 2.0,
        "waits": {"adlib/a.py:1": 3},
        "top": [{"name": "gemm", "calls": 2, "ms": 1.5, "share": 0.5}],
    }
    result = {
        "part": "p",
        "status": "ok",
        "seconds": 1.0,
        "rows": [{"what": "m", "how": "cuda", "status": "ok", "values": values}],
    }
    text = markdown({"gpu": "a card", "commit": "abc"}, [result], small=False)
    assert text.startswith("Measured on a card.")
    assert "- 3 x adlib/a.py:1" in text
    assert "| `gemm` | 2 | 1.5 | 50.0% |" in text
