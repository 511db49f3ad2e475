"""`mediakit.io.prefetch`: order, errors, warnings, stopping."""

import gc
import subprocess
import sys
import threading
import time
import warnings

import pytest

from mediakit.io import prefetch
from mediakit.io.demux import warn


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_come_in_order():
    assert list(prefetch(range(1000), depth=3)) == list(range(1000))
    assert list(prefetch([])) == []
    assert threads() == []


def test_it_runs_ahead_as_far_as_depth_allows():
    made = []

    def source():
        for n in range(100):
            made.append(n)
            yield n

    items = prefetch(source(), depth=4)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == list(range(6))  # the one taken, four waiting, one in hand
    items.close()


def test_source_and_consumer_overlap():
    def source():
        for n in range(5):
            time.sleep(0.05)
            yield n

    begin = time.perf_counter()
    for _ in prefetch(source()):
        time.sleep(0.05)
    assert time.perf_counter() - begin < 0.45  # one after the other it would be 0.5 s


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield 1
        yield 2
        raise KeyError("broken")

    items = prefetch(source())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="broken"):
        next(items)
    assert threads() == []


def test_warnings_come_at_their_place_and_in_the_consumers_thread():
    def source():
        yield 1
        warn("careful")
        yield 2

    items = prefetch(source())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert next(items) == 1
        time.sleep(0.1)  # by now the source has warned
        assert caught == []
        assert next(items) == 2
        assert [str(warning.message) for warning in caught] == ["careful"]


@pytest.mark.parametrize("how", ["close", "forget"])
def test_abandoning_it_closes_the_source(how):
    closed = threading.Event()

    def source():
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            closed.set()

    items = prefetch(source(), depth=2)
    assert next(items) == 0
    if how == "close":
        items.close()
    else:
        del items
        gc.collect()
    assert closed.wait(5)
    assert threads() == []


def test_closing_it_before_the_start_starts_nothing():
    items = prefetch(iter([1]))
    items.close()
    assert threads() == []


def test_nesting():
    assert list(prefetch(prefetch(range(50), depth=1), depth=1)) == list(range(50))


def test_depth_must_be_positive():
    with pytest.raises(ValueError, match="depth"):
        prefetch([1], depth=0)


def test_the_interpreter_can_end_while_the_source_sleeps():
    code = (
        "import itertools, time\nfrom mediakit.io import prefetch\n"
        "items = prefetch(map(time.sleep, itertools.repeat(0.01)), depth=1)\nnext(items)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
