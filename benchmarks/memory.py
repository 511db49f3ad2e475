"""Peak memory of `mediakit analyze` on a minute and on ten: `python benchmarks/memory.py [VIDEO]`.

VIDEO (default: the demo's clip) is repeated until it is long enough; each analysis runs in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mediakit.demo import FPS, demo_frames
from mediakit.io import load_video, probe, write_video

CHILD = """
import resource, sys
from mediakit.cli import main
status = main(["analyze", sys.argv[1], "-q", "-o", sys.argv[1] + ".html"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
sys.exit(status)
"""


def repeat(source: str | None, target: Path, seconds: float) -> None:
    """Writes frames of ``source`` again and again."""
    frames = list(demo_frames()) if source is None else list(load_video(source).images)
    fps = FPS if source is None else probe(source).video[0].fps or 25
    total = round(seconds * fps)
    write_video(target, (frames[n % len(frames)] for n in range(total)), fps, preset="ultrafast", audio_from=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    options = parser.parse_args()
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 10):
            clip = Path(folder) / f"{minutes}.mp4"
            repeat(options.video, clip, 60 * minutes)
            start = time.perf_counter()
            child = subprocess.run([sys.executable, "-c", CHILD, str(clip)], check=True, capture_output=True, text=True)
            peaks[minutes] = float(child.stdout.splitlines()[-1])
            print(
                f"{minutes:3} min: {peaks[minutes]:6.0f} MiB at most, {time.perf_counter() - start:.0f} s", flush=True
            )
    print(f"ratio {peaks[10] / peaks[1]:.3f}")


if __name__ == "__main__":
    main()
