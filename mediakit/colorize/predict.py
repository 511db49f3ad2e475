"""From a file to the same file in colours, and what was done beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mediakit.colorize.clips.decoding import PHOTO_ENDINGS
from mediakit.colorize.image import Colorizer, colorize_image, write_coloring
from mediakit.colorize.preview import image_preview, video_preview
from mediakit.colorize.result import Coloring, VideoColoring
from mediakit.colorize.upsample import TILE_PIXELS
from mediakit.colorize.video import ENDINGS as FILM_ENDINGS
from mediakit.colorize.video import colorize_video
from mediakit.errors import MediaError, NoStreamError
from mediakit.io import check_writable, probe, scan_packets, write_text

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
"""Pictures that are written."""
DEEP_ENDINGS = (".png", ".tif", ".tiff")
"""Those that hold 16 bits."""


@dataclass(frozen=True)
class Options:
    """How files are coloured.

    Attributes:
        guide: A colour photograph in place of the sound.
        audio_weight: How far sound may count, 0 to 1.
        saturation: Factor of the chroma.
        bits: Of coloured pictures, 8 or 16 (PNG and TIFF); films have 8.
        steady: Whether to hold the colours of a film steady in time.
        crf: Constant rate factor of films, 0 to 51.
        full_chroma: Whether to store the chroma of films at full resolution.
        uncertainty: Whether to measure how far the guess of a picture depends on input size and dropout.
        tile_pixels: Pixels worked on at a time; it does not change the result.
        seed: Of the dropout masks.
    """

    guide: str | None = None
    audio_weight: float = 1.0
    saturation: float = 1.0
    bits: int = 8
    steady: bool = True
    crf: int = 18
    full_chroma: bool = False
    uncertainty: bool = False
    tile_pixels: int = TILE_PIXELS
    seed: int = 0


DEFAULTS = Options()


def kind_of(path: str | os.PathLike[str]) -> Literal["image", "video"]:
    """Whether a file is coloured as a picture or as a film, by its ending; a GIF by whether it moves."""
    suffix = Path(path).suffix.lower()
    if suffix not in PHOTO_ENDINGS:
        return "video"
    return "video" if suffix == ".gif" and scan_packets(path).frames > 1 else "image"


def colorize_file(
    module: Colorizer,
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: Options = DEFAULTS,
    *,
    audio: str | os.PathLike[str] | None = None,
    preview: str | os.PathLike[str] | None = None,
    model: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Coloring | VideoColoring:
    """Colours a picture or a film and writes it.

    Args:
        module: A trained `.ColorizeModule`.
        path: The file.
        out: The file to write.
        options: How.
        audio: Sound of the scene in a picture; a film has its own.
        preview: A page to write, too: before and after.
        model: What `mediakit.colorize.image.describe` tells, where many files are coloured with one model.
        progress: Whether to show the progress of a film on stderr.

    Returns:
        What was done.

    Raises:
        MediaError: A file cannot be read or written; nothing is left behind.
        ValueError: An option is out of its range, or does not go with the kind of the file.
    """
    kind = kind_of(path)
    if kind == "video" and not probe(path).video:
        raise NoStreamError(path, "has no pictures to colour", "A sound goes to --audio, beside a picture.")
    _check_out(kind, Path(out), options)
    if preview is not None:
        check_writable(preview)
    if kind == "image":
        coloring = colorize_image(
            module,
            path,
            audio,
            options.guide,
            audio_weight=options.audio_weight,
            saturation=options.saturation,
            bits=options.bits,
            tile_pixels=options.tile_pixels,
            uncertainty=options.uncertainty,
            seed=options.seed,
            model=model,
        )
        write_coloring(out, coloring)
        if preview is not None:
            write_text(preview, image_preview(module, path, coloring, options.guide))
        return coloring
    if audio is not None:
        raise ValueError(f"{path} is a film, and films are coloured with their own sound: leave the other one out")
    film = colorize_video(
        module,
        path,
        out,
        options.guide,
        audio_weight=options.audio_weight,
        saturation=options.saturation,
        steady=options.steady,
        crf=options.crf,
        full_chroma=options.full_chroma,
        tile_pixels=options.tile_pixels,
        model=model,
        progress=progress,
    )
    if preview is not None:
        write_text(preview, video_preview(path, out, film))
    return film


def output_name(path: str | os.PathLike[str], kind: Literal["image", "video"], bits: int = 8) -> str:
    """The name of a coloured file in a folder: its own where that format is written, else with one more ending."""
    name, suffix = os.fspath(path), Path(path).suffix.lower()
    if kind == "video":
        return name if suffix in FILM_ENDINGS else f"{name}.mp4"
    return name if suffix in (IMAGE_ENDINGS if bits == 8 else DEEP_ENDINGS) else f"{name}.png"


def _check_out(kind: str, out: Path, options: Options) -> None:
    """Fails before the work that the output cannot be written so."""
    endings = FILM_ENDINGS if kind == "video" else IMAGE_ENDINGS if options.bits == 8 else DEEP_ENDINGS
    if out.suffix.lower() not in endings:
        what = "a film" if kind == "video" else "a picture of 16 bits" if options.bits == 16 else "a picture"
        found = f"the ending {out.suffix}" if out.suffix else "no ending"
        raise MediaError(out, f"has {found}, which {what} is not written with", f"Use one of {', '.join(endings)}.")
    check_writable(out)
