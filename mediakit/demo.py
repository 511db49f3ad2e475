"""``mediakit demo``: makes films of each kind, trains a parsing model, and shows what is seen; needs no network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from mediakit.analyze import Analysis, analyze_file
from mediakit.errors import MediaError, require
from mediakit.gallery import Exhibit, read_exhibit, render_gallery
from mediakit.io import Audio, write_text, write_video
from mediakit.parsing.trial import run_trial
from mediakit.report import write_json, write_page
from mediakit.synthetic.clip import Clip
from mediakit.synthetic.corpus import write_clip
from mediakit.synthetic.events import EventClips
from mediakit.synthetic.heads import TalkingHeads
from mediakit.synthetic.scenes import Scenes

FPS, RATE, SECONDS = 25, 44_100, 8.0
WIDTH, HEIGHT = 640, 480
_CUT = 5.5  # seconds: the portrait before, a still life after


def run_demo(
    folder: str | os.PathLike[str] = "mediakit-demo",
    *,
    train: int = 120,
    val: int = 20,
    test: int = 40,
    epochs: int = 20,
    workers: int = 1,
    progress: bool = False,
) -> Path:
    """Makes four films and a page that shows three of them, truth beside what is seen in the file.

    ``events.mp4``, ``head.mp4`` and ``scene.mp4`` are generated clips whose truth is known; ``index.html`` shows it.
    ``demo.mp4`` is a photograph under a moving camera. Each film has its page of analysis beside it, ``events.html``
    and so on; ``demo.json`` is that of the photograph as data. ``parsing.ckpt`` is a small model that was trained on
    the films in ``clips``; it finds the events of ``events.mp4``. A second run writes the same bytes.

    A script that calls this needs the guard ``if __name__ == "__main__":``, because worker processes import it.

    Args:
        folder: Folder to write to; made if it is not there. Files of an earlier run are replaced, all but the films of
            ``clips`` and their features, which are used again.
        train: Number of films that the model learns from; this and the next four as for `.run_trial`.
        val: Number of films that its epoch is chosen on.
        test: Number of films that it is scored on.
        epochs: How often it sees the films that it learns from.
        workers: Number of processes that make films and features.
        progress: Whether to show progress on stderr.

    Returns:
        Path of ``index.html``.

    Raises:
        MediaError: The folder cannot be written, or its clips were made otherwise.
    """
    out = Path(folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(
            out, f"cannot be made a folder ({error.strerror})", "Choose another with --out DIR."
        ) from error
    _tell("a photograph under a moving camera", out / "demo.mp4", progress)
    write_video(out / "demo.mp4", demo_frames(), FPS, audio=Audio(demo_sound(), RATE, 0.0))
    write_json(_analyze(out / "demo.mp4", progress), out / "demo.json")

    # Numbers and sizes were chosen by eye: something of all that such clips have, and easy to see.
    scenes = Scenes(size=(180, 240), seconds=5)
    scene = scenes.clip(7)
    others = [scenes.clip(7, label) for label in scenes.groups[scene.group] if label != scene.label]
    # Of the kinds of the test split, which the model has not met, and none of the films that it is scored on.
    events = EventClips(split="test", size=(180, 240)).clip(1003)
    head = TalkingHeads(split="val", kinds=("real",), seconds=5, size=(360, 360)).clip(3)
    trial = run_trial(out, train=train, val=val, test=test, epochs=epochs, workers=workers, progress=progress)
    page = render_gallery(
        _exhibit(events, "events that are heard, seen or both", out / "events.mp4", progress, trial.checkpoint),
        _exhibit(head, "a talking head", out / "head.mp4", progress),
        _exhibit(scene, "a scene whose sound tells its colour", out / "scene.mp4", progress),
        others,
        {"demo.html": "the analysis page of a photograph under a moving camera", "demo.json": "the same as data"},
        trial,
    )
    write_text(out / "index.html", page)
    return out / "index.html"


def _exhibit(clip: Clip, what: str, path: Path, progress: bool, parsing: Path | None = None) -> Exhibit:
    _tell(what, path, progress)
    write_clip(clip, path)
    return read_exhibit(clip, path, _analyze(path, progress, parsing))


def _tell(what: str, path: Path, progress: bool) -> None:
    if progress:
        print(f"{path}: drawing {what}", file=sys.stderr, flush=True)


def _analyze(path: Path, progress: bool, parsing: Path | None = None) -> Analysis:
    """Looks at a film and writes the page about it."""
    analysis = analyze_file(path, parsing=parsing, progress=progress)
    write_page(analysis, path.with_suffix(".html"))
    return analysis


def demo_frames() -> Iterator[torch.Tensor]:
    """Frames uint8 RGB ``(3, 480, 640)``: a portrait under a moving, tilting camera, then a cut to a cup of coffee.

    The camera's roll is 12° sin(2π t / 4 s), so the roll curve of the page can be checked by eye.
    """
    cv2 = require("cv2", "The demo clip", "opencv-python")
    data = require("skimage.data", "The demo clip", "scikit-image")
    portrait, still_life = data.astronaut(), data.coffee()
    for number in range(round(SECONDS * FPS)):
        time = number / FPS
        if time < _CUT:
            # The face of this photograph (NASA, public domain) is centred near (222, 110).
            picture, focus = portrait, (222.0 + 8 * np.sin(time), 150.0)
            angle, zoom = 12 * np.sin(2 * np.pi * time / 4), 1.6 + 0.06 * time
        else:
            picture, focus = still_life, (300.0 - 12 * (time - _CUT), 200.0)
            angle, zoom = 0.0, 1.25
        view = cv2.getRotationMatrix2D(focus, angle, zoom)
        view[:, 2] += np.array([WIDTH / 2, HEIGHT / 2]) - focus
        image = cv2.warpAffine(picture, view, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        yield torch.from_numpy(image).permute(2, 0, 1)


def demo_sound() -> torch.Tensor:
    """Waveform float32 ``(1, N)`` at 44.1 kHz: a plucked scale, then a second of silence."""
    time = torch.arange(round(SECONDS * RATE), dtype=torch.float64) / RATE
    wave = torch.zeros_like(time)
    for step, semitones in enumerate((0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2, 0)):
        since = time - 0.45 * step
        pitch = 220 * 2 ** (semitones / 12)
        tone = sum(torch.sin(2 * torch.pi * pitch * h * since) / h**1.5 for h in range(1, 7))
        wave += torch.where(since >= 0, tone * torch.exp(-6 * since.clamp(min=0)), torch.zeros_like(since))
    wave *= (1 - ((time - 6.8) / 0.2).clamp(0, 1)) * 0.35
    return wave.float()[None]
