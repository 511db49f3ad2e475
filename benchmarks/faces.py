"""Throughput of face tracking beside its two parts, in one run: `python benchmarks/faces.py [VIDEO]`.

The limit is what the cores at hand could do if they never waited: cores / (CPU seconds per frame of decoding + CPU
seconds per frame of FaceMesh). Without VIDEO a 720p clip of a moving portrait is made.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import torch

from mediakit.demo import demo_frames
from mediakit.faces import open_detector, track_faces
from mediakit.io import read_video, write_video


def timed(work: dict[str, Callable[[], int]], repeats: int) -> dict[str, tuple[float, float]]:
    """Median wall and CPU milliseconds per frame of each piece of work, which returns its number of frames.

    In rounds over all pieces, so that a machine that speeds up or slows down does so for all of them.
    """
    wall: dict[str, list[float]] = {name: [] for name in work}
    cpu: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, run in work.items():
            start, used = time.perf_counter(), time.process_time()
            frames = run()
            wall[name].append((time.perf_counter() - start) / frames * 1e3)
            cpu[name].append((time.process_time() - used) / frames * 1e3)
    return {name: (statistics.median(wall[name]), statistics.median(cpu[name])) for name in work}


def make_clip(path: Path, frames: int = 300) -> None:
    """A 1280x720 clip: the demo's portrait, again and again."""

    def enlarged():
        portrait = list(islice(demo_frames(), 125))
        for number in range(frames):
            image = portrait[number % 250 if number % 250 < 125 else 249 - number % 250]
            large = cv2.resize(image.permute(1, 2, 0).numpy()[:360], (1280, 720), interpolation=cv2.INTER_CUBIC)
            yield torch.from_numpy(large).permute(2, 0, 1)

    write_video(path, enlarged(), 25, crf=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--max-faces", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(options.video) if options.video else Path(folder) / "portrait.mp4"
        if not options.video:
            make_clip(clip)
        images = [
            f.image.permute(1, 2, 0).contiguous().numpy() for f, _ in zip(read_video(clip), range(150), strict=False)
        ]

        def decode() -> int:
            return sum(1 for _ in read_video(clip))

        def mesh() -> int:
            detector = open_detector(max_faces=options.max_faces)
            for number, image in enumerate(images):
                detector.detect(image, number / 25)
            detector.close()
            return len(images)

        def serial() -> int:
            detector, count = open_detector(max_faces=options.max_faces), 0
            for frame in read_video(clip):
                detector.detect(frame.image.permute(1, 2, 0).contiguous().numpy(), frame.time)
                count += 1
            detector.close()
            return count

        found = track_faces(clip, max_faces=options.max_faces)  # also warms everything up

        def overlapped() -> int:
            return track_faces(clip, max_faces=options.max_faces).frames

        work = {
            "decoding alone (to RGB)": decode,
            "FaceMesh alone": mesh,
            "one after the other": serial,
            "track_faces": overlapped,
        }
        rows = timed(work, options.repeats)
    cores = len(os.sched_getaffinity(0))
    limit = cores / (rows["decoding alone (to RGB)"][1] + rows["FaceMesh alone"][1]) * 1e3
    height, width = images[0].shape[:2]
    print(f"{width}x{height}, {found.frames} frames, {found.frames_with_face} with a face, {cores} cores")
    print(f"{'':42}{'fps':>8}{'wall ms':>10}{'CPU ms':>10}")
    for name, (wall, cpu) in rows.items():
        print(f"{name:42}{1e3 / wall:8.0f}{wall:10.2f}{cpu:10.2f}")
    reached, alone = 1e3 / rows["track_faces"][0], 1e3 / rows["FaceMesh alone"][0]
    print(f"limit of the summed CPU time: {limit:.0f} fps; track_faces reaches {reached / limit:.0%} of it")
    if alone < limit:
        print(
            f"FaceMesh alone, which follows a face on one thread, is below that: {alone:.0f} fps = {alone / limit:.0%}"
        )


if __name__ == "__main__":
    main()
