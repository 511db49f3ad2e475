"""Speed of what deepfake detection is made of, in one run: `python benchmarks/deepfake_speed.py [VIDEO]`.

Denoising 478 points beside the two OpenCV calls of optical flow alone, on the whole frame and on the part of it that
the filter looks at; the whole road from a file to a verdict beside decoding alone and FaceMesh alone; one window on one
thread. The network has random weights, which take as long as trained ones. Without VIDEO a 720p clip of a moving
portrait is made. On a machine that is busy otherwise, the CPU times are the ones to read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from faces import make_clip, timed

from mediakit.deepfake.module import DeepfakeModule
from mediakit.deepfake.predict import detect_file, detect_tracks
from mediakit.deepfake.signals import Signals, cut_windows, resample_track, track_signals
from mediakit.denoise import LucasKanadeKalman
from mediakit.faces import open_detector, track_faces
from mediakit.io import read_video

MARGIN = 128  # pixels around the face, as in mediakit.denoise
FRAMES = 150
FLOW = {"winSize": (15, 15), "maxLevel": 3, "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)}


def both_flows(before: np.ndarray, now: np.ndarray, start: np.ndarray, guess: np.ndarray) -> None:
    """There and back, as `mediakit.denoise.LucasKanadeKalman` asks for them."""
    there, _, _ = cv2.calcOpticalFlowPyrLK(before, now, start, guess.copy(), flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **FLOW)
    cv2.calcOpticalFlowPyrLK(now, before, there, None, **FLOW)


def denoising(grays: list[np.ndarray], points: list[np.ndarray]) -> dict[str, Callable[[], int]]:
    """Pieces of work over neighbouring frames, as `timed` wants them."""
    pairs = range(1, len(grays))
    flat = [np.ascontiguousarray(p[:, :2]) for p in points]

    def whole() -> int:
        for n in pairs:
            both_flows(grays[n - 1], grays[n], flat[n - 1], flat[n])
        return len(pairs)

    def part() -> int:
        for n in pairs:
            both = np.concatenate([flat[n - 1], flat[n]])
            low = np.maximum(both.min(0) - MARGIN, 0).astype(int) // 8 * 8
            high = (both.max(0) + MARGIN).astype(int) + 1
            crops = [np.ascontiguousarray(grays[m][low[1] : high[1], low[0] : high[0]]) for m in (n - 1, n)]
            both_flows(*crops, *(np.float32(flat[m] - low) for m in (n - 1, n)))
        return len(pairs)

    def kalman() -> int:
        denoiser = LucasKanadeKalman()
        for gray, z in zip(grays, points, strict=True):
            denoiser.step(gray, z)
        return len(pairs)

    return {"two LK calls, whole frame": whole, "two LK calls, face": part, "LucasKanadeKalman": kalman}


def told(title: str, rows: dict[str, tuple[float, float]]) -> None:
    print(f"\n{title:42}{'fps':>8}{'wall ms':>10}{'CPU ms':>10}")
    for name, (wall, cpu) in rows.items():
        print(f"{name:42}{1e3 / wall:8.0f}{wall:10.2f}{cpu:10.2f}")


def one_window(module: DeepfakeModule, signals: Signals, repeats: int = 300) -> tuple[list[float], list[float]]:
    """Wall and CPU milliseconds of forward passes of one window on one thread, sorted."""
    threads, wall, cpu = torch.get_num_threads(), [], []
    torch.set_num_threads(1)
    module.eval()
    with torch.inference_mode():
        for _ in range(repeats):
            start, used = time.perf_counter(), time.thread_time()
            module(signals, torch.ones(1))
            wall.append(1e3 * (time.perf_counter() - start))
            cpu.append(1e3 * (time.thread_time() - used))
    torch.set_num_threads(threads)
    return sorted(wall), sorted(cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(options.video) if options.video else Path(folder) / "portrait.mp4"
        if not options.video:
            make_clip(clip)
        tracks = track_faces(clip)  # also warms everything up
        track, module = tracks.tracks[0], DeepfakeModule()
        shown = set(track.time[track.valid].tolist()[:FRAMES])
        images = [f.image.permute(1, 2, 0).contiguous().numpy() for f in read_video(clip) if f.time in shown]
        grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
        points = list(track.points[track.valid][: len(images)].numpy())

        def decode() -> int:
            return sum(1 for _ in read_video(clip))

        def mesh() -> int:
            detector = open_detector()
            for number, image in enumerate(images):
                detector.detect(image, number / 25)
            detector.close()
            return len(images)

        def follow() -> int:
            return track_faces(clip).frames

        def judge() -> int:
            detect_tracks(module, tracks)
            return tracks.frames

        def road() -> int:
            detect_file(module, clip)
            return tracks.frames

        height, width = images[0].shape[:2]
        print(f"{width}x{height}, {tracks.frames} frames, {tracks.frames_with_face} with a face; medians of rounds")
        flows = timed(denoising(grays, points), options.repeats)
        told("denoising 478 points", flows)
        (whole, _), (part, _), (kalman, _) = flows.values()
        print(f"the filter takes {kalman / whole:.2f} of the two calls on the frame, {kalman / part:.2f} on the face")
        work = {
            "decoding alone (to RGB)": decode,
            "FaceMesh alone": mesh,
            "track_faces (both, overlapped)": follow,
            "tracks to verdict": judge,
            "file to verdict": road,
        }
        told("the whole road", timed(work, options.repeats))
        signals = cut_windows(track_signals(resample_track(track)[0]), [0])
        count = sum(p.numel() for p in module.network.parameters())
        print(f"\none window, one thread, {count:,} parameters, milliseconds (median, 90 % within):")
        for name, spent in zip(("wall", "CPU"), one_window(module, signals), strict=True):
            print(f"  {name:5}{statistics.median(spent):7.2f}{spent[len(spent) * 9 // 10]:7.2f}")


if __name__ == "__main__":
    main()
