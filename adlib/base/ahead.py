"""Reading ahead: threads decode the next blocks of files while the present one is worked on."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
THREADS = 4
BLOCKS = 2  # that are held in memory besides the present one


def read_ahead(items: Sequence[Item], step: int, read: Callable[[Item], Read]) -> Iterator[list[Read]]:
    """What `read` makes of the items, in order, `step` of them at a time; it runs in threads."""
    blocks = [items[i : i + step] for i in range(0, len(items), step)]
    with ThreadPoolExecutor(THREADS) as pool:
        ahead = deque([pool.submit(read, item) for item in block] for block in blocks[:BLOCKS])
        for number in range(len(blocks)):
            found = [job.result() for job in ahead.popleft()]
            for later in blocks[number + BLOCKS : number + BLOCKS + 1]:
                ahead.append([pool.submit(read, item) for item in later])
            yield found
