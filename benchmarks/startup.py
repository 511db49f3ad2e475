"""Start-up above bare Python, median of 5: `python benchmarks/startup.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time


def median_seconds(arguments: list[str], repeats: int = 5) -> float:
    """Median wall time of a Python process."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    bare = median_seconds(["-c", "pass"])
    print(f"bare Python          {bare:.3f} s")
    for name, arguments in {
        "import mediakit": ["-c", "import mediakit"],
        "mediakit --help": ["-m", "mediakit", "--help"],
    }.items():
        print(f"{name:20} {median_seconds(arguments) - bare:+.3f} s above it")


if __name__ == "__main__":
    main()
