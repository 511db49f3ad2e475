"""Standard error without what C++ libraries write there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_native_code() -> Iterator[None]:
    """Leaves standard error to Python: progress, warnings and errors still show, logs of C++ libraries do not.

    MediaPipe writes a handful of alarming lines to file descriptor 2 whenever a graph starts, whatever the environment
    says, and so it does in worker processes, which inherit that descriptor. What matters of them reaches us as
    exceptions.
    """
    stream = sys.stderr
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    try:
        ours = stream.fileno() == 2
    except (AttributeError, OSError, ValueError):  # replaced by something in memory, which stays
        ours = False
    stream.flush()
    with os.fdopen(saved, "w", encoding=stream.encoding, errors=stream.errors, buffering=1) as python_only:
        try:
            with open(os.devnull, "wb") as sink:
                os.dup2(sink.fileno(), 2)
            if ours:
                sys.stderr = python_only
            yield
        finally:
            sys.stderr = stream
            os.dup2(saved, 2)
