"""Named streams: the same seed and name give the same numbers, any other name gives others."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from adlib.base.rng import numpy_stream, shuffled, stream_seed, torch_stream

seeds = st.integers(0, 2**32 - 1)
names = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1), max_size=3)


def test_known_seed():
    """The first 63 bits of sha256("0/a/b"): stable across versions and platforms."""
    assert stream_seed(0, "a", "b") == 0x5511D52497281403


@given(seeds, names)
def test_a_stream_is_a_function_of_seed_and_name(seed: int, name: list[str]):
    assert 0 <= stream_seed(seed, *name) < 2**63
    first, second = (numpy_stream(seed, *name).random(4) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    a, b = (torch.rand(4, generator=torch_stream(seed, *name)) for _ in range(2))
    torch.testing.assert_close(a, b, rtol=0, atol=0)


@given(seeds, names, seeds, names)
def test_other_streams_are_other_streams(seed: int, name: list[str], other: int, other_name: list[str]):
    same = (seed, name) == (other, other_name)
    assert (stream_seed(seed, *name) == stream_seed(other, *other_name)) == same


def test_global_generators_are_left_alone():
    np.random.seed(0)  # noqa: NPY002  the global generator is what this test watches
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    numpy_stream(1, "x").random()
    torch.rand(1, generator=torch_stream(1, "x"))
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


@given(st.sets(st.text("0123456789abcdef", min_size=1), min_size=1), seeds, st.data())
def test_an_id_that_leaves_moves_no_other(ids: set[str], seed: int, data: st.DataObject):
    order = shuffled(ids, seed, "draw")
    assert sorted(order) == sorted(ids)
    gone = data.draw(st.sampled_from(order))
    assert shuffled(ids - {gone}, seed, "draw") == [id for id in order if id != gone]


def test_another_seed_or_name_is_another_order():
    ids = [str(i) for i in range(50)]
    assert len({tuple(shuffled(ids, *key)) for key in [(0, "a"), (0, "b"), (1, "a")]}) == 3
