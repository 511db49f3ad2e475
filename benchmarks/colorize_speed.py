"""Speed and memory of colorization, in one run: `python benchmarks/colorize_speed.py [--network-only]`.

First the network at 256 x 256 on one thread beside one of the size of DDColor-tiny, then a photograph of 24 megapixels
and ten seconds of 1080p with sound, each coloured in a process of its own. Weights are random, which takes as long as
trained ones; the last layer's are large enough for colours like a photograph's, so that the fit to the gamut has work
to do. On a machine that is busy otherwise, the CPU times are the ones to read.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from query_colorizer import PARAMETERS, QueryColorizer
from torch.nn import functional as F

from mediakit.colorize.model import ColorizationModel
from mediakit.demo import RATE, demo_frames, demo_sound
from mediakit.io import Audio, write_image, write_video

CHILD = """
import json, sys, time, torch
from mediakit.colorize.image import colorize_image, write_coloring
from mediakit.colorize.module import ColorizeModule
from mediakit.colorize.video import colorize_video
def peak():  # not ru_maxrss, in which a child begins at its parent's
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
kind, source, target = sys.argv[1:]
torch.manual_seed(0)
module = ColorizeModule().eval()
torch.nn.init.normal_(module.network.to_ab.weight, std=0.1)
started, start, used = peak(), time.perf_counter(), time.process_time()
if kind == "photo":
    coloring = colorize_image(module, source)
    colored = time.perf_counter() - start
    write_coloring(target, coloring)
else:
    made = colorize_video(module, source, target, preset="veryfast")
    colored = time.perf_counter() - start
found = {"seconds": colored, "CPU": time.process_time() - used, "peak": peak(), "idle": started}
if kind == "photo":
    found["tiles"] = {}
    for tile_pixels in (2**15, 2**17, 2**21):
        other = colorize_image(module, source, tile_pixels=tile_pixels).rgb
        differing = other != coloring.rgb
        most = (other.short() - coloring.rgb.short()).abs().max()
        found["tiles"][tile_pixels] = [int(most), float(differing.float().mean())]
else:
    found["frames"], found["flicker"] = made.frames, [made.network.flicker, made.written.flicker]
    found["lightness"] = [made.lightness.mean, made.lightness.most]
print(json.dumps(found))
"""


def networks(repeats: int) -> None:
    """Both networks in turn, round after round, so that a machine that slows down does so for both."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours, theirs, again = ColorizationModel().eval(), QueryColorizer().eval(), QueryColorizer().eval()
    again = again.to(memory_format=torch.channels_last)
    gray = torch.rand(1, 3, 256, 256)
    lightness, wave = 100 * gray[:, :1], torch.rand(1, 160_000) - 0.5
    semantics = F.normalize(torch.randn(1, ours.dim))
    work: dict[str, Callable[[], object]] = {
        "DDColor-tiny-sized reference": lambda: theirs(gray),
        "the same, channels last": lambda: again(gray.contiguous(memory_format=torch.channels_last)),
        "ours, guided by a sound": lambda: ours(lightness, semantics),
        "ours, without": lambda: ours(lightness),
        "  10 s of sound to its vector, once": lambda: ours.hear(wave),
        "  a colour photograph to its vector, once": lambda: ours.semantics(gray),
    }
    wall: dict[str, list[float]] = {name: [] for name in work}
    cpu: dict[str, list[float]] = {name: [] for name in work}
    with torch.inference_mode():
        for n in range(repeats + 1):
            for name, run in work.items():
                start, used = time.perf_counter(), time.thread_time()
                run()
                if n:  # the first round warms up
                    wall[name].append(1e3 * (time.perf_counter() - start))
                    cpu[name].append(1e3 * (time.thread_time() - used))
    count, size = (sum(p.numel() for p in m.parameters()) for m in (ours, theirs))
    print(f"256 x 256, one thread, medians of {repeats} rounds; torch {torch.__version__}")
    print(f"parameters: ours {count / 1e6:.1f} M, reference {size / 1e6:.2f} M ({size / PARAMETERS - 1:+.2%} of 55.0)")
    print(f"{'':44}{'wall ms':>9}{'CPU ms':>9}")
    middle = {name: (statistics.median(wall[name]), statistics.median(cpu[name])) for name in work}
    for name, (w, c) in middle.items():
        print(f"{name:44}{w:9.0f}{c:9.0f}")
    (_, reference), (_, other), (_, guided), _, (_, heard), _ = middle.values()
    reference = min(reference, other)
    told = f"{reference / guided:.2f} times as fast, {reference / (guided + heard):.2f} with the sound heard anew"
    print(f"in CPU time {told}")


def photograph(path: Path, height: int = 4000, width: int = 6000) -> None:
    """24 megapixels of a portrait, with grain."""
    frame = next(iter(demo_frames()))
    large = F.interpolate(frame[None].float(), (height, width), mode="bicubic")[0]
    grain = torch.randn(1, height, width, generator=torch.Generator().manual_seed(0)) * 4
    write_image(path, (large + grain).round().clamp(0, 255).to(torch.uint8))


def film(path: Path, seconds: int = 10, fps: int = 25) -> None:
    """1080p of the demo's moving portrait, with its sound."""
    frames = list(islice(demo_frames(), seconds * fps))
    large = (
        F.interpolate(frames[n % len(frames)][None].float(), (1080, 1920), mode="bilinear")[0].to(torch.uint8)
        for n in range(seconds * fps)
    )
    sound = demo_sound().repeat(1, 3)[:, : seconds * RATE]
    write_video(path, large, fps, audio=Audio(sound, RATE, 0.0), preset="ultrafast")


def child(kind: str, source: Path, target: Path) -> dict:
    words = [sys.executable, "-c", CHILD, kind, str(source), str(target)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def files(folder: Path, seconds: int) -> None:
    print(f"\n{'':44}{'s':>9}{'CPU s':>9}{'peak MiB':>10}{'at start':>10}")
    photo, video = folder / "photo.png", folder / "film.mp4"
    photograph(photo)
    found = child("photo", photo, folder / "colored.png")
    tell("photograph of 24 megapixels", found)
    for tile, (most, share) in found["tiles"].items():
        print(f"  tiles of {int(tile):,} pixels: at most {most} level apart, at {share:.1e} of the values")
    film(video, seconds)
    found = child("film", video, folder / "colored.mp4")
    tell(f"{found['frames']} frames of 1920 x 1080, with sound", found)
    rate, (guessed, held), (mean, most) = found["frames"] / found["seconds"], found["flicker"], found["lightness"]
    print(f"  {rate:.1f} frames a second; flicker {guessed:.2f} as guessed, {held:.2f} as written")
    print(f"  lightness in the written file (4:2:0): mean {mean:.2f} apart, at most {most:.1f}")


def tell(name: str, found: dict) -> None:
    numbers = f"{found['seconds']:9.1f}{found['CPU']:9.1f}{found['peak']:10.0f}{found['idle']:10.0f}"
    print(f"{name:44}{numbers}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network-only", action="store_true")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=10, help="of the film")
    options = parser.parse_args()
    networks(options.repeats)
    if not options.network_only:
        with tempfile.TemporaryDirectory() as folder:
            files(Path(folder), options.seconds)


if __name__ == "__main__":
    main()
