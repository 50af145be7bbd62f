"""Make the next items while the last one is used: Polars frees Python's lock, so threads run side by side."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def prefetch(items: Iterator[T], depth: int = 1) -> Iterator[T]:
    """Yield the items of an iterator, which runs in a thread of its own.

    Parameters
    ----------
    items
        What to run; none of them is None.
    depth
        How many items may wait.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        pending: deque[Future[T | None]] = deque(pool.submit(next, items, None) for _ in range(depth))
        while (item := pending.popleft().result()) is not None:
            pending.append(pool.submit(next, items, None))
            yield item


def parallel_map(items: Iterator[S], function: Callable[[S], T], workers: int = 2) -> Iterator[T]:
    """Yield a function's results in the order of its items, a few of which are worked on at once.

    Parameters
    ----------
    items
        Taken one by one by the caller's thread.
    function
        Called in other threads.
    workers
        How many items are worked on, or wait, at once.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="mapped") as pool:
        pending: deque[Future[T]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
