"""The whole road in minutes: scenes are filmed, a small colorizer is trained on them in three stages and scored.

The films that it is scored on show photographs, and sound with timbres, that training never met. Gray tells their
group, only the sound tells the class in it, and the class has its hue: so what the sound is worth can be measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mediakit.colorize.image import colorize_image, load_colorizer
from mediakit.colorize.result import Coloring, VideoColoring
from mediakit.colorize.scoreboard import Trial as Scores
from mediakit.colorize.stages import train_colorizer
from mediakit.colorize.video import colorize_video
from mediakit.io import read_video, write_bytes, write_video
from mediakit.io.files import StrPath
from mediakit.synthetic.corpus import generate_clips
from mediakit.synthetic.palettes import to_rgb
from mediakit.synthetic.scenes import Scene
from mediakit.trials import announce, quiet_thread

if TYPE_CHECKING:
    from mediakit.colorize.data import ColorizeDataModule

SEED = 1
"""Of the films; the scene that the demo shows is of another."""
_LOOK: dict[str, Any] = {"size": (64, 64), "fps": 2, "seconds": 5}
# Small networks, of which those that read colour and sound begin with the weights that come with the package.
_NETWORK: dict[str, Any] = {
    "gray_encoder": "test_resnet",
    "semantic_encoder": "reference",
    "semantic_weights": "synthetic",
    "audio_encoder": "reference",
    "audio_weights": "synthetic",
    "audio_mels": 64,
    "audio_hop": 640,
    "dim": 128,
    "width": 16,
    "lr": 2e-3,
}


@dataclass(frozen=True, eq=False)
class Trial:
    """A colorizer, and how well it does on films that it has not met.

    Attributes:
        checkpoint: The colorizer, as ``mediakit train-colorizer`` writes it.
        films: Number of films of each split.
        epochs: How long each stage was trained.
        scores: What guidance by the colour picture, the right sound, none and wrong ones makes of each test film.
    """

    checkpoint: Path
    films: dict[str, int]
    epochs: tuple[int, ...]
    scores: Scores


@dataclass(frozen=True, eq=False)
class ColoredScene:
    """A film whose colours are known, robbed of them and coloured.

    Attributes:
        gray: The file without colours, with its sound.
        colored: The file that was coloured with that sound.
        film: What was done to it.
        truth: A picture of it, uint8 RGB (3, H, W).
        before: The same without colours.
        stills: That picture coloured with its own sound, without any, and with the sound of another group.
        other: Class of the other sound.
    """

    gray: Path
    colored: Path
    film: VideoColoring
    truth: Tensor
    before: Tensor
    stills: dict[str, Coloring]
    other: str


def run_trial(
    folder: StrPath,
    *,
    train: int = 84,
    val: int = 12,
    test: int = 36,
    epochs: Sequence[int] = (10, 5, 5),
    workers: int = 1,
    progress: bool = False,
) -> Trial:
    """Trains a small colorizer on generated films and scores it on unseen ones.

    Writes the films to ``scenes`` and ``scenes-test``, what the stages leave to ``colorizer``, and the model to
    ``colorize.ckpt``; films and finished stages of an earlier run are used again. Equal arguments give equal bytes on
    the same machine.

    A script that calls this needs the guard ``if __name__ == "__main__":``, because worker processes import it.

    Args:
        folder: Folder to write to.
        train: Number of films to learn from.
        val: Number of films that the epoch of each stage is chosen on.
        test: Number of films that are scored.
        epochs: How often each of the three stages sees the films that it learns from.
        workers: Number of processes that make and decode films.
        progress: Whether to show progress on stderr.

    Returns:
        The colorizer and its scores.

    Raises:
        MediaError: The folder cannot be written, or holds films made otherwise.
        MediakitError: It holds stages that were trained otherwise.
    """
    from mediakit.colorize.data import ColorizeDataModule

    folder = Path(folder)
    films, unseen, checkpoint = folder / "scenes", folder / "scenes-test", folder / "colorize.ckpt"
    for place, split, count in ((films / "train", "train", train), (films / "val", "val", val), (unseen, "test", test)):
        announce(f"{place}: {count} scenes", progress)
        options = {"split": split, "seed": SEED, **_LOOK}
        generate_clips("scenes", place, count, workers=workers, progress=progress, **options)
    with tempfile.TemporaryDirectory() as cache, quiet_thread(progress):
        shared: dict[str, Any] = {"size": _LOOK["size"][0], "cache": cache, "workers": workers}
        settings = {**_NETWORK, **shared, "epochs": epochs, "accelerator": "cpu", "progress": progress}
        made = train_colorizer(films, folder / "colorizer", **settings)
        write_bytes(checkpoint, made.checkpoint.read_bytes())
        scores = _score(checkpoint, ColorizeDataModule(str(unseen), frames=3, progress=False, **shared))
    return Trial(checkpoint, {"train": train, "val": val, "test": test}, tuple(epochs), scores)


def _score(checkpoint: Path, data: ColorizeDataModule) -> Scores:
    from mediakit.weights import load

    from pytorch_lightning import Trainer  # isort: skip

    module = load(checkpoint)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(accelerator="cpu", enable_checkpointing=False, **quiet).test(module, data, verbose=False)
    scores: Scores = module.trial
    return scores


def color_scene(
    checkpoint: StrPath, scene: Scene, other: Scene, folder: StrPath, progress: bool = False
) -> ColoredScene:
    """Takes the colours of a film away and lets a colorizer guess them.

    Writes ``gray.mp4`` and ``colorized.mp4``; equal arguments give equal bytes.

    Args:
        checkpoint: The colorizer.
        scene: The film.
        other: One of another group, for its sound.
        folder: Where to write to.
        progress: Whether to show progress on stderr.

    Raises:
        MediaError: The checkpoint cannot be read, or the folder not be written.
    """
    gray, colored = Path(folder, "gray.mp4"), Path(folder, "colorized.mp4")
    frames = (_picture(scene.gray_and_ab(number)[0], torch.zeros(2, *scene.size)) for number in range(scene.length))
    write_video(gray, frames, scene.fps, audio=scene.sound(), crf=20, threads=1)
    number = scene.length // 2
    module = load_colorizer(checkpoint)
    with quiet_thread(progress):
        film = colorize_video(module, gray, colored, threads=1, progress=progress)
        before = next(iter(read_video(gray, start=(number - 0.5) / scene.fps))).image
        stills = {
            way: colorize_image(module, before, sound)
            for way, sound in (("right", scene.sound()), ("none", None), ("wrong", other.sound()))
        }
    return ColoredScene(gray, colored, film, _picture(*scene.gray_and_ab(number)), before, stills, other.label)


def _picture(lightness: Tensor, ab: Tensor) -> Tensor:
    return torch.from_numpy(to_rgb(lightness.numpy(), ab.numpy())).permute(2, 0, 1).contiguous()
