"""``mediakit demo``: makes films of each kind, trains small models, and shows what they see; needs no network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mediakit.analyze import Analysis, analyze_file
from mediakit.colorize.trial import color_scene
from mediakit.colorize.trial import run_trial as run_colorize_trial
from mediakit.deepfake.trial import SEED
from mediakit.deepfake.trial import run_trial as run_deepfake_trial
from mediakit.errors import MediaError, MissingPackageError, WeightsError, require
from mediakit.gallery import Exhibit, read_exhibit, render_gallery
from mediakit.io import Audio, write_text, write_video
from mediakit.parsing.trial import run_trial as run_parsing_trial
from mediakit.report import write_json, write_page
from mediakit.synthetic.clip import Clip
from mediakit.synthetic.corpus import write_clip
from mediakit.synthetic.events import EventClips
from mediakit.synthetic.heads import TalkingHeads
from mediakit.synthetic.scenes import Scenes
from mediakit.trials import announce

FPS, RATE, SECONDS = 25, 44_100, 8.0
WIDTH, HEIGHT = 640, 480
_CUT = 5.5  # seconds: the portrait before, a still life after


def run_demo(
    folder: str | os.PathLike[str] = "mediakit-demo",
    *,
    parsing: Mapping[str, int] | None = None,
    deepfake: Mapping[str, int] | None = None,
    colorize: Mapping[str, Any] | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Path:
    """Makes five films and a page that shows four of them, truth beside what is seen in the file.

    ``events.mp4``, ``head.mp4``, its manipulated twin ``fake.mp4`` and ``scene.mp4`` are generated clips whose truth is
    known; ``index.html`` shows it. ``demo.mp4`` is a photograph under a moving camera. Each film has its page of
    analysis beside it, ``events.html`` and so on; ``demo.json`` is that of the photograph as data. ``parsing.ckpt`` is
    a small model that was trained on the films in ``clips``; it finds the events of ``events.mp4``. ``deepfake.ckpt``
    was trained on the genuine films in ``heads``; it judges ``head.mp4`` and ``fake.mp4``. ``colorize.ckpt`` was
    trained on the films in ``scenes``; it makes ``colorized.mp4`` of ``gray.mp4``, which is ``scene.mp4`` without its
    colours. A second run writes the same bytes.

    A script that calls this needs the guard ``if __name__ == "__main__":``, because worker processes import it.

    Args:
        folder: Folder to write to; made if it is not there. Files of an earlier run are replaced, all but the films of
            ``clips``, ``heads`` and ``scenes``, what was found in them, and the stages in ``colorizer``, which are used
            again.
        parsing: Other sizes of `mediakit.parsing.trial.run_trial`.
        deepfake: Other sizes of `mediakit.deepfake.trial.run_trial`.
        colorize: Other sizes of `mediakit.colorize.trial.run_trial`.
        workers: Number of processes that make films, features and tracks.
        progress: Whether to show progress on stderr.

    Returns:
        Path of ``index.html``.

    Raises:
        MediaError: The folder cannot be written, or its clips were made otherwise.
        MediakitError: It holds a colorizer that was trained otherwise.
    """
    out = Path(folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(
            out, f"cannot be made a folder ({error.strerror})", "Choose another with --out DIR."
        ) from error
    announce(f"{out / 'demo.mp4'}: drawing a photograph under a moving camera", progress)
    write_video(out / "demo.mp4", demo_frames(), FPS, audio=Audio(demo_sound(), RATE, 0.0), threads=1)
    write_json(_analyze(out / "demo.mp4", progress), out / "demo.json")

    # Numbers and sizes were chosen by eye: something of all that such clips have, and easy to see.
    scenes = Scenes(split="test", size=(180, 240), seconds=5)
    scene = scenes.clip(4)
    others = [scenes.clip(4, label) for label in scenes.groups[scene.group] if label != scene.label]
    # Of the test split, whose kinds the models have not met, and none of the films that they are scored on.
    events = EventClips(split="test", size=(180, 240)).clip(1003)
    heads = TalkingHeads(SEED + 1, "test", ("real", "reenactment"), seconds=5, size=(360, 360), pairs=True)
    trial = run_parsing_trial(out, **parsing or {}, workers=workers, progress=progress)
    detector, judge, absent = None, None, ""
    try:
        detector = run_deepfake_trial(out, **deepfake or {}, workers=workers, progress=progress)
        judge = detector.checkpoint
    except (MissingPackageError, WeightsError) as error:
        absent = str(error)
    exhibits = {
        "events": _exhibit(
            events, "events that are heard, seen or both", out / "events.mp4", progress, trial.checkpoint
        ),
        "head": _exhibit(heads.clip(0), "a talking head", out / "head.mp4", progress, deepfake=judge),
    }
    if detector is not None:
        exhibits["fake"] = _exhibit(heads.clip(1), "its manipulated twin", out / "fake.mp4", progress, deepfake=judge)
    exhibits["scene"] = _exhibit(scene, "a scene whose sound tells its colour", out / "scene.mp4", progress)
    colorizer = run_colorize_trial(out, **colorize or {}, workers=workers, progress=progress)
    announce(f"{out / 'colorized.mp4'}: the same scene, coloured by its sound", progress)
    colored = color_scene(colorizer.checkpoint, scene, scenes.clip(5), out, progress)
    _analyze(colored.gray, progress, colorize=colorizer.checkpoint)
    page = render_gallery(
        **exhibits,
        others=others,
        links={"demo.html": "the analysis page of a photograph under a moving camera", "demo.json": "the same as data"},
        trial=trial,
        detector=detector,
        absent=absent,
        colored=colored,
        colorizer=colorizer,
    )
    write_text(out / "index.html", page)
    return out / "index.html"


def _exhibit(
    clip: Clip,
    what: str,
    path: Path,
    progress: bool,
    parsing: Path | None = None,
    deepfake: Path | None = None,
) -> Exhibit:
    announce(f"{path}: drawing {what}", progress)
    write_clip(clip, path)
    return read_exhibit(clip, path, _analyze(path, progress, parsing, deepfake))


def _analyze(
    path: Path,
    progress: bool,
    parsing: Path | None = None,
    deepfake: Path | None = None,
    colorize: Path | None = None,
) -> Analysis:
    """Looks at a film and writes the page about it."""
    analysis = analyze_file(path, parsing=parsing, deepfake=deepfake, colorize=colorize, progress=progress)
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
