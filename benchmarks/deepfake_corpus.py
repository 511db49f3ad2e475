"""Talking heads as mp4 files at several rates of compression, and the face tracks that FaceMesh finds in them.

    python benchmarks/deepfake_corpus.py --out heads --workers 2

Writes ``tracks/SPLIT/crfN/LABEL/NAME.safetensors``. Training and validation hold genuine heads alone; the test split
holds other people and another seed, each genuine head once and every kind of manipulated twin of the first of them.
Each film is encoded losslessly (yuv420p), decoded again, and that is what is compressed: CRF 0 means the lossless
file. Files that are there are kept.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mediakit.faces import track_faces
from mediakit.io import read_video, write_video
from mediakit.jobs import JobError, run_jobs
from mediakit.synthetic.heads import KINDS, TalkingHeads

CRFS = {"train": (0,), "val": (0,), "test": (0, 23, 40)}


@dataclass(frozen=True)
class Film:
    """One film to make: its split, its kind, its number, the number of people, its look, and where it goes."""

    seed: int
    split: str
    kind: str
    recording: int
    people: int
    seconds: float
    side: int
    out: str


def make(film: Film) -> dict[str, float]:
    """Draws a film, compresses it and tracks its face; returns seconds spent."""
    heads = TalkingHeads(
        seed=film.seed,
        split=film.split,
        kinds=(film.kind,),
        identities=film.people,
        seconds=film.seconds,
        size=(film.side, film.side),
    )
    clip = heads.clip(film.recording)
    # clip.id begins with real/ or fake/: a plain folder of the scanner's kind
    files = {
        crf: Path(film.out, "tracks", film.split, f"crf{crf}", f"{clip.id}.safetensors") for crf in CRFS[film.split]
    }
    spent = {"draw": 0.0, "encode": 0.0, "track": 0.0}
    if all(file.exists() for file in files.values()):
        return spent
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        frames = list(clip.frames())
        spent["draw"] = time.perf_counter() - began
        master = Path(folder, "crf0.mp4")
        write_video(master, frames, clip.fps, crf=0, preset="ultrafast", threads=1)
        del frames
        for crf, file in files.items():
            began = time.perf_counter()
            path = master
            if crf:
                path = Path(folder, f"crf{crf}.mp4")
                write_video(path, read_video(master), clip.fps, crf=crf, threads=1)
            spent["encode"] += time.perf_counter() - began
            began = time.perf_counter()
            tracks = track_faces(path)
            spent["track"] += time.perf_counter() - began
            file.parent.mkdir(parents=True, exist_ok=True)
            tracks.save(file)
    return spent


def films(seed: int, split: str, real: int, twins: int, seconds: float, side: int, out: str) -> list[Film]:
    """Genuine heads, and of the first ones each kind of twin."""
    kinds = [kind for kind in KINDS if kind != "real"] if twins else []
    # A recording borrows from the next one, so people and recordings count alike.
    return [Film(seed, split, "real", n, real, seconds, side, out) for n in range(real)] + [
        Film(seed, split, kind, n, real, seconds, side, out) for n in range(twins) for kind in kinds
    ]


def main() -> None:
    """Makes what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--train", type=int, default=160)
    parser.add_argument("--val", type=int, default=40)
    parser.add_argument("--test", type=int, default=60, help="genuine heads of the test split")
    parser.add_argument("--twins", type=int, default=12, help="how many of them get a twin of each kind")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--side", type=int, default=420, help="pixels; the interocular distance is a fifth of it")
    parser.add_argument("--test-seed", type=int, default=2, help="seed of the test split; the others have 0")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", choices=CRFS, nargs="*", default=list(CRFS))
    options = parser.parse_args()
    counts = {"train": (options.train, 0), "val": (options.val, 0), "test": (options.test, options.twins)}
    todo = [
        film
        for split in options.only
        for film in films(
            options.test_seed if split == "test" else 0,
            split,
            *counts[split],
            options.seconds,
            options.side,
            options.out,
        )
    ]
    total = {"draw": 0.0, "encode": 0.0, "track": 0.0}
    for number, (film, spent) in enumerate(run_jobs(make, todo, workers=options.workers), 1):
        if isinstance(spent, JobError):
            print(f"{film}: {spent.problem}", flush=True)
            continue
        total = {name: total[name] + spent[name] for name in total}
        if number % 20 == 0 or number == len(todo):
            told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in total.items())
            print(f"{number}/{len(todo)} films: {told}", flush=True)


if __name__ == "__main__":
    main()
