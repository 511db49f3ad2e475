"""Many jobs in worker processes, where a crash in native code or a hang costs one job and never the run.

Each worker is a pebble pool of one process with one job at a time, so that whatever befalls it (a signal, a hang, a
broken pipe) has one culprit, and a pool that has been hurt is replaced as a whole. Jobs always run in such processes,
with one thread for torch, OpenCV and BLAS: results depend on neither the number of workers nor that of the cores.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar

from mediakit.errors import MediakitError, require

T = TypeVar("T")
R = TypeVar("R")

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_END: Any = object()


@dataclass(frozen=True)
class JobError:
    """Why a job gave no result.

    Attributes:
        problem: What went wrong, as text: the message of a `.MediakitError`; type and message of any other exception.
        kind: ``"error"`` for an exception, ``"crash"`` for a worker that died, ``"timeout"`` for one that was stopped.
    """

    problem: str
    kind: Literal["error", "crash", "timeout"] = "error"


def run_jobs(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int = 1,
    timeout: float | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Generator[tuple[T, R | JobError], None, None]:
    """Applies a function to many items in child processes.

    Items are taken from the iterable only when a worker is free for them. When the returned iterator is closed, when
    an exception passes through it (Ctrl-C), or when this process ends in any way (on Linux), the workers stop.

    A script that calls this needs the guard ``if __name__ == "__main__":``, because workers import it.

    Args:
        function: Function of a module (workers import it by name); its argument and result must be picklable.
        items: Its arguments.
        workers: Number of processes.
        timeout: Seconds after which a job is stopped; None for never.
        initializer: Called once in each worker before its first job; not under the timeout.
        initargs: Its arguments.

    Returns:
        An iterator of pairs (item, result or `JobError`), in the order in which they finish.

    Raises:
        ValueError: ``workers`` or ``timeout`` is out of range.
        MissingPackageError: pebble is not installed.
        MediakitError: Workers cannot be started, or ``initializer`` fails in them.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be positive, got {timeout}")
    require("pebble", "Running jobs in processes")
    return _run(function, iter(items), workers, timeout, (initializer, initargs))


def _run(
    function: Callable[[T], R],
    items: Iterator[T],
    workers: int,
    timeout: float | None,
    setup: tuple[Callable[..., object] | None, tuple[Any, ...]],
) -> Generator[tuple[T, R | JobError], None, None]:
    pools: list[Any] = []
    pending: dict[
        Future, tuple[Any, T, bool]
    ] = {}  # pool, item, whether the item is what runs (else its worker starts)

    def start(item: T) -> None:
        pools.append(pool := _new_pool())
        pending[pool.schedule(_set_up, args=setup)] = pool, item, False

    def submit(pool: Any, item: T) -> None:
        try:
            pending[pool.schedule(_call, args=(function, item), timeout=timeout)] = pool, item, True
        except RuntimeError:  # its worker has died between two jobs
            _stop([pool])
            pools.remove(pool)
            start(item)

    try:
        for item in islice(items, workers):
            start(item)
        while pending:
            done, _ = wait(pending, timeout=1.0, return_when="FIRST_COMPLETED")
            # A pool that breaks just as it takes a job forgets the job.
            for future in done or [f for f, (pool, _, _) in pending.items() if not pool.active and not f.done()]:
                pool, item, running = pending.pop(future)
                if not running:
                    _check_start(future)
                    submit(pool, item)
                    continue
                result, healthy = _outcome(future, timeout)
                following = next(items, _END)
                if following is not _END and healthy:
                    submit(pool, following)
                else:
                    _stop([pool])
                    pools.remove(pool)
                    if following is not _END:
                        start(following)
                yield item, result
    finally:
        _stop(pools)


def _new_pool() -> Any:
    pebble = require("pebble", "Running jobs in processes")
    # Not forked: threads and locks of torch, FFmpeg and MediaPipe do not survive that.
    spawn = multiprocessing.get_context("spawn")
    return pebble.ProcessPool(max_workers=1, context=spawn, initializer=_prepare, initargs=(os.getpid(),))


def _stop(pools: list[Any]) -> None:
    for pool in pools:
        pool.stop()
    for pool in pools:
        pool.join()


def _check_start(future: Future) -> None:
    problem = future.result() if future.done() and future.exception() is None else "the process died"
    if isinstance(problem, JobError):
        raise MediakitError(problem.problem)
    if problem is not None:
        raise MediakitError(
            f"worker processes cannot start ({problem}). If this is called from a script, put the call under "
            "`if __name__ == '__main__':`, because workers import the script."
        )


def _outcome(future: Future, timeout: float | None) -> tuple[Any, bool]:
    """The result of a job, and whether its worker can go on."""
    error = future.exception() if future.done() else BrokenProcessPool()
    if error is None:
        return future.result(), True
    if isinstance(error, TimeoutError):
        return JobError(f"it took longer than {timeout:g} s and was stopped", "timeout"), False
    code = getattr(error, "exitcode", None)
    if code is None and not isinstance(error, BrokenProcessPool):  # the result could not be sent
        return JobError(_text(error)), False
    cause = "" if code is None else f" with status {code}"
    if code is not None and code < 0:
        cause = f" of {signal.Signals(-code).name}"
    return JobError(f"its process died{cause}", "crash"), False


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, MediakitError) else f"{type(error).__name__}: {error}".rstrip(": ")


# What follows runs in the workers.


def _prepare(parent: int) -> None:
    """Makes a worker die with its parent and compute in one thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has died already
        os._exit(1)
    # Libraries read the environment when they are loaded; those that the caller's script has loaded already are told.
    os.environ |= dict.fromkeys(_THREADS, "1")
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(1)


def _set_up(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> JobError | None:
    if initializer is not None:
        try:
            initializer(*initargs)
        except Exception as error:
            return JobError(_text(error))
    return None


def _call(function: Callable[[T], R], item: T) -> R | JobError:
    # Errors travel as text: not every exception can be unpickled.
    try:
        return function(item)
    except Exception as error:
        return JobError(_text(error))


def do_files(
    work: Generator[tuple[Any, Any], None, None],
    known: dict[str, Any],
    total: int,
    resumed: int,
    what: str,
    progress: bool,
) -> list[tuple[str, str]]:
    """Collects what `run_jobs` makes of files, with progress; one that fails costs itself alone.

    Args:
        work: Each job, which has ``id`` and ``path``, with its record, a `JobError`, or a text: why the run as a
            whole cannot go on.
        known: Records by id, those of earlier runs; the new ones are put there.
        total: Number of files, those of earlier runs among them.
        resumed: How many of them earlier runs did, for the display.
        what: What the files are called on the progress bar.
        progress: Whether to show progress with the time left on stderr.

    Returns:
        Path and problem of each file that failed, sorted.

    Raises:
        MediakitError: The run as a whole cannot go on.
    """
    failures: list[tuple[str, str]] = []
    bar = require("tqdm", "Progress").tqdm(
        None, what, total, initial=len(known), unit="file", disable=not progress, smoothing=0.05
    )
    with closing(work), bar:
        for job, result in work:
            if isinstance(result, str):
                raise MediakitError(f"{result} Files that are done stay done: run the same again then.")
            if isinstance(result, JobError):
                failures.append((job.path, result.problem))
            else:
                known[job.id] = result
            bar.set_postfix_str(f"{len(failures)} failed, {resumed} from earlier runs", refresh=False)
            bar.update()
    return sorted(failures)
