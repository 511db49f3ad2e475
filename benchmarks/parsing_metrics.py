"""The scores of video parsing beside a direct reading of their definition: `python benchmarks/parsing_metrics.py`.

Both score the same generated videos of LLP's size and density and must agree to the last bit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

from mediakit.parsing.metrics import SCORES, avvp_scores

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "parsing"))
from slow_scores import score_videos


def draw_events(videos: int, seconds: int, classes: int, generator: torch.Generator) -> torch.Tensor:
    """Truth (N, T, K) with on average 1.2 classes a video, each a run of random place and length."""
    start, end = torch.randint(seconds + 1, (2, videos, 1, classes), generator=generator).sort(0).values
    second = torch.arange(seconds)[:, None]
    held = torch.rand(videos, 1, classes, generator=generator) < 1.2 / classes
    return held & (second >= start) & (second < end)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=1200)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--classes", type=int, default=25)
    parser.add_argument("--errors", type=float, default=0.01, help="share of seconds that the prediction has wrong")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the slow reading has one, too
    draw = torch.Generator().manual_seed(0)
    true = [draw_events(options.videos, options.seconds, options.classes, draw) for _ in range(2)]
    pred = [x ^ (torch.rand(x.shape, generator=draw) < options.errors) for x in true]
    lists = list(zip(*(x.transpose(1, 2).int().tolist() for x in (*pred, *true)), strict=True))
    seconds: dict[str, list[float]] = {"slow": [], "ours": [], "ours, in batches of 64": []}
    for _ in range(options.repeats):
        began = time.perf_counter()
        slow = score_videos(lists)
        seconds["slow"].append(time.perf_counter() - began)
        began = time.perf_counter()
        ours = avvp_scores(*pred, *true)
        seconds["ours"].append(time.perf_counter() - began)
        began = time.perf_counter()
        for batch in zip(*(x.split(64) for x in (*pred, *true)), strict=True):
            avvp_scores(*batch)
        seconds["ours, in batches of 64"].append(time.perf_counter() - began)
        if list(ours.values()) != slow:
            sys.exit(f"the scores differ: {dict(zip(SCORES, slow, strict=True))} and {ours}")
    print(f"{options.videos} videos of {options.seconds} seconds and {options.classes} classes, median of the rounds")
    base = statistics.median(seconds["slow"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:24}{median / options.videos * 1e3:9.4f} ms a video{base / median:8.1f} x")


if __name__ == "__main__":
    main()
