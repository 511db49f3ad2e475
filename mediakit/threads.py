"""One thread instead of many, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread; as a ``with`` statement or a decorator.

    One thread adds in one order, so that a file gives the same bytes on a machine with other cores. And where each
    operation is small, more threads gain little, and lose much where cores are busy: they wait for one another.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
