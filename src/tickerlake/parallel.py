"""Compute the next items in threads while one is used: Polars releases Python's global lock."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def prefetch(items: Iterator[T], depth: int = 1) -> Iterator[T]:
    """Yield the items of an iterator that runs in another thread.

    Parameters
    ----------
    items
        None of them is None, which marks the end.
    depth
        How many items are computed ahead.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        pending: deque[Future[T | None]] = deque(pool.submit(next, items, None) for _ in range(depth))
        while (item := pending.popleft().result()) is not None:
            pending.append(pool.submit(next, items, None))
            yield item


def parallel_map(items: Iterator[S], function: Callable[[S], T], workers: int = 2) -> Iterator[T]:
    """Yield a function's results in the order of the items, computed by several threads.

    Parameters
    ----------
    items
        Iterated in the caller's thread.
    function
        Called in other threads.
    workers
        The number of threads, and of results that may wait.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="parallel-map") as pool:
        pending: deque[Future[T]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
