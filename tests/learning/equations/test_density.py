"""The neighbourhood density of training patches against a loop, and its defining properties."""

import pytest
import torch

from adlib.learning.equations import density
from adlib.learning.equations.density import isolation, nearest_elsewhere


def by_loops(patches: torch.Tensor, bank: torch.Tensor, k: int) -> torch.Tensor:
    """k-distance over distinct other images, divided by the neighbours' own mean k-distance."""
    S, P = patches.shape[:2]
    M = bank.shape[1]
    distance = torch.zeros(S, P, dtype=patches.dtype)
    nearest: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for s in range(S):
        for p in range(P):
            per_image = []
            for other in range(S):
                if other != s:
                    gaps = [float((patches[s, p] - bank[other, m]).norm()) for m in range(M)]
                    best = min(range(M), key=gaps.__getitem__)
                    per_image.append((gaps[best], other, best))
            chosen = sorted(per_image)[:k]
            distance[s, p] = chosen[-1][0]
            nearest[s, p] = [(other, m) for _, other, m in chosen]
    out = torch.zeros(S, P, dtype=patches.dtype)
    for (s, p), neighbours in nearest.items():
        out[s, p] = distance[s, p] / torch.stack([distance[other, m] for other, m in neighbours]).mean()
    return out


def cloud(S: int, P: int, D: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn((S, P, D), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("neighbours", "bank"), [(1, 3), (2, 4), (3, 2)])
def test_equals_the_loop(neighbours: int, bank: int):
    patches = cloud(6, 5)
    expected = by_loops(patches, patches[:, :bank], neighbours)
    torch.testing.assert_close(isolation(patches, patches[:, :bank], neighbours), expected)


def test_scale_free():
    patches = cloud(6, 5)
    torch.testing.assert_close(
        isolation(1000 * patches, 1000 * patches[:, :3], 2), isolation(patches, patches[:, :3], 2)
    )


def test_an_outlier_stands_out_and_its_twin_does_not_vouch_for_it():
    patches = cloud(12, 8)
    patches[0, -1] += 20
    patches[1, -1] = patches[0, -1]  # the same defect in a second image
    found = isolation(patches, patches, 3)
    assert found[0, -1] > 2
    assert found[0, :-1].max() < found[0, -1]


def test_neighbours_are_capped_by_the_number_of_images():
    patches = cloud(4, 3)
    torch.testing.assert_close(isolation(patches, patches, 99), isolation(patches, patches, 2))


def test_identical_images_are_not_a_division_by_zero():
    patches = cloud(1, 4).repeat(5, 1, 1)
    assert torch.isfinite(isolation(patches, patches, 2)).all()


def test_bad_input():
    with pytest.raises(ValueError, match="at least 3 images"):
        isolation(cloud(2, 3), cloud(2, 3), 1)
    with pytest.raises(ValueError, match="bank"):
        isolation(cloud(4, 3), cloud(5, 3), 1)


def test_nearest_elsewhere_equals_the_loop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(density, "CHUNK", 3)
    patches, bank = cloud(4, 5), cloud(3, 6, seed=1)
    images, owners = torch.tensor([0, 1, 2, 3]), torch.tensor([3, 1, 0])
    expected = torch.stack(
        [
            torch.stack([torch.cdist(p[None], bank[owners != s].flatten(0, 1)).min() for p in patches[s]])
            for s in images
        ]
    )
    found = nearest_elsewhere(patches.flatten(0, 1), images.repeat_interleave(5), bank, owners)
    torch.testing.assert_close(found.unflatten(0, (4, 5)), expected)


def test_a_twin_elsewhere_is_at_no_distance():
    patches = 1e3 + cloud(3, 2).float()
    found = nearest_elsewhere(
        patches[0], torch.tensor([0, 0]), torch.stack([patches[0], patches[0], patches[2]]), torch.arange(3)
    )
    assert (found >= 0).all()
    assert found.max() < 2
