"""AF-CLIP's zero-shot and few-shot scores against the formulas."""

import math

import pytest
import torch

from adlib.learning.heads.memory import MemoryBank
from adlib.learning.heads.states import abnormal_probability, bank_scores, few_shot_scores


def test_probability_is_the_softmax_of_summed_cosines():
    generator = torch.Generator().manual_seed(0)
    tokens = [torch.randn(2, 5, 3, dtype=torch.float64, generator=generator) for _ in range(4)]
    states = torch.randn(2, 3, dtype=torch.float64, generator=generator)
    found = abnormal_probability(tokens, states)
    for b in range(2):
        for t in range(5):
            s = [
                sum(float(torch.cosine_similarity(v[b, t], state, dim=0)) / 0.07 for v in tokens)
                for state in states
            ]
            assert found[b, t].item() == pytest.approx(
                math.exp(s[1]) / (math.exp(s[0]) + math.exp(s[1])), abs=1e-9
            )


def test_probability_does_not_depend_on_lengths():
    v, states = torch.randn(1, 4, 3), torch.randn(2, 3)
    scaled = abnormal_probability([v * 7], states * torch.tensor([[2.0], [0.1]]))
    torch.testing.assert_close(scaled, abnormal_probability([v], states), rtol=1e-4, atol=1e-5)


def test_bank_scores_are_half_the_smallest_cosine_distance_averaged_over_banks():
    generator = torch.Generator().manual_seed(1)
    tokens = [torch.randn(2, 4, 3, dtype=torch.float64, generator=generator) for _ in range(2)]
    kept = [torch.randn(6, 3, dtype=torch.float64, generator=generator) for _ in range(2)]
    banks = []
    for vectors in kept:
        banks.append(MemoryBank("cosine"))
        banks[-1].add(vectors)
    found = bank_scores(tokens, banks)
    assert found.shape == (2, 4)
    for b in range(2):
        for p in range(4):
            cosines = [torch.cosine_similarity(f[b, p][None], k) for f, k in zip(tokens, kept, strict=True)]
            expected = sum(float((1 - c).min()) / 2 for c in cosines) / 2
            assert found[b, p].item() == pytest.approx(expected, abs=1e-9)


def test_few_shot_scores_by_hand():
    patch = torch.tensor([[0.1, 0.5], [0.3, 0.2]])
    image, scores = few_shot_scores(patch, torch.tensor([[1.0, 0.0, 0.2], [0.5, 1.0, 1.0]]))
    torch.testing.assert_close(image, torch.tensor([0.6, 0.35]))
    torch.testing.assert_close(scores, torch.tensor([[0.1, 0.52], [0.4, 0.3]]))


def test_every_block_and_scale_needs_its_bank():
    with pytest.raises(ValueError, match="zip"):
        bank_scores([torch.zeros(1, 2, 3)], [])
