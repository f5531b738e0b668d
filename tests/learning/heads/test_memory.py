"""The memory bank against brute force in float64."""

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adlib.learning.heads import memory
from adlib.learning.heads.memory import MemoryBank

Metric = Literal["euclidean", "cosine"]
METRICS: tuple[Metric, ...] = ("euclidean", "cosine")


def vectors(count: int, width: int = 16, seed: int = 0, offset: float = 0.0) -> torch.Tensor:
    return torch.randn((count, width), generator=torch.Generator().manual_seed(seed)) + offset


def bank_of(x: torch.Tensor, metric: Metric = "euclidean") -> MemoryBank:
    bank = MemoryBank(metric)
    bank.add(x)
    return bank


def brute_force(x: torch.Tensor, bank: torch.Tensor, metric: Metric) -> torch.Tensor:
    """All distances `(N, M)` by definition."""
    x, bank = x.double(), bank.double()
    if metric == "euclidean":
        return (x[:, None] - bank).square().sum(2).sqrt()
    return 1 - (x @ bank.T) / (x.norm(dim=1)[:, None] * bank.norm(dim=1))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 2, 9, 30])
def test_equals_brute_force(metric: Metric, k: int):
    x, stored = vectors(50), vectors(30, seed=1)
    expected = brute_force(x, stored, metric).sort(dim=1).values[:, :k]
    distances, positions = bank_of(stored, metric).search(x, k)
    torch.testing.assert_close(distances.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(bank_of(stored, metric).nearest(x, k), distances)
    found = brute_force(x, stored, metric).gather(1, positions)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (distances.diff(dim=1) >= 0).all()


@given(
    st.sampled_from(METRICS), st.integers(1, 8), st.integers(1, 8), st.integers(1, 5),
    st.sampled_from([1e-3, 1.0, 1e3]), st.integers(0, 99), st.data(),
)  # fmt: skip
def test_equals_brute_force_in_double(
    metric: Metric, queries: int, stored: int, width: int, scale: float, seed: int, data: st.DataObject
):
    x, y = vectors(queries, width, seed).double() * scale, vectors(stored, width, seed + 1).double() * scale
    k = data.draw(st.integers(1, stored))
    expected = brute_force(x, y, metric).sort(dim=1).values[:, :k]
    torch.testing.assert_close(bank_of(y, metric).nearest(x, k), expected, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_identical_vectors_have_distance_zero(metric: Metric, offset: float):
    """Exactly, and far from the origin as well, where |a|^2 - 2 a.b + |b|^2 has lost every digit."""
    stored = vectors(500, offset=offset)
    shuffled = torch.randperm(500, generator=torch.Generator().manual_seed(2))
    distances, positions = bank_of(stored, metric).search(stored[shuffled])
    assert (distances == 0).all()
    assert torch.equal(positions[:, 0], shuffled)


def test_far_from_the_origin():
    x, stored = vectors(100, offset=1000), vectors(300, seed=1, offset=1000)
    expected = brute_force(x, stored, "euclidean").min(dim=1).values
    torch.testing.assert_close(bank_of(stored).nearest(x)[:, 0].double(), expected, rtol=1e-4, atol=0)


def test_distances_belong_to_their_positions():
    """Between two far clusters the fast search cannot tell near neighbours apart; the measured order can."""
    clusters = torch.cat([vectors(20, offset=1000), vectors(20, seed=1, offset=-1000)])
    x = vectors(50, seed=2, offset=1000)
    distances, positions = bank_of(clusters).search(x, 20)
    assert (distances.diff(dim=1) >= 0).all()
    found = brute_force(x, clusters, "euclidean").gather(1, positions)
    torch.testing.assert_close(distances.double(), found, rtol=1e-4, atol=0)


def test_small_angles_are_not_lost():
    """1 - cos of nearly parallel vectors is below float32's resolution near 1."""
    stored = torch.tensor([[1.0, 0.0]])
    x = torch.tensor([[1.0, 1e-5]])
    torch.testing.assert_close(
        bank_of(stored, "cosine").nearest(x), torch.tensor([[5e-11]]), rtol=1e-3, atol=0
    )


def test_cosine_ignores_lengths_and_goes_up_to_two():
    stored = torch.tensor([[3.0, 0.0]])
    x = torch.tensor([[0.1, 0.0], [0.0, 7.0], [-5.0, 0.0]])
    found = bank_of(stored, "cosine").nearest(x)
    torch.testing.assert_close(found, torch.tensor([[0.0], [1.0], [2.0]]))


@pytest.mark.parametrize("metric", METRICS)
def test_added_in_parts(metric: Metric):
    stored = vectors(40)
    parts = MemoryBank(metric)
    for part in stored.split([1, 9, 30]):
        parts.add(part)
        parts.nearest(vectors(2, seed=3))  # a search in between
    assert len(parts) == 40
    assert torch.equal(parts.vectors, stored)
    x = vectors(7, seed=1)
    for found, expected in zip(parts.search(x, 3), bank_of(stored, metric).search(x, 3), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("metric", METRICS)
def test_chunks_change_nothing(metric: Metric, monkeypatch: pytest.MonkeyPatch):
    x, bank = vectors(25, seed=1), bank_of(vectors(30), metric)
    distances, positions = bank.search(x, 4)
    monkeypatch.setattr(memory, "CELLS", 30 * 4)
    torch.testing.assert_close(bank.nearest(x, 4), distances)
    assert torch.equal(bank.search(x, 4)[1], positions)
    monkeypatch.setattr(memory, "CELLS", 1)  # less than one row: a query at a time
    torch.testing.assert_close(bank.nearest(x, 4), distances)


def test_no_queries():
    distances, positions = bank_of(vectors(3)).search(torch.zeros(0, 16), 2)
    assert distances.shape == positions.shape == (0, 2)


def test_unknown_metric():
    with pytest.raises(ValueError, match="metric: must be euclidean or cosine, got 'l1'"):
        MemoryBank("l1")  # pyright: ignore[reportArgumentType]


def test_an_empty_bank():
    with pytest.raises(ValueError, match="the memory bank is empty; add vectors first"):
        MemoryBank().nearest(vectors(1))
    assert len(MemoryBank()) == 0


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_out_of_range(k: int):
    with pytest.raises(ValueError, match=f"k: must be between 1 and the bank's 3 vectors, got {k}"):
        bank_of(vectors(3)).nearest(vectors(1), k)


def test_shapes_that_do_not_fit():
    bank = bank_of(vectors(3))
    with pytest.raises(ValueError, match=r"x: must be \(M, 16\), got \(3, 15\)"):
        bank.add(vectors(3, 15))
    with pytest.raises(ValueError, match=r"x: must be \(M, D\), got \(16,\)"):
        MemoryBank().add(torch.zeros(16))
    for x in (torch.zeros(1, 15), torch.zeros(16), torch.zeros(1, 1, 16)):
        with pytest.raises(ValueError, match=r"x: must be \(N, 16\), got "):
            bank.nearest(x)
