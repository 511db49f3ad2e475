"""A photograph in colours: its own lightness, and a and b that a network guesses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mediakit.colorize.guide import Guide, device_of, photo_guide, sound_guide, without
from mediakit.colorize.painting import lightness_of, network_size, paint, resize
from mediakit.colorize.result import Coloring, Spread
from mediakit.colorize.upsample import TILE_PIXELS
from mediakit.encoders import weight_hash
from mediakit.io import Audio, check_readable, read_image, sha256, write_image

SIZES = (0.75, 1.0, 1.25)
"""Input sizes, as factors of the usual one, over which the spread of a guess is measured."""
MASKS = 8
"""Masks of dropout over which it is measured."""


class Colorizer(Protocol):
    """What colorization reads of a `.ColorizeModule`."""

    @property
    def network(self) -> nn.Module: ...
    @property
    def size(self) -> int: ...


def load_colorizer(checkpoint: str | os.PathLike[str], device: str = "cpu") -> Colorizer:
    """Loads a checkpoint whose model colours pictures.

    Raises:
        MediaError: The file is missing or cannot be read.
        WeightsError: It is no checkpoint of mediakit, or one of another task.
        MediakitError: There is no such device.
    """
    from mediakit.weights import load_task

    return load_task(checkpoint, ("network", "size", "stage"), "colour pictures", "ColorizeModule", device)


def describe(module: Colorizer, checkpoint: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """What made the colours: class of the network and hash of its weights, and the checkpoint where it is known."""
    network = module.network
    model: dict[str, Any] = {"network": type(network).__name__, "weights_sha256": weight_hash(network)}
    if checkpoint is not None:
        model |= {"checkpoint": Path(checkpoint).name, "checkpoint_sha256": sha256(check_readable(checkpoint))}
    return model


def colorize_image(
    module: Colorizer,
    image: str | os.PathLike[str] | Tensor,
    audio: str | os.PathLike[str] | Audio | None = None,
    guide: str | os.PathLike[str] | Tensor | None = None,
    *,
    audio_weight: float = 1.0,
    saturation: float = 1.0,
    bits: int = 8,
    tile_pixels: int = TILE_PIXELS,
    uncertainty: bool = False,
    seed: int = 0,
    model: Mapping[str, Any] | None = None,
) -> Coloring:
    """Colours a picture, at its own size and with its own lightness.

    The network sees the whole picture at the size that it was trained at, and its colours are brought to full size
    along the edges of the picture's lightness. Of a sepia or tinted picture only the lightness counts. Chroma that no
    display can show is brought to the edge of the gamut instead of clipping, so L stays within 0.3 of the original's.

    Args:
        module: A trained `.ColorizeModule`; its network is used on the device where it is.
        image: The file, or RGB or RGBA, uint8 or uint16, (3 or 4, H, W).
        audio: A sound that belongs to the scene: a file, or the sound itself, of any length, rate and number of
            channels. Where it is silent or cannot be decoded, colours are guessed without it, and the result says so.
        guide: A colour photograph in place of a sound (exemplar mode): the file, or uint8 RGB (3, H, W).
        audio_weight: How far the sound may count, 0 to 1.
        saturation: Factor of the chroma.
        bits: Of the result, 8 or 16.
        tile_pixels: Pixels worked on at a time at full size. It changes memory, not the result.
        uncertainty: Whether to measure how far the guess depends on input size and dropout; takes ten passes more.
        seed: Of the dropout masks.
        model: What `mediakit.colorize.image.describe` tells, where many pictures are coloured with one model.

    Returns:
        The picture in colours, and what was used to guess them.

    Raises:
        MediaError: The picture, the sound file or the photograph cannot be read.
        ValueError: An argument is out of its range, or both a sound and a photograph are given.
    """
    if audio is not None and guide is not None:
        raise ValueError("give a sound or a photograph to guide the colours, not both")
    check_options(audio_weight, saturation, tile_pixels)
    if bits not in (8, 16):
        raise ValueError(f"bits must be 8 or 16, got {bits}")
    picture, source = _picture(image)
    network, device = module.network, device_of(module.network)
    with evaluation(network):
        hint = guide_of(module, audio, guide, audio_weight)
        lightness = lightness_of(picture, tile_pixels, device)
        height, width = picture.shape[1:]
        sides = network_size(height, width, module.size)
        small = resize(lightness, sides)
        ab, relevance = guess(network, small, hint)
        spread = _spread(network, lightness, sides, hint, seed) if uncertainty else None
        rgb = paint(picture, lightness, small, saturation * ab, bits=bits, tile_pixels=tile_pixels)
    notes = [hint.note] if hint.note else []
    if spread is not None and spread.dropout is None:
        notes.append("The network has no dropout, so its uncertainty was measured over input sizes alone.")
    return Coloring(
        rgb=rgb,
        ab=ab[0].cpu(),
        guided=hint.believed(relevance),
        saturation=saturation,
        spread=spread,
        notes=tuple(notes),
        model=dict(describe(module) if model is None else model),
        seed=seed,
        source=source,
    )


def write_coloring(path: str | os.PathLike[str], coloring: Coloring) -> None:
    """Writes a coloured picture, with a comment in the file that its colours are guessed.

    Transparency is kept by PNG, TIFF and WebP; in other formats the picture lies on white. PNG and JPEG hold the
    comment.

    Raises:
        ValueError: 16 bits are asked of a format that has 8.
        MediaError: The ending is unknown, or the file cannot be written.
    """
    rgb = coloring.rgb
    if len(rgb) == 4 and Path(path).suffix.lower() not in (".png", ".tif", ".tiff", ".webp"):
        opacity = rgb[3:].float() / 255
        rgb = (rgb[:3] * opacity + 255 * (1 - opacity)).round().to(torch.uint8)
    write_image(path, rgb, comment=coloring.comment)


def guide_of(
    module: Colorizer,
    audio: str | os.PathLike[str] | Audio | None,
    photo: str | os.PathLike[str] | Tensor | None,
    audio_weight: float,
) -> Guide:
    """What guides a still picture."""
    if photo is not None:
        return photo_guide(module.network, photo, module.size)
    return without("not given") if audio is None else sound_guide(module.network, audio, audio_weight)


def guess(network: nn.Module, small: Tensor, hint: Guide) -> tuple[Tensor, float]:
    """Colours (1, 2, h, w) of a lightness (1, 1, h, w), and how far the guidance was believed."""
    if hint.semantics is None:
        return network(small).ab.float(), 0.0
    output = network(small, hint.semantics, torch.full((1,), hint.weight, device=small.device))
    return output.ab.float(), float(output.relevance)


def check_options(audio_weight: float, saturation: float, tile_pixels: int) -> None:
    """Refuses options that are out of their range.

    Raises:
        ValueError: One is.
    """
    if not 0 <= audio_weight <= 1:
        raise ValueError(f"audio_weight must be 0 to 1, got {audio_weight}")
    if not 0 <= saturation < float("inf"):
        raise ValueError(f"saturation must be 0 or more, got {saturation}")
    if tile_pixels < 1:
        raise ValueError(f"tile_pixels must be at least 1, got {tile_pixels}")


@contextmanager
def evaluation(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each part goes back to its own mode afterwards."""
    modes = {part: part.training for part in network.modules()}
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def _picture(image: str | os.PathLike[str] | Tensor) -> tuple[Tensor, dict[str, str]]:
    if isinstance(image, Tensor):
        if image.ndim != 3 or len(image) not in (3, 4) or image.dtype not in (torch.uint8, torch.uint16):
            raise ValueError(
                f"image must be uint8 or uint16 (3, H, W) or (4, H, W), got {image.dtype} {tuple(image.shape)}"
            )
        if not image.numel():
            raise ValueError(f"the image has no pixels: {tuple(image.shape)}")
        return image.cpu(), {}
    picture = read_image(image, bits=None, alpha=True)
    return picture, {"name": Path(image).name, "sha256": sha256(Path(image))}


def _spread(network: nn.Module, lightness: Tensor, sides: tuple[int, int], hint: Guide, seed: int) -> Spread:
    """Guesses over input sizes and over masks of dropout, each set around its own mean."""
    over_sizes = []
    for factor in SIZES:
        height, width = (max(1, round(side * factor)) for side in sides)
        over_sizes.append(resize(guess(network, resize(lightness, (height, width)), hint)[0], sides))
    sizes = _variance(over_sizes)
    dropouts = [part for part in network.modules() if isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0]
    masks = None
    if dropouts:
        small = resize(lightness, sides)
        devices = [lightness.device] if lightness.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for part in dropouts:
                part.train()
            masks = _variance([guess(network, small, hint)[0] for _ in range(MASKS)])
            for part in dropouts:
                part.eval()
    total = sizes if masks is None else sizes + masks
    return Spread(_root(sizes), None if masks is None else _root(masks), total.sqrt().cpu())


def _variance(guesses: list[Tensor]) -> Tensor:
    """Mean squared distance of (a, b) from the mean guess at each place, (h, w)."""
    return torch.stack(guesses).var(dim=0, correction=0).sum(1)[0]


def _root(variance: Tensor) -> float:
    return float(variance.mean().sqrt())
