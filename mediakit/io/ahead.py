"""Runs an iterator ahead in a background thread, so that decoding and computing overlap."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from mediakit.io.demux import warn, warning_sink

T = TypeVar("T")


def prefetch(iterable: Iterable[T], depth: int = 8) -> Generator[T, None, None]:
    """Yields the items of ``iterable``, which runs ahead in a background thread from the first request on.

    An exception of the source comes out after the items before it, and so do the warnings of this package's readers.
    When the returned iterator is closed or forgotten, the thread stops after its current item and closes the source.

    Args:
        iterable: The source; only the thread touches it from now on.
        depth: How many items may wait, at least 1. One more may be in the making.

    Raises:
        ValueError: ``depth`` is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    return _consume(iterable, depth)


def _consume(iterable: Iterable[T], depth: int) -> Generator[T, None, None]:
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    # A daemon, so that a source that never returns cannot keep the interpreter from ending.
    thread = threading.Thread(target=_produce, args=(iterable, waiting, stopped), name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "item":
                yield value
            elif kind == "warning":
                warn(value)
            elif kind == "error":
                raise value
            else:
                return
    finally:
        stopped.set()
        with suppress(queue.Empty):  # once there is room the thread cannot block again, for it sees the event
            while True:
                waiting.get_nowait()
        # At the interpreter's end daemons are frozen already; and garbage may be collected in the thread itself.
        if not sys.is_finalizing() and thread is not threading.current_thread():
            thread.join(timeout=5)


def _produce(iterable: Iterable[T], waiting: queue.Queue[tuple[str, Any]], stopped: threading.Event) -> None:
    def put(kind: str, value: Any = None) -> None:
        if not stopped.is_set():
            waiting.put((kind, value))

    warning_sink.set(lambda message: put("warning", message))  # for this thread only
    try:
        iterator = iter(iterable)
        try:
            for item in iterator:
                put("item", item)
                if stopped.is_set():
                    break
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
    except BaseException as error:
        put("error", error)
    else:
        put("end")
