"""Reading ahead changes when files are read, and nothing else."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.base.ahead import BLOCKS, read_ahead


@given(st.lists(st.integers()), st.integers(1, 7))
def test_blocks_are_in_order_and_whole(items: list[int], step: int):
    blocks = list(read_ahead(items, step, lambda item: item + 1))
    assert [item for block in blocks for item in block] == [item + 1 for item in items]
    assert all(len(block) == step for block in blocks[:-1])


def test_only_the_next_blocks_are_read():
    """Twenty files must not lie in memory while the first is worked on."""
    begun, lock = [], threading.Lock()

    def read(item: int) -> int:
        with lock:
            begun.append(item)
        return item

    blocks = read_ahead(range(20), 1, read)
    next(blocks)
    assert max(begun) <= BLOCKS
    blocks.close()


def test_an_error_reaches_whoever_asks():
    with pytest.raises(ZeroDivisionError):
        list(read_ahead([1, 0], 1, lambda item: 1 // item))
