"""Parts of a computation on threads of their own, each of which computes by itself."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


def each_part(device: str, function: Callable[..., Any], *jobs: Sequence[Any]) -> list[Any]:
    """Runs a function over parts, on as many threads as torch may use; each part is then computed by one thread.

    Threads that work on parts of their own wait for one another once, those inside each operation thousands of times.
    """

    @torch.no_grad()
    def quiet(*job: Any) -> Any:
        with torch.autocast(device, enabled=False):
            return function(*job)

    threads = torch.get_num_threads()
    if len(jobs[0]) == 1 or threads == 1:
        return list(map(quiet, *jobs))
    return list(_pool(threads, os.getpid()).map(quiet, *jobs))


@functools.lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads inside which torch does not start further ones; a forked process has none of its parent's."""
    pool = ThreadPoolExecutor(threads, "fgse", initializer=lambda: torch.set_num_threads(1))
    for _ in pool.map(time.sleep, [0.01] * threads):
        pass
    torch.set_num_threads(threads)  # a thread's setting is its own, but also what later threads begin with
    return pool
