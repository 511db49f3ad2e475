"""Jobs in worker processes: whatever befalls one, the others give their results."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mediakit.errors import MediakitError
from mediakit.jobs import JobError, run_jobs

READY = None


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def misbehave(name):
    """A job that does what its name says."""
    if name == "raises":
        raise KeyError("nowhere")
    if name == "refuses":
        raise MediakitError("clip.mp4: is empty. Fetch it again.")
    if name == "raises what cannot be pickled":
        raise Unpicklable(1, 2)
    if name == "returns what cannot be pickled":
        return lambda: None
    if name == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "exits":
        os._exit(3)
    if name == "hangs":
        time.sleep(60)
    return name.upper()


def get_ready(word):
    global READY
    READY = word


def surroundings(_):
    import cv2
    import torch

    return READY, os.getpid(), torch.get_num_threads(), cv2.getNumThreads(), os.environ["OMP_NUM_THREADS"]


def readiness(name):
    return misbehave(name) and READY


def fail():
    raise MediakitError("there is no model 'nothing'.")


def die():
    os._exit(1)


def nap(pid_file):
    with open(pid_file, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_job_costs_itself_alone(workers):
    bad = {
        "raises": ("error", "KeyError: 'nowhere'"),
        "refuses": ("error", "clip.mp4: is empty. Fetch it again."),
        "raises what cannot be pickled": ("error", "Unpicklable: 1 and 2"),
        "crashes": ("crash", "its process died of SIGSEGV"),
        "hangs": ("timeout", "it took longer than 1.5 s and was stopped"),
        "exits": ("crash", "its process died with status 3"),
    }
    items = ["one", *bad, "two", "returns what cannot be pickled", "three"]
    results = dict(run_jobs(misbehave, items, workers=workers, timeout=1.5))
    assert results.keys() == set(items)
    assert isinstance(results.pop("returns what cannot be pickled"), JobError)
    assert {n: results[n] for n in ("one", "two", "three")} == {"one": "ONE", "two": "TWO", "three": "THREE"}
    found = {n: (results[n].kind, results[n].problem) for n in bad}
    for name in ("crashes", "exits"):
        # pebble may notice a death before the message that the job had begun: then nobody knows the status.
        found[name] = bad[name] if found[name] == ("crash", "its process died") else found[name]
    assert found == bad


def test_workers_are_children_made_ready_once_and_compute_in_one_thread():
    results = [result for _, result in run_jobs(surroundings, range(6), initializer=get_ready, initargs=("yes",))]
    (only,) = set(results)
    ready, pid, *threads = only
    assert (ready, threads) == ("yes", [1, 1, "1"])
    assert pid != os.getpid()


def test_the_worker_after_a_crash_is_made_ready_too():
    results = dict(run_jobs(readiness, ["one", "crashes", "two"], initializer=get_ready, initargs=("yes",)))
    assert (results["one"], results["two"]) == ("yes", "yes")
    assert results["crashes"].kind == "crash"


def test_items_are_taken_as_workers_get_free():
    taken = []

    def items():
        for n in range(1000):
            taken.append(n)
            yield str(n)

    results = run_jobs(misbehave, items(), workers=2)
    next(results)
    assert len(taken) <= 4
    results.close()


def test_no_items_need_no_workers():
    assert list(run_jobs(misbehave, [])) == []


@pytest.mark.parametrize(("initializer", "match"), [(fail, "no model 'nothing'"), (die, "cannot start.*__main__")])
def test_a_start_that_fails_is_the_callers_error(initializer, match):
    with pytest.raises(MediakitError, match=match):
        list(run_jobs(misbehave, ["one"], initializer=initializer))


@pytest.mark.parametrize("options", [{"workers": 0}, {"timeout": 0}])
def test_options_out_of_range_fail_at_the_call(options):
    with pytest.raises(ValueError, match="must be"):
        run_jobs(misbehave, ["one"], **options)


def test_closing_stops_the_workers(tmp_path):
    nap, one = ("nap", tmp_path / "pid"), ("one", tmp_path / "pid")
    results = run_jobs(nap_or_see, [nap, one], workers=2)
    assert next(results) == (one, "ONE")
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    began = time.monotonic()
    results.close()
    assert not alive(pid)
    assert time.monotonic() - began < 45  # not the minute that the nap lasts


def nap_or_see(job):
    """A nap, or a job that ends once the nap has begun: the iterator hands out work only while somebody waits."""
    name, pid_file = job
    if name == "nap":
        return nap(pid_file)
    wait_until(lambda: pid_file.exists() and pid_file.read_text())
    return misbehave(name)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_workers_die_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "from mediakit.jobs import run_jobs\nfrom test_jobs import nap\n"
        f"if __name__ == '__main__':\n    list(run_jobs(nap, [{str(tmp_path / 'pid')!r}]))\n"
    )
    with subprocess.Popen([sys.executable, str(script)]) as parent:
        wait_until((tmp_path / "pid").exists)
        wait_until((tmp_path / "pid").read_text)
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
        parent.kill()
    wait_until(lambda: not alive(pid), 5)
